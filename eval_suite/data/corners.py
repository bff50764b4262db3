"""Boxes with their convention: whether the last pixel's number or the edge behind it is meant by x1 and y1."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


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


def look_like_corners(boxes: NDArray[np.float64], sizes: NDArray[np.int64]) -> bool:
    """Whether boxes (k, 4) that should be x, y, width, height are x0 y0 x1 y1 instead.

    So they are when each of them is a box within its image as corners, and a quarter or more reach far outside it as
    widths and heights: of true corners those right of or below the middle do, of true widths hardly any.

    Args:
        boxes: (k, 4) numbers.
        sizes: (k, 2) width and height of each box's image in pixels.
    """
    if not len(boxes):
        return False
    as_corners = (boxes[:, 2:] >= boxes[:, :2]).all() and (boxes[:, 2:] <= sizes + 1).all()
    far_outside = (boxes[:, :2] + boxes[:, 2:] > 1.05 * sizes + 1).any(axis=1)
    return bool(as_corners and far_outside.mean() >= 0.25)


def look_like_shares(boxes: NDArray[np.float64], sizes: NDArray[np.int64]) -> bool:
    """Whether boxes (k, 4) are given as shares of their images' sides (k, 2), and not in pixels: none goes far beyond 1."""
    return bool(len(boxes) and np.abs(boxes).max() <= 1.5 and sizes.max() > 8)


def outside(corners: NDArray[np.float64], sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which boxes (k,), x0 y0 x1 y1, lie wholly outside their images, of width and height (k, 2)."""
    beyond = (corners[:, :2] >= sizes) | (corners[:, 2:] < 0)
    return np.asarray(beyond.any(axis=1))
