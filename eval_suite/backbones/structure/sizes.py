"""Which image sizes a network takes, and what to do with all others: padding, or tiles of its own size."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_UNITS = (1, 4, 8, 14, 16, 32, 64, 128)
_SHORTEST_PROBE = 160
_LARGER, _LOST = 1.2, 0.1
Run = Callable[[Tensor], Sequence[Tensor]]
Cells = tuple[tuple[int, int], tuple[int, int]]


class Sizing(NamedTuple):
    """How images of any size are given to a network.

    ``unit`` is the number of pixels whose multiples it takes as (height, width); ``tiled``, that it takes no larger
    images, so that each is cut into tiles of that size.
    """

    unit: tuple[int, int]
    tiled: bool = False

    def pad(self, images: Tensor, stride: int = 1) -> Tensor:
        """Images (N, 3, H, W) with zeros, the mean colour, to the right and below.

        Args:
            images: normalised images.
            stride: cells of this many pixels have to be covered whole.
        """
        missing = []
        for side, unit in zip(images.shape[-2:], self.unit, strict=True):
            covered = -(-side // stride) * stride
            missing.append(-(-covered // unit) * unit - side)
        return F.pad(images, (0, missing[1], 0, missing[0])) if any(missing) else images

    def cut(self, images: Tensor) -> Tensor:
        """Padded images (N, 3, H, W), or all their tiles (N * rows * columns, 3, h, w)."""
        if not self.tiled:
            return images
        count, channels, height, width = images.shape
        rows, columns = height // self.unit[0], width // self.unit[1]
        tiles = images.reshape(count, channels, rows, self.unit[0], columns, self.unit[1])
        return tiles.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, *self.unit)

    def join(self, maps: Tensor, images: Tensor) -> Tensor:
        """The maps (N, C, h, w) of padded images out of what the network made of `cut`."""
        if not self.tiled:
            return maps
        rows, columns = images.shape[2] // self.unit[0], images.shape[3] // self.unit[1]
        _, channels, height, width = maps.shape
        grid = maps.reshape(-1, rows, columns, channels, height, width).permute(0, 3, 1, 4, 2, 5)
        return grid.reshape(-1, channels, rows * height, columns * width)


def find_sizing(run: Run, own: tuple[int, int]) -> Sizing | None:
    """The smallest unit of the image sizes that a network takes; None if it takes its own size only.

    A unit counts if a network takes an image that is so many units high and others wide, and its maps grow with the image:
    some networks shrink any image to their own size. The width exceeds their own, where tables of positions may end.

    Args:
        run: images (1, 3, H, W) → feature maps.
        own: (H, W) that the network surely takes.
    """
    wanted = _cells(run, own)
    if wanted is None:
        return None
    larger = math.ceil(_LARGER * max(own))
    for unit in sorted({*_UNITS, *own}):
        height = _multiple(unit, _SHORTEST_PROBE)
        width = _multiple(unit, max(height + unit, larger))
        # And once more, because a pair of sizes may happen to suit.
        next_height = _multiple(unit, height + unit)
        next_width = _multiple(unit, max(next_height, width) + unit)
        if _takes(run, (height, width), wanted) and (
            unit in own or _takes(run, (next_height, next_width), wanted)
        ):
            return Sizing((unit, unit))
    return None


def _takes(run: Run, size: tuple[int, int], wanted: list[Cells]) -> bool:
    found = _cells(run, size)
    return found is not None and len(found) == len(wanted) and all(map(_follows, found, wanted))


def _multiple(unit: int, least: int) -> int:
    """The first multiple of a unit from a number on that is no multiple of 2 or 7 units, as a coarser unit may well be."""
    times = -(-least // unit)
    while math.gcd(times, 14) > 1:
        times += 1
    return times * unit


def _follows(found: Cells, wanted: Cells) -> bool:
    """Whether a map has about as many cells to a pixel; convolutions without padding lose some at the edges."""
    return all(
        abs(cells - side * other_cells / other_side) <= 2 + _LOST * cells
        for (cells, side), (other_cells, other_side) in zip(found, wanted, strict=True)
    )


@torch.no_grad()
def _cells(run: Run, size: tuple[int, int]) -> list[Cells] | None:
    """The cells of each map and the pixels they are made of, down and across; None if the network takes no such image."""
    try:
        maps = run(torch.zeros(1, 3, *size))
    except Exception:  # noqa: BLE001 - each network has its own way to refuse a size
        return None
    return [((each.shape[2], size[0]), (each.shape[3], size[1])) for each in maps]
