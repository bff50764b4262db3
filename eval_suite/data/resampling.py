"""Pillow's resizing, to the last bit, of the part of an image that a crop keeps.

Pillow resizes the whole image in whole numbers of 22 fractional bits; most of what a centre crop then cuts off need not be
computed. Its integers make the result the same on every machine. Whether rows or columns come first decides what is rounded in
between; newer versions of Pillow choose by the sizes, so that it is asked until they are known.
"""

from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.data.compiling import compiled

_BITS = 22  # as Pillow's PRECISION_BITS: 32 less 8 of a pixel and 2 for negative weights


class _Taps(NamedTuple):
    """By output pixel: where its K inputs start, (n,) uint64, and their weights, (n, K) int32."""

    starts: NDArray[np.uint64]
    weights: NDArray[np.int32]


def resample(
    pixels: NDArray[np.uint8],
    resized: tuple[int, int],
    corner: tuple[int, int],
    size: tuple[int, int],
    interpolation: str,
    *,
    rows_first: bool = True,
) -> NDArray[np.uint8]:
    """A part of a resized image.

    Args:
        pixels: (H, W, 3).
        resized: (height, width) to resize to.
        corner: (top, left) of the part.
        size: (height, width) of the part, which must lie within the resized image.
        interpolation: one of `FILTERS`.
        rows_first: whether rows are resized before columns.

    Returns:
        (3, height, width), equal to Pillow's ``resize`` followed by ``crop`` where it takes the same order.

    Reference: Pillow's Resample.c.

    Example:
        >>> resample(np.full((4, 6, 3), 7, np.uint8), (2, 3), (0, 0), (2, 3), "bilinear").max()
        7
    """
    height, width = size
    across = _taps(pixels.shape[1], resized[1], corner[1], width, interpolation)
    down = _taps(pixels.shape[0], resized[0], corner[0], height, interpolation)
    top, left = down.starts[0], across.starts[0]
    pixels = pixels[int(top) : int(down.starts[-1]) + down.weights.shape[1]]
    if rows_first:
        pixels = np.require(pixels, requirements=["C", "W"])
        narrow = np.empty((len(pixels), 3, width), np.uint8)
        out = np.empty((height, 3, width), np.uint8)
        _across(pixels.reshape(len(pixels), -1), across.starts, across.weights, narrow)
        _down(narrow.reshape(len(narrow), -1), down.starts - top, down.weights, out.reshape(height, -1))
    else:
        pixels = pixels[:, int(left) : int(across.starts[-1]) + across.weights.shape[1]]
        pixels = np.require(pixels, requirements=["C", "W"])
        low = np.empty((height, pixels.shape[1] * 3), np.uint8)
        out = np.empty((height, 3, width), np.uint8)
        _down(pixels.reshape(len(pixels), -1), down.starts - top, down.weights, low)
        _across(low, across.starts - left, across.weights, out)
    return out.transpose(1, 0, 2)


class _Orders:
    """By (height, width) of images brought to one size: whether Pillow takes rows first, where that is known.

    It takes columns first where the height is reduced so much more than the width. So what holds for one image holds for all
    that are lower and wider, or higher and narrower.
    """

    def __init__(self) -> None:
        self._rows_first: list[tuple[int, int]] = []
        self._columns_first: list[tuple[int, int]] = []

    def rows_first(self, height: int, width: int) -> bool | None:
        """Whether rows come first; None where no image seen so far says so."""
        if any(height <= tall and width >= wide for tall, wide in self._rows_first):
            return True
        if any(height >= tall and width <= wide for tall, wide in self._columns_first):
            return False
        return None

    def learn(self, height: int, width: int, rows_first: bool) -> None:
        """Keep what an image has shown, without those that say less."""
        if rows_first:
            others = [(h, w) for h, w in self._rows_first if h > height or w < width]
            self._rows_first = [*others, (height, width)]
        else:
            others = [(h, w) for h, w in self._columns_first if h < height or w > width]
            self._columns_first = [*others, (height, width)]


_ORDERS: defaultdict[tuple[tuple[int, int], str], _Orders] = defaultdict(_Orders)


