"""Box correctness of score maps at every threshold, and the accuracies that follow from it (numpy only)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.tasks.wsol.components import LEVELS, LevelBoxes


class BoxFits(NamedTuple):
    """How well the boxes of n maps fit, at every level of each map.

    ``largest`` (n, 256): whether the box of the largest region has IoU >= 0.5. ``every`` (n, 256, k): whether any
    box reaches each of k IoUs. ``peaks`` (n,): the maps' 8-bit maxima, which tell the level of a threshold.
    """

    largest: NDArray[np.bool_]
    every: NDArray[np.bool_]
    peaks: NDArray[np.uint8]


class Best(NamedTuple):
    """The first of the thresholds with the highest accuracy, and whether each of n items is correct there."""

    threshold: float
    correct: NDArray[np.bool_]


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
    # Truth by boxes, so that numpy's inner loops run over the many.
    ax0, ay0, ax1, ay1 = np.ascontiguousarray(boxes.T, np.int64)[:, None, :]
    bx0, by0, bx1, by1 = np.ascontiguousarray(truth.T, np.int64)[:, :, None]
    wide = (np.minimum(ax1, bx1) - np.maximum(ax0, bx0) + 1).clip(0)
    high = (np.minimum(ay1, by1) - np.maximum(ay0, by0) + 1).clip(0)
    both = wide * high
    union = (ax1 - ax0 + 1) * (ay1 - ay0 + 1) + (bx1 - bx0 + 1) * (by1 - by0 + 1) - both
    result: NDArray[np.float64] = (both / np.maximum(union, 1)).T
    return result


def best_iou(boxes: NDArray[np.integer], truth: NDArray[np.integer]) -> NDArray[np.float64]:
    """IoU of each box (k, 4) with the ground truth (m, 4) it fits best: (k,); zeros where there is no ground truth."""
    return box_iou(boxes, truth).max(axis=1, initial=0.0)


def level_iou(found: LevelBoxes, truth: NDArray[np.integer]) -> NDArray[np.float64]:
    """IoU of the best pair of a box of the level and a ground truth (m, 4), at every level: (256,)."""
    from eval_suite.tasks.wsol.component_tree import highest

    return highest(found.first, found.last, best_iou(found.boxes, truth))


def correct_at(correct: NDArray[np.bool_], peaks: NDArray[np.uint8], threshold: float) -> NDArray[np.bool_]:
    """Whether each item is correct at one threshold.

    Args:
        correct: (n, 256) at every level.
        peaks: (n,) maxima of the maps.
        threshold: share of the maximum in [0, 1).
    """
    levels = (threshold * peaks.astype(np.float64)).astype(np.intp)
    return correct[np.arange(len(correct)), levels]


def accuracy_curve(
    correct: NDArray[np.bool_], peaks: NDArray[np.uint8], thresholds: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Share of correct items at each threshold.

    Args:
        correct: (n, 256) at every level.
        peaks: (n,) maxima of the maps.
        thresholds: (t,) shares of the maximum in [0, 1).
    """
    counts = np.zeros(len(thresholds), np.int64)
    for peak in np.unique(peaks):
        per_level = correct[peaks == peak].sum(axis=0)
        counts += per_level[(thresholds * np.float64(peak)).astype(np.intp)]
    return counts / len(correct)


def best_threshold(
    correct: NDArray[np.bool_], peaks: NDArray[np.uint8], thresholds: NDArray[np.float64]
) -> Best:
    """The threshold at which most items are correct; arguments as of `accuracy_curve`."""
    threshold = float(thresholds[accuracy_curve(correct, peaks, thresholds).argmax()])
    return Best(threshold, correct_at(correct, peaks, threshold))


def empty_fits(items: int, ious: int) -> BoxFits:
    """Room for the fits of n maps at k IoUs."""
    return BoxFits(
        np.zeros((items, LEVELS), np.bool_),
        np.zeros((items, LEVELS, ious), np.bool_),
        np.zeros(items, np.uint8),
    )
