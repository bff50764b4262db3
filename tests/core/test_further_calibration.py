"""Further calibration errors, the Brier score, AURC and the temperature, by hand."""

import numpy as np
import pytest

from eval_suite.core.calibration import (
    bin_of,
    brier_scores,
    classwise_calibration_error,
    equal_mass_calibration_error,
    expected_calibration_error,
    fitted_temperature,
    items_covered,
    log_softmax,
    ranks,
    risks,
)


def test_bins_of_equal_mass_by_hand() -> None:
    confidence, correct = np.array([0.9, 0.5, 0.6, 0.8]), np.array([True, False, True, True])
    # {0.5, 0.6}: accuracy 0.5, confidence 0.55; {0.8, 0.9}: 1 and 0.85.
    assert equal_mass_calibration_error(confidence, correct, 2) == pytest.approx((0.05 + 0.15) / 2)
    assert equal_mass_calibration_error(confidence, correct, 99) == pytest.approx((0.5 + 0.4 + 0.2 + 0.1) / 4)


def test_of_one_confidence_the_order_of_items_says_nothing() -> None:
    confidence, correct = np.full(6, 0.5), np.array([True, True, True, False, False, False])
    assert equal_mass_calibration_error(confidence, correct, 2) == 0
    tied, right = np.array([0.2, 0.7, 0.7, 0.7]), np.array([False, True, False, False])
    # {0.2, 0.7}: accuracy (0 + 1/3) / 2, confidence 0.45; {0.7, 0.7}: 1/3 and 0.7.
    by_hand = (abs(1 / 6 - 0.45) + abs(1 / 3 - 0.7)) / 2
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 1, 3]):
        assert equal_mass_calibration_error(tied[order], right[order], 2) == pytest.approx(by_hand)


def test_the_error_of_two_classes_is_that_of_one() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(0, 1, 500)
    labels = (rng.uniform(0, 1, 500) < p**2).astype(int)
    one = expected_calibration_error(p, labels == 1, 10)
    assert classwise_calibration_error([(np.stack([1 - p, p], 1), labels)], 2, 10) == pytest.approx(
        one, abs=1e-3
    )


def test_brier_by_hand() -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    assert brier_scores(p, np.array([0, 2, 2])) == pytest.approx([0.09 + 0.04 + 0.01, 0, 2])


def test_aurc_by_hand() -> None:
    confidence = np.array([0.9, 0.8, 0.7])
    assert risks(confidence, np.array([True, False, True])).mean() == pytest.approx((0 + 1 / 2 + 1 / 3) / 3)
    assert risks(confidence, np.array([True, True, True])).mean() == 0


def test_the_order_of_ties_does_not_count() -> None:
    tied = np.full(4, 0.5)
    for correct in ([True, False, True, False], [False, False, True, True]):
        assert risks(tied, np.array(correct)).mean() == pytest.approx(0.5)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_temperature_of_logits_that_were_multiplied_is_found(temperature: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 3))
    uniform = rng.uniform(size=(4000, 1))
    labels = (uniform > np.exp(log_softmax(logits)).cumsum(axis=1)).sum(axis=1).clip(max=2)
    assert fitted_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.1)


def test_selective_risks_by_hand() -> None:
    confidence, correct = np.array([0.9, 0.5, 0.7, 0.8]), np.array([True, False, False, True])
    np.testing.assert_allclose(risks(confidence, correct), [0, 0, 1 / 3, 1 / 2])
    # Two tied items of which one is wrong hold half a mistake each.
    tied = risks(np.array([0.9, 0.6, 0.6]), np.array([True, True, False]))
    np.testing.assert_allclose(tied, [0, 0.25, 1 / 3])


def test_the_last_risk_is_the_error_and_the_order_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    confidence, correct = rng.random(200).round(2), rng.random(200) < 0.7
    found, order = risks(confidence, correct), rng.permutation(200)
    assert found[-1] == pytest.approx(1 - correct.mean())
    np.testing.assert_allclose(risks(confidence[order], correct[order]), found)
    np.testing.assert_allclose(risks(confidence**3, correct), found)


@pytest.mark.parametrize(
    ("items", "coverage", "expected"),
    [(10, 0.8, 8), (10, 0.85, 9), (3, 0.01, 1), (1000, 0.95, 950), (7, 1.0, 7)],
)
def test_items_covered(items: int, coverage: float, expected: int) -> None:
    assert items_covered(items, coverage) == expected


def test_risk_at_coverage_of_accepted_items_one_by_one() -> None:
    rng = np.random.default_rng(1)
    confidence, correct = rng.random(301), rng.random(301) < 0.8
    for coverage in (0.8, 0.9, 0.95):
        k = items_covered(301, coverage)
        accepted = sorted(range(301), key=lambda i: -confidence[i])[:k]
        assert risks(confidence, correct)[k - 1] == pytest.approx(1 - correct[accepted].mean())


@pytest.mark.parametrize("digits", [1, 2, 9])
def test_what_is_known_of_a_sample_gives_the_same_of_its_resamples(digits: int) -> None:
    rng = np.random.default_rng(digits)
    confidence = rng.uniform(0, 1, 500).round(digits)
    correct = rng.uniform(0, 1, 500) < confidence
    ranked, placed = ranks(confidence), bin_of(confidence, 15)
    for _ in range(5):
        chosen = rng.integers(0, 500, 500)
        sample = confidence[chosen], correct[chosen]
        for measure in (equal_mass_calibration_error, risks):
            np.testing.assert_array_equal(measure(*sample, ranked=ranked[chosen]), measure(*sample))
        assert expected_calibration_error(*sample, 15, placed[chosen]) == expected_calibration_error(*sample)
