"""Classification metrics against hand computation and scikit-learn."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, log_loss

from eval_suite.core.calibration import item_measures
from eval_suite.tasks.classify.measures import metrics_of
from eval_suite.tasks.classify.metrics import per_class_correct


def problem(n: int = 500, classes: int = 7, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 2, (n, classes)).astype(np.float32), rng.integers(0, classes, n)


def test_nll_by_hand() -> None:
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]]))
    found = item_measures(logits, np.array([1, 1])).nll
    assert found == pytest.approx([math.log(4), -math.log(0.8)])


def test_nll_agrees_with_scikit_learn_and_torch() -> None:
    logits, labels = problem()
    found = item_measures(logits, labels).nll
    probability = np.exp(logits.astype(np.float64))
    probability /= probability.sum(1, keepdims=True)
    assert found.mean() == pytest.approx(log_loss(labels, probability, labels=np.arange(7)))
    each = torch.nn.functional.cross_entropy(
        torch.from_numpy(logits).double(), torch.from_numpy(labels), reduction="none"
    )
    np.testing.assert_allclose(found, each.numpy(), rtol=1e-12)


def test_nll_is_finite_and_the_same_after_a_shift() -> None:
    logits, labels = problem(50)
    np.testing.assert_allclose(
        item_measures(logits + np.float32(64), labels).nll,
        item_measures(logits, labels).nll,
        atol=1e-4,
    )
    far = np.array([[1e30, -1e30], [1e30, -1e30]], np.float32)
    assert item_measures(far, np.array([0, 1])).nll == pytest.approx([0, 2e30])


def test_per_class_by_hand_and_against_scikit_learn() -> None:
    labels = np.array([0, 0, 2, 2, 2])
    correct = np.array([True, False, True, True, False])
    assert per_class_correct(correct, labels, 4).tolist() == [[1, 2], [0, 0], [2, 3], [0, 0]]
    logits, labels = problem()
    found = per_class_correct(logits.argmax(1) == labels, labels, 7)
    matrix = confusion_matrix(labels, logits.argmax(1), labels=np.arange(7))
    np.testing.assert_array_equal(found, np.stack([matrix.diagonal(), matrix.sum(1)], 1))


def test_errors_of_the_confident_are_resampled_and_calibration_errors_are_not() -> None:
    logits, labels = problem(200)
    found = metrics_of(logits, labels, list("abcdefg"))
    assert {id_.partition("{")[0] for id_ in found.resampled} == {"aurc", "risk_at_coverage"}
    assert len(found.resampled) == 4
    chosen = np.random.default_rng(0).integers(0, 200, size=200)  # the first resample
    values = {m.id: m.value for m in metrics_of(logits[chosen], labels[chosen], list("abcdefg")).metrics}
    for id_, resampled in found.resampled.items():
        assert resampled[0] == pytest.approx(values[id_], abs=1e-6)
