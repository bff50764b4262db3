"""Boxes with their convention: whether the last pixel's number or the edge behind it is meant by x1 and y1."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# The share of boxes that may contradict the others: the odd one that is inverted, or far larger than its image.
_EXCEPTIONS = 0.1


class Boxes(NamedTuple):
    """Boxes (k, 4) as x0 y0 x1 y1 in pixels counted from 0, and how they are meant.

    With ``inclusive`` corners x1 is the last pixel of the box, as in VOC's files, so x0 = x1 is a box one pixel wide;
    without, x1 is the edge behind that pixel and x1 - x0 the width, as MMDetection and pycocotools take boxes.
    """

    corners: NDArray[np.float64]
    inclusive: bool

    def as_edges(self) -> NDArray[np.float64]:
        """The boxes (k, 4) with x1 - x0 as their width, at least 1 where the corners were inclusive."""
        return self._moved(1) if self.inclusive else self.corners

    def as_inclusive(self) -> NDArray[np.float64]:
        """The boxes (k, 4) with both corners inside; one narrower than a pixel becomes a pixel wide."""
        if self.inclusive:
            return self.corners
        moved = self._moved(-1)
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2])
        return moved

    def narrow(self) -> NDArray[np.bool_]:
        """Which boxes (k,) are at most one pixel wide or high."""
        edges = self.as_edges()
        return np.asarray(((edges[:, 2:] - edges[:, :2]) <= 1).any(axis=1))

    def _moved(self, pixels: int) -> NDArray[np.float64]:
        moved = self.corners.copy()
        moved[:, 2:] += pixels
        return moved


class Evidence(NamedTuple):
    """How many of some boxes lie within their image as x0 y0 x1 y1 alone, how many as x, y, width, height alone, and of how many.

    The rest lie within it both ways or neither way, as boxes that a detector did not clip, and say nothing.
    """

    corners: int
    widths: int
    boxes: int

    @property
    def are_corners(self) -> bool:
        """Whether the boxes are x0 y0 x1 y1: a quarter or more fit only so, and hardly any only as widths and heights."""
        return self._many and self.widths <= _EXCEPTIONS * self.corners

    @property
    def contradictory(self) -> bool:
        """Whether many boxes fit only as corners, more than only as widths and heights, and yet not nearly all."""
        return self._many and _EXCEPTIONS * self.corners < self.widths < self.corners

    @property
    def doubtful(self) -> bool:
        """Whether boxes that count as widths and heights may be corners: more than exceptions fit only as such."""
        return self.corners > _EXCEPTIONS * self.widths and not self.are_corners

    @property
    def _many(self) -> bool:
        return self.boxes > 0 and self.corners >= 0.25 * self.boxes

    def __str__(self) -> str:
        """The counts in words."""
        return (
            f"of {self.boxes:,} boxes, {self.corners:,} lie in their image only as x0, y0, x1, y1 and {self.widths:,} only as "
            "x, y, width, height"
        )


def corner_evidence(boxes: NDArray[np.float64], sizes: NDArray[np.int64]) -> Evidence:
    """What boxes (k, 4) that should be x, y, width, height say of whether they are x0 y0 x1 y1 instead.

    Of true corners, the boxes right of or below the middle reach far outside their image when taken for widths and
    heights; of true widths, those narrower than they lie far from the edge are inverted when taken for corners. A box
    that lies outside in both readings speaks for neither, so a few of them change nothing.

    Args:
        boxes: (k, 4) numbers.
        sizes: (k, 2) width and height of each box's image in pixels.
    """
    as_corners = ((boxes[:, 2:] >= boxes[:, :2]) & (boxes[:, 2:] <= sizes + 1)).all(axis=1)
    within = boxes[:, :2] + boxes[:, 2:] <= 1.05 * sizes + 1
    as_widths = (within & (boxes[:, 2:] >= 0)).all(axis=1)
    return Evidence(int((as_corners & ~as_widths).sum()), int((as_widths & ~as_corners).sum()), len(boxes))


def look_like_shares(boxes: NDArray[np.float64], sizes: NDArray[np.int64]) -> bool:
    """Whether boxes (k, 4) are given as shares of their images' sides (k, 2), and not in pixels: none goes far beyond 1."""
    return bool(len(boxes) and np.abs(boxes).max() <= 1.5 and sizes.max() > 8)


def outside(corners: NDArray[np.float64], sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which boxes (k,), x0 y0 x1 y1, lie wholly outside their images, of width and height (k, 2)."""
    beyond = (corners[:, :2] >= sizes) | (corners[:, 2:] < 0)
    return np.asarray(beyond.any(axis=1))
