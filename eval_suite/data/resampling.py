"""Pillow's resizing, to the last bit, of the part of an image that a crop keeps.

Pillow resizes the whole image in whole numbers of 22 fractional bits; most of what a centre crop then cuts off need not be
computed. Its integers make the result the same on every machine. Whether rows or columns come first decides what is rounded in
between; newer versions of Pillow choose by the sizes, so that it is asked once for each.
"""

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
) -> NDArray[np.uint8]:
    """A part of a resized image, rows first.

    Args:
        pixels: (H, W, 3).
        resized: (height, width) to resize to.
        corner: (top, left) of the part.
        size: (height, width) of the part, which must lie within the resized image.
        interpolation: one of `FILTERS`.

    Returns:
        (3, height, width), equal to Pillow's ``resize`` followed by ``crop`` where it takes rows first.

    Reference: Pillow's Resample.c.

    Example:
        >>> resample(np.full((4, 6, 3), 7, np.uint8), (2, 3), (0, 0), (2, 3), "bilinear").max()
        7
    """
    height, width = size
    tall, wide = pixels.shape[:2]
    across = _taps(wide, resized[1], corner[1], width, interpolation)
    down = _taps(tall, resized[0], corner[0], height, interpolation)
    first = int(down.starts[0])
    rows = int(down.starts[-1]) + down.weights.shape[1] - first
    out = np.empty((3, height, width), np.uint8)
    needed = np.require(pixels[first : first + rows], requirements=["C", "W"])
    _run(needed, across.starts, across.weights, down.starts - down.starts[0], down.weights, out)
    return out


_Key = tuple[tuple[int, ...], tuple[int, int], tuple[int, int], tuple[int, int], str]
_ROWS_FIRST: dict[_Key, bool] = {}


def like_pillow(
    pillow: Callable[[], NDArray[np.uint8]],
    pixels: NDArray[np.uint8],
    resized: tuple[int, int],
    corner: tuple[int, int],
    size: tuple[int, int],
    interpolation: str,
) -> NDArray[np.uint8]:
    """What Pillow makes of an image, without it where it is known to take rows first at these sizes.

    Pillow is asked until an image of the sizes tells the two orders apart.

    Args:
        pillow: gives Pillow's (3, height, width).
        pixels: see `resample`, as for the others.
        resized: likewise.
        corner: likewise.
        size: likewise.
        interpolation: likewise.
    """
    key = (pixels.shape, resized, corner, size, interpolation)
    known = _ROWS_FIRST.get(key)
    if known:
        return resample(pixels, resized, corner, size, interpolation)
    made = pillow()
    if known is None:
        rows = resample(pixels, resized, corner, size, interpolation)
        turned = resample(pixels.transpose(1, 0, 2), resized[::-1], corner[::-1], size[::-1], interpolation)
        by_rows, by_columns = np.array_equal(rows, made), np.array_equal(turned.transpose(0, 2, 1), made)
        if by_rows != by_columns:
            _ROWS_FIRST[key] = by_rows
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


@compiled("void(u1[:,:,::1], u8[::1], i4[:,::1], u8[::1], i4[:,::1], u1[:,:,::1])")
def _run(pixels, starts, across, lines, down, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    # Unsigned, as are all places: numba asks of every signed index whether it counts from the end.
    half = np.int32(1 << (_BITS - 1))
    rows, width, height = pixels.shape[0], across.shape[0], down.shape[0]
    one, two = np.uint64(1), np.uint64(2)
    narrow = np.empty((rows, 3 * width), np.uint8)
    flat = pixels.reshape(rows, pixels.shape[1] * 3)
    for y in range(rows):
        line, made = flat[y], narrow[y]
        for x in range(width):
            red = green = blue = half
            at = starts[x] * np.uint64(3)
            for tap in range(across.shape[1]):
                weight = across[x, tap]
                # Numba's product of two int32 is an int64, which is twice as slow.
                red = np.int32(red + np.int32(line[at]) * weight)
                green = np.int32(green + np.int32(line[at + one]) * weight)
                blue = np.int32(blue + np.int32(line[at + two]) * weight)
                at += np.uint64(3)
            made[x] = min(max(red >> _BITS, 0), 255)
            made[width + x] = min(max(green >> _BITS, 0), 255)
            made[2 * width + x] = min(max(blue >> _BITS, 0), 255)
    sums = np.empty(3 * width, np.int32)
    for y in range(height):
        sums[:] = half
        for tap in range(down.shape[1]):
            weight, line = down[y, tap], narrow[lines[y] + np.uint64(tap)]
            for x in range(3 * width):
                sums[x] += np.int32(line[x]) * weight
        for channel in range(3):
            made, part = out[channel, y], sums[channel * width : (channel + 1) * width]
            for x in range(width):
                made[x] = min(max(part[x] >> _BITS, 0), 255)
