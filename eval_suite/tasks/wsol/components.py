"""Boxes around the regions of a score map above a threshold, for every threshold at once.

The rules are those of the evaluation paper's code (Choe et al., CVPR 2020): a map in [0, 1] is cut to 8 bits; a
threshold keeps the pixels *above* ``int(threshold * maximum)``; OpenCV's `findContours` gives the regions' outlines and
those of their holes; a box is ``[x, y, min(x + w, W - 1), min(y + h, H - 1)]`` of an outline's bounding rectangle, and
``[0, 0, 0, 0]`` where nothing is above. So a map has at most 255 different answers, one for each level.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from eval_suite.tasks.wsol.component_tree import Regions

LEVELS = 256


class LevelBoxes(NamedTuple):
    """Boxes (k, 4) of one map, each of them there at the levels ``first``..``last`` (k,), both included."""

    boxes: NDArray[np.int32]
    first: NDArray[np.int32]
    last: NDArray[np.int32]


def to_8bit(score: NDArray[np.floating]) -> NDArray[np.uint8]:
    """A score map in [0, 1] as whole numbers 0..255, cut towards zero."""
    return (score * 255).astype(np.uint8)


def level_of(thresholds: NDArray[np.float64], map8: NDArray[np.uint8]) -> NDArray[np.intp]:
    """The level ``int(threshold * maximum)`` of each threshold (t,) on a map."""
    return (thresholds * np.float64(map8.max())).astype(np.intp)


def box_at(map8: NDArray[np.uint8], threshold: float) -> tuple[int, int, int, int]:
    """The box around the largest region above one threshold.

    Args:
        map8: (H, W).
        threshold: share of the map's maximum in [0, 1).

    Returns:
        x0, y0, x1, y1; zeros where nothing is above.
    """
    x0, y0, x1, y1 = _largest_at(map8, int(threshold * np.float64(map8.max()))).tolist()
    return x0, y0, x1, y1


def largest_boxes(map8: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The box around the region with the largest `cv2.contourArea` at every level: (256, 4).

    The component tree knows each region's area, or bounds of it where the region has holes. Levels at which that does
    not decide, ties above all, are asked of OpenCV.
    """
    from eval_suite.tasks.wsol.component_tree import upper_regions

    return _largest(map8, upper_regions(map8))


def all_boxes(map8: NDArray[np.uint8]) -> LevelBoxes:
    """The boxes around all regions and holes of every level, and ``[0, 0, 0, 0]`` at the levels without any."""
    from eval_suite.tasks.wsol.component_tree import upper_regions

    return _all(map8, upper_regions(map8))


def both_boxes(map8: NDArray[np.uint8]) -> tuple[NDArray[np.int32], LevelBoxes]:
    """What `largest_boxes` and `all_boxes` give, from one component tree."""
    from eval_suite.tasks.wsol.component_tree import upper_regions

    regions = upper_regions(map8)
    return _largest(map8, regions), _all(map8, regions)


def _largest(map8: NDArray[np.uint8], regions: "Regions") -> NDArray[np.int32]:
    from eval_suite.tasks.wsol.component_tree import winners

    found = winners(regions)
    boxes = np.zeros((LEVELS, 4), np.int32)
    any_region = found.region >= 0
    boxes[any_region] = _cut(regions.boxes[found.region[any_region]], map8)
    for level in np.flatnonzero(found.undecided):
        boxes[level] = _largest_at(map8, int(level))
    return boxes


def _all(map8: NDArray[np.uint8], regions: "Regions") -> LevelBoxes:
    from eval_suite.tasks.wsol.component_tree import holes

    boxes, first, last = [_cut(regions.boxes, map8)], [regions.first], [regions.last]
    with_holes = regions.last[regions.holes > 0]
    if len(with_holes):
        inner = holes(map8, int(with_holes.max()))
        # The outline of a hole runs through the pixels around it.
        boxes.append(_cut(inner.boxes + np.array([-1, -1, 1, 1], np.int32), map8))
        first.append(inner.first)
        last.append(inner.last)
    nothing = LevelBoxes(*(np.array(x, np.int32) for x in ([[0] * 4], [map8.max()], [LEVELS - 1])))
    return LevelBoxes(
        np.concatenate([*boxes, nothing.boxes]),
        np.concatenate([*first, nothing.first]),
        np.concatenate([*last, nothing.last]),
    )


def _largest_at(map8: NDArray[np.uint8], level: int) -> NDArray[np.int32]:
    import cv2

    _, above = cv2.threshold(map8, level, 255, cv2.THRESH_BINARY)
    contours: Any = cv2.findContours(above, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
    if not len(contours):
        return np.zeros(4, np.int32)
    x, y, w, h = cv2.boundingRect(max(contours, key=cv2.contourArea))
    return _cut(np.array([[x, y, x + w - 1, y + h - 1]], np.int32), map8)[0]


def _cut(boxes: NDArray[np.int32], map8: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Boxes with both corners inside as the evaluation paper's code writes them."""
    height, width = map8.shape
    last = np.array([width - 1, height - 1], np.int32)
    return np.concatenate([boxes[:, :2], np.minimum(boxes[:, 2:] + 1, last)], axis=1)
