"""Boxes with their convention: whether the last pixel's number or the edge behind it is meant by x1 and y1."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Boxes(NamedTuple):
    """Boxes (k, 4) as x0 y0 x1 y1 in pixels counted from 0, and how they are meant.

    With ``inclusive`` corners x1 is the last pixel of the box, as in VOC's files, so x0 = x1 is a box one pixel wide;
    without, x1 is the edge behind that pixel and x1 - x0 the width, as MMDetection and pycocotools take boxes.
    """

    corners: NDArray[np.floating]
    inclusive: bool

    def as_edges(self) -> NDArray[np.floating]:
        """The boxes (k, 4) with x1 - x0 as their width, at least 1 where the corners were inclusive."""
        return self._moved(1) if self.inclusive else self.corners

    def as_inclusive(self) -> NDArray[np.floating]:
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

    def _moved(self, pixels: int) -> NDArray[np.floating]:
        moved = self.corners.copy()
        moved[:, 2:] += pixels
        return moved
