"""Box correctness of score maps at every threshold, and the accuracies that follow from it (numpy only)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.wsol.components import LEVELS, LevelBoxes


class Best(NamedTuple):
    """The highest accuracy over thresholds, and the place (of the first such) threshold."""

    accuracy: float
    place: int


def threshold_grid(interval: float) -> NDArray[np.float64]:
    """Thresholds 0, interval, 2 interval, ... below 1, with the rounding of `numpy.arange`."""
    return np.arange(0, 1, interval)


def box_iou(boxes: NDArray[np.integer], truth: NDArray[np.integer]) -> NDArray[np.float64]:
    """Intersection over union where a box holds the pixels of both its corners (the +1 convention).

    Args:
        boxes: (k, 4) x0 y0 x1 y1.
        truth: (m, 4).

    Returns:
        (k, m) in [0, 1].

    Reference: Choe et al., CVPR 2020.
    """
    a, b = boxes[:, None, :].astype(np.int64), truth[None, :, :].astype(np.int64)
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    both = (high - low + 1).clip(0).prod(axis=-1)
    own = (a[..., 2:] - a[..., :2] + 1).prod(axis=-1)
    other = (b[..., 2:] - b[..., :2] + 1).prod(axis=-1)
    union = own + other - both
    result: NDArray[np.float64] = both / np.maximum(union, 1)
    return result


def largest_iou(boxes: NDArray[np.integer], truth: NDArray[np.integer]) -> NDArray[np.float64]:
    """IoU of one box per level (levels, 4) with the ground truth (m, 4) it fits best: (levels,); zeros without truth."""
    return box_iou(boxes, truth).max(axis=1, initial=0.0)


def any_iou(found: LevelBoxes, truth: NDArray[np.integer]) -> NDArray[np.float64]:
    """IoU of the best pair of a box of the level and a ground truth (m, 4), at every level: (256,); zeros without truth."""
    from eval_suite.wsol.component_tree import highest

    return highest(found.first, found.last, largest_iou(found.boxes, truth))


def best_threshold(correct: NDArray[np.bool_]) -> Best:
    """The threshold at which the largest share of items (n, thresholds) is correct."""
    share = correct.mean(axis=0)
    place = int(share.argmax())
    return Best(float(share[place]), place)
