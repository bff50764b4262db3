"""Accuracies over thresholds, against plain loops."""

import numpy as np
import pytest

from eval_suite.tasks.wsol.box_accuracy import (
    accuracy_curve,
    best_iou,
    best_threshold,
    box_iou,
    correct_at,
    level_iou,
    threshold_grid,
)
from eval_suite.tasks.wsol.components import all_boxes, largest_boxes, to_8bit
from eval_suite.tasks.wsol.geometry import score_map
from tests.tasks.wsol.reference import box_correctness, overlap


def test_iou_by_hand() -> None:
    boxes = np.array([[0, 0, 3, 3], [10, 10, 10, 10]])
    truth = np.array([[2, 2, 5, 5], [0, 0, 3, 3], [4, 0, 9, 3]])
    # Two boxes of 4 x 4 pixels share 2 x 2: 4 / 28. Beside each other without a common pixel: 0.
    assert box_iou(boxes, truth).tolist() == [[4 / 28, 1.0, 0.0], [0.0, 0.0, 0.0]]
    assert box_iou(boxes[1:], boxes[1:]).tolist() == [[1.0]]
    assert best_iou(boxes, truth).tolist() == [1.0, 0.0]
    assert best_iou(boxes, np.zeros((0, 4), np.int64)).tolist() == [0.0, 0.0]


def test_iou_is_symmetric_and_that_of_pixel_sets() -> None:
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 12, (40, 2, 2))
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    found = box_iou(boxes, boxes)
    assert np.array_equal(found, found.T)
    for i, j in rng.integers(0, 40, (60, 2)).tolist():
        masks = np.zeros((2, 12, 12), bool)
        for mask, (x0, y0, x1, y1) in zip(masks, boxes[[i, j]].tolist(), strict=True):
            mask[y0 : y1 + 1, x0 : x1 + 1] = True
        assert found[i, j] == (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()
        a, b = (tuple(box) for box in boxes[[i, j]].tolist())
        assert found[i, j] == overlap(a, b)


def test_thresholds() -> None:
    assert len(threshold_grid(0.001)) == 1000
    assert threshold_grid(0.25).tolist() == [0, 0.25, 0.5, 0.75]
    assert threshold_grid(0.01)[-1] < 1


def scores(kind: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if kind == "noise":
        return rng.random((24, 24))
    if kind == "dim noise":
        return rng.random((24, 24)) * 0.37
    if kind == "constant":
        return np.full((24, 24), 0.3 * (seed % 3))
    return score_map(rng.normal(size=(7, 7)), (64, 64))


@pytest.mark.parametrize("kind", ["smooth", "noise", "dim noise", "constant"])
@pytest.mark.parametrize("interval", [0.001, 0.01, 0.03])
def test_box_correctness_is_the_references_at_every_threshold(kind: str, interval: float) -> None:
    rng = np.random.default_rng(1)
    thresholds = threshold_grid(interval)
    for seed in range(3):
        score = scores(kind, seed)
        corners = rng.integers(0, score.shape[0], (2, 2, 2))
        truth = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
        truth[0] = [0, 0, 0, 0] if kind == "constant" else truth[0]
        expected = box_correctness(score, [tuple(box) for box in truth.tolist()], interval)
        map8 = to_8bit(score)
        largest = best_iou(largest_boxes(map8), truth) >= 0.5
        every = level_iou(all_boxes(map8), truth)[:, None] >= np.array([0.3, 0.5, 0.7])
        peaks = np.array([map8.max()])
        for i, threshold in enumerate(thresholds):
            assert correct_at(largest[None], peaks, threshold)[0] == expected.largest[i]
        assert np.array_equal(accuracy_curve(largest[None], peaks, thresholds), expected.largest)
        for k in range(3):
            curve = accuracy_curve(every[None, :, k], peaks, thresholds)
            assert np.array_equal(curve, [row[k] for row in expected.every])


def test_maps_of_different_maxima_have_different_levels() -> None:
    correct = np.zeros((3, 256), np.bool_)
    correct[0, 100:] = True  # maximum 200: correct from the threshold 0.5 on
    correct[1, 50:] = True  # maximum 50: never, as thresholds stay below 1
    correct[2, :] = True
    peaks = np.array([200, 50, 0], np.uint8)
    curve = accuracy_curve(correct, peaks, np.array([0, 0.499, 0.5, 0.999]))
    assert curve == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3])
    assert correct_at(correct, peaks, 0.5).tolist() == [True, False, True]


def test_the_first_of_the_best_thresholds_is_taken() -> None:
    correct = np.zeros((2, 256), np.bool_)
    correct[0, 51:103] = True
    correct[1, 77:] = True
    best = best_threshold(correct, np.array([255, 255], np.uint8), threshold_grid(0.1))
    assert best.threshold == pytest.approx(0.4)
    assert best.correct.tolist() == [True, True]