def like_pillow(
    pillow: Callable[[], NDArray[np.uint8]],
    pixels: NDArray[np.uint8],
    resized: tuple[int, int],
    corner: tuple[int, int],
    size: tuple[int, int],
    interpolation: str,
) -> NDArray[np.uint8]:
    """What Pillow makes of an image, without it where the order that it takes is known.

    Pillow is asked until images tell the two orders apart.

    Args:
        pillow: gives Pillow's (3, height, width).
        pixels: see `resample`, as for the others.
        resized: likewise.
        corner: likewise.
        size: likewise.
        interpolation: likewise.
    """
    orders, (height, width) = _ORDERS[resized, interpolation], pixels.shape[:2]
    geometry = pixels, resized, corner, size, interpolation
    known = orders.rows_first(height, width)
    if known is not None:
        return resample(*geometry, rows_first=known)
    made = pillow()
    by_rows, by_columns = (
        np.array_equal(resample(*geometry, rows_first=rows), made) for rows in (True, False)
    )
    if by_rows != by_columns:
        orders.learn(height, width, by_rows)
    return made


@lru_cache(4096)  # a set has few different sides, and the weights of one take kilobytes
def _taps(side: int, resized: int, start: int, count: int, interpolation: str) -> _Taps:
    """Which inputs, and how much of each, make the outputs from ``start`` on of a side that is resized."""
    reach, weigh = FILTERS[interpolation]
    scale = side / resized
    stretch = max(scale, 1.0)
    support = reach * stretch
    centre = (np.arange(start, start + count) + 0.5) * scale
    # Pillow casts to int before it cuts at 0, as here.
    low = (centre - support + 0.5).astype(np.int64).clip(0)
    high = (centre + support + 0.5).astype(np.int64).clip(None, side)
    taps = int((high - low).max())
    begin = np.minimum(low, side - taps)  # so that all have equally many, those outside with weight 0
    at = begin[:, None] + np.arange(taps)
    weights = np.where(
        (at >= low[:, None]) & (at < high[:, None]),
        weigh(np.abs((at - centre[:, None] + 0.5) * (1 / stretch))),
        0.0,
    )
    total = np.zeros(count)
    for column in weights.T:  # in Pillow's order, since sums of floats depend on it
        total += column
    whole = weights / total[:, None] * (1 << _BITS)
    return _Taps(begin.astype(np.uint64), np.where(whole < 0, whole - 0.5, whole + 0.5).astype(np.int32))


def _bilinear(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(x < 1, 1 - x, 0.0)


def _bicubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    a = -0.5
    near, far = ((a + 2) * x - (a + 3)) * x * x + 1, (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


FILTERS: dict[str, tuple[float, Callable[[NDArray[np.float64]], NDArray[np.float64]]]] = {
    "bilinear": (1.0, _bilinear),
    "bicubic": (2.0, _bicubic),
}
"""By interpolation: how far a filter reaches, in pixels, and its weight at a distance."""


# All places are unsigned: numba asks of every signed index whether it counts from the end.


@compiled("void(u1[:,::1], u8[::1], i4[:,::1], u1[:,:,::1])")
def _across(rows, starts, weights, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    half = np.int32(1 << (_BITS - 1))
    one, two = np.uint64(1), np.uint64(2)
    for y in range(rows.shape[0]):
        line, reds, greens, blues = rows[y], out[y, 0], out[y, 1], out[y, 2]
        for x in range(weights.shape[0]):
            red = green = blue = half
            at = starts[x] * np.uint64(3)
            for tap in range(weights.shape[1]):
                weight = weights[x, tap]
                # Numba's product of two int32 is an int64, which is twice as slow.
                red = np.int32(red + np.int32(line[at]) * weight)
                green = np.int32(green + np.int32(line[at + one]) * weight)
                blue = np.int32(blue + np.int32(line[at + two]) * weight)
                at += np.uint64(3)
            reds[x] = min(max(red >> _BITS, 0), 255)
            greens[x] = min(max(green >> _BITS, 0), 255)
            blues[x] = min(max(blue >> _BITS, 0), 255)


@compiled("void(u1[:,::1], u8[::1], i4[:,::1], u1[:,::1])")
def _down(rows, starts, weights, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    half = np.int32(1 << (_BITS - 1))
    length = rows.shape[1]
    sums = np.empty(length, np.int32)
    for y in range(weights.shape[0]):
        sums[:] = half
        for tap in range(weights.shape[1]):
            weight, line = weights[y, tap], rows[starts[y] + np.uint64(tap)]
            for x in range(length):
                sums[x] += np.int32(line[x]) * weight
        made = out[y]
        for x in range(length):
            made[x] = min(max(sums[x] >> _BITS, 0), 255)
