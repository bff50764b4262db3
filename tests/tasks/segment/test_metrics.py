"""The mean IoU by hand, against scikit-learn, and what must not change it."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, jaccard_score

from eval_suite.core.statistics import paired_difference
from eval_suite.tasks.segment.metrics import (
    CLASS_IOU,
    MEAN_CLASS_ACCURACY,
    MIOU,
    PIXEL_ACCURACY,
    confusion,
    counts_of,
    influence,
    mean_ratio,
)
from eval_suite.tasks.segment.score import measured

NAMES = [f"class {i}" for i in range(4)]


def masks(n: int, classes: int, seed: int, *, right: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, (n, 9, 11)).astype(np.uint8)
    called = np.where(rng.random(true.shape) < right, true, rng.integers(0, classes, true.shape))
    true[rng.random(true.shape) < 0.1] = 255
    return true, called.astype(np.uint8)


def confusions(true: np.ndarray, called: np.ndarray, classes: int) -> np.ndarray:
    return np.stack([confusion(t, c, classes) for t, c in zip(true, called, strict=True)])


def test_by_hand() -> None:
    # True: three of class 0, two of class 1, one that does not count.
    true = np.array([[0, 0, 0], [1, 1, 255]], np.uint8)
    called = np.array([[0, 0, 1], [1, 0, 1]], np.uint8)
    found = measured(confusions(true[None], called[None], 2), NAMES[:2])
    values = {(m.key, m.subset): m.value for m in found.metrics}
    assert values[MIOU.key, None] == pytest.approx((2 / 4 + 1 / 3) / 2)
    assert values[CLASS_IOU.key, "class 1"] == pytest.approx(1 / 3)
    assert values[PIXEL_ACCURACY.key, None] == pytest.approx(3 / 5)
    assert values[MEAN_CLASS_ACCURACY.key, None] == pytest.approx((2 / 3 + 1 / 2) / 2)
    controls = found.metrics[0].controls
    assert controls["most frequent class"] == pytest.approx((3 / 5) / 2)
    # At random half of each class's pixels are hit: 1.5 of 3 + 2.5 - 1.5, and 1 of 2 + 2.5 - 1.
    assert controls["chance"] == pytest.approx((1.5 / 4 + 1 / 3.5) / 2)


def test_against_scikit_learn() -> None:
    true, called = masks(5, 4, seed=1)
    found = confusions(true, called, 4)
    counted = true != 255
    expected = confusion_matrix(true[counted], called[counted], labels=range(4))
    assert np.array_equal(found.sum(0), expected)
    value = measured(found, NAMES).metrics[0].value
    assert value == pytest.approx(jaccard_score(true[counted], called[counted], average="macro"))


def test_the_order_of_classes_images_and_pixels_does_not_count() -> None:
    true, called = masks(5, 4, seed=2)
    before = [m.value for m in measured(confusions(true, called, 4), NAMES).metrics[:3]]
    swap = np.arange(256, dtype=np.uint8)
    swap[:4] = [2, 0, 3, 1]
    order, pixels = np.random.default_rng(0).permutation(5), np.random.default_rng(1).permutation(11)
    again = confusions(swap[true[order][..., pixels]], swap[called[order][..., pixels]], 4)
    assert [m.value for m in measured(again, NAMES).metrics[:3]] == pytest.approx(before)


def test_what_does_not_count_may_be_called_anything() -> None:
    true, called = masks(3, 4, seed=3)
    other = np.where(true == 255, 3 - called, called)
    assert not np.array_equal(called, other)
    assert np.array_equal(confusions(true, called, 4), confusions(true, other.astype(np.uint8), 4))


def test_classes_without_pixels_are_no_part_of_the_mean() -> None:
    true, called = masks(4, 3, seed=4)
    called[0, 0, :3] = 3
    found = {(m.key, m.subset): m for m in measured(confusions(true, called, 4), NAMES).metrics}
    ious = [found[CLASS_IOU.key, name].value for name in NAMES[:3]]
    assert found[MIOU.key, None].value == pytest.approx(np.mean(ious))
    assert found[CLASS_IOU.key, "class 3"].value == 0  # called so, and never true


def test_the_parts_of_images_have_the_measure_for_their_mean() -> None:
    counts = counts_of(confusions(*masks(20, 4, seed=5), 4))
    parts = influence(counts.both, counts.union)
    assert parts.mean() == pytest.approx(mean_ratio(counts.both, counts.union))
    # An image counted twice moves the measure by its part, to first order.
    n = 20
    twice = mean_ratio(
        np.vstack([counts.both] * 50 + [counts.both[:1]]), np.vstack([counts.union] * 50 + [counts.union[:1]])
    )
    assert (twice - parts.mean()) * (50 * n + 1) == pytest.approx(parts[0] - parts.mean(), rel=1e-2)


def test_a_paired_interval_is_that_of_resampled_images() -> None:
    true, one = masks(40, 4, seed=6, right=0.7)
    _, noise = masks(40, 4, seed=7)
    other = np.where(np.random.default_rng(8).random(one.shape) < 0.1, noise, one).astype(np.uint8)
    a, b = (counts_of(confusions(true, called, 4)) for called in (one, other))
    found = paired_difference(influence(a.both, a.union), influence(b.both, b.union))
    rng = np.random.default_rng(0)
    direct = []
    for _ in range(2000):
        chosen = rng.integers(0, 40, 40)
        direct.append(
            mean_ratio(a.both[chosen], a.union[chosen]) - mean_ratio(b.both[chosen], b.union[chosen])
        )
    width = np.quantile(direct, 0.975) - np.quantile(direct, 0.025)
    assert found.interval.high - found.interval.low == pytest.approx(width, rel=0.1)
    assert not found.tied


def test_nothing_that_counts() -> None:
    found = measured(np.zeros((2, 3, 3), np.int64), NAMES[:3])
    assert (found.metrics[0].value, found.metrics[0].key) == (None, MIOU.key)
