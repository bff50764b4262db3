"""Calibration against hand computation, an independent loop and scikit-learn."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from eval_suite.core import calibration
from eval_suite.core.calibration import (
    brier_scores,
    classwise_calibration_error,
    expected_calibration_error,
    fitted_temperature,
    item_measures,
    log_probabilities,
    log_softmax,
    reliability,
)


def problem(n: int = 500, classes: int = 7, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 2, (n, classes)).astype(np.float32), rng.integers(0, classes, n)


def ece_by_loop(confidence: np.ndarray, correct: np.ndarray, bins: int) -> float:
    """Guo et al., eq. 3, with the boundaries of their code: low < confidence <= high."""
    edges = [i / bins for i in range(bins + 1)]
    total = 0.0
    for low, high in pairwise(edges):
        inside = [i for i, c in enumerate(confidence) if low < c <= high or (low == c == 0)]
        if inside:
            accuracy = sum(bool(correct[i]) for i in inside) / len(inside)
            mean = math.fsum(confidence[i] for i in inside) / len(inside)
            total += len(inside) / len(confidence) * abs(accuracy - mean)
    return total


def test_confidence_by_hand() -> None:
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.4, 0.2, 0.4]]))
    confidence, correct, *_ = item_measures(logits, np.array([0, 2, 2]))
    assert confidence == pytest.approx([0.5, 0.8, 0.4])
    assert correct.tolist() == [True, False, False]  # of tied classes the first is predicted


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(2, 9))
def test_confidence_lies_between_one_over_classes_and_one(seed: int, classes: int) -> None:
    logits, labels = problem(30, classes, seed)
    logits *= 10.0 ** (seed % 6 - 2)
    confidence, correct, *_ = item_measures(logits, labels)
    assert (confidence >= 1 / classes - 1e-12).all()
    assert (confidence <= 1 + 1e-12).all()
    np.testing.assert_array_equal(correct, logits.argmax(1) == labels)
    reliability(confidence, correct)  # never out of range


def test_ece_by_hand() -> None:
    # (0.2, 0.4]: 0.3 and 0.4, one of two right: |0.5 - 0.35| = 0.15; (0.8, 1]: 0.9, wrong: 0.9.
    confidence, correct = np.array([0.3, 0.4, 0.9]), np.array([True, False, False])
    assert expected_calibration_error(confidence, correct, 5) == pytest.approx((2 * 0.15 + 0.9) / 3)
    found = reliability(confidence, correct, 5)
    assert found.items.tolist() == [0, 2, 0, 0, 1]
    np.testing.assert_allclose(found.confidence, [np.nan, 0.35, np.nan, np.nan, 0.9])
    np.testing.assert_allclose(found.accuracy, [np.nan, 0.5, np.nan, np.nan, 0.0])


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 1) | st.integers(0, 15).map(lambda i: i / 15), st.booleans()), min_size=1
    ),
    st.sampled_from([1, 2, 10, 15, 25]),
)
def test_ece_agrees_with_an_independent_loop(items: list[tuple[float, bool]], bins: int) -> None:
    confidence, correct = np.array([c for c, _ in items]), np.array([r for _, r in items])
    expected = ece_by_loop(confidence, correct, bins)
    assert expected_calibration_error(confidence, correct, bins) == pytest.approx(expected, abs=1e-12)


def test_reliability_agrees_with_scikit_learn_off_the_edges() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.random(2000)
    correct = rng.random(2000) < confidence**2
    accuracy, mean = calibration_curve(correct, confidence, n_bins=15)
    found = reliability(confidence, correct)
    np.testing.assert_allclose(found.accuracy, accuracy)
    np.testing.assert_allclose(found.confidence, mean)


@pytest.mark.parametrize("bins", [1, 2, 3, 10, 15, 25, 49, 100])
def test_a_confidence_at_an_edge_belongs_to_the_bin_below(bins: int) -> None:
    for edge in range(bins + 1):
        found = reliability(np.array([edge / bins]), np.array([True]), bins)
        assert found.items.tolist().index(1) == max(edge - 1, 0)
        if 0 < edge < bins:
            above = reliability(np.array([np.nextafter(edge / bins, 1)]), np.array([True]), bins)
            assert above.items.tolist().index(1) == edge


def test_ece_does_not_depend_on_the_order_of_items() -> None:
    logits, labels = problem()
    confidence, correct, *_ = item_measures(logits, labels)
    order = np.random.default_rng(1).permutation(len(labels))
    found = expected_calibration_error(confidence, correct)
    assert found > 0.05
    assert expected_calibration_error(confidence[order], correct[order]) == pytest.approx(found, abs=1e-12)


def test_ece_of_the_calibrated_and_of_the_certain() -> None:
    confidence = np.full(10, 0.3)
    assert expected_calibration_error(confidence, np.arange(10) < 3) == pytest.approx(0, abs=1e-12)
    assert expected_calibration_error(np.ones(4), np.array([True] * 3 + [False])) == pytest.approx(0.25)
    assert expected_calibration_error(np.zeros(4), np.zeros(4, bool)) == 0
    assert expected_calibration_error(np.ones(4), np.zeros(4, bool)) == 1


@pytest.mark.parametrize("wrong", [-0.01, 1.01, math.nan, math.inf])
def test_a_confidence_outside_the_unit_interval_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"expected confidences in \[0, 1\]"):
        expected_calibration_error(np.array([0.5, wrong]), np.array([True, True]))


def test_rounding_just_above_one_is_one() -> None:
    assert reliability(np.array([1 + 1e-15]), np.array([True])).items[-1] == 1


@pytest.mark.parametrize("classes", [2, 7, 40])
def test_blocks_change_no_bit(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = problem(300, classes)
    whole = np.exp(log_softmax(logits / np.float64(1.7)))
    monkeypatch.setattr(calibration, "_NUMBERS_AT_ONCE", 13 * classes)
    found = item_measures(logits, labels, 1.7)
    np.testing.assert_array_equal(found.confidence, np.exp(log_softmax(logits / np.float64(1.7)).max(axis=1)))
    np.testing.assert_array_equal(found.correct, whole.argmax(axis=1) == labels)
    np.testing.assert_array_equal(found.nll, -log_softmax(logits / np.float64(1.7))[np.arange(300), labels])
    np.testing.assert_array_equal(found.brier, brier_scores(whole, labels))
    parts = [(np.exp(part), labels[items]) for items, part in log_probabilities(logits, 1.7)]
    assert len(parts) == 24
    of_classes = [expected_calibration_error(np.clip(whole[:, c], 0, 1), labels == c) for c in range(classes)]
    assert classwise_calibration_error(parts, classes) == float(np.mean(of_classes))
    temperature = fitted_temperature(logits, labels)
    monkeypatch.undo()
    assert fitted_temperature(logits, labels) == temperature
