"""Metrics in the form several tasks report them."""

import numpy as np
import pytest

from eval_suite.core.calibration import expected_calibration_error
from eval_suite.core.metrics import ECE, MetricKind, MetricSet, bounds, rate_bounds
from eval_suite.core.records import Metric
from eval_suite.core.statistics import Interval, bootstrap_mean, wilson_interval

ACCURACY = MetricKind("class_accuracy", "Accuracy")


def calibration_metric(confidence: np.ndarray, correct: np.ndarray) -> Metric:
    found = MetricSet()
    found.calibration(confidence, correct)
    return found.metrics[0]


def test_a_share_has_its_wilson_interval() -> None:
    found = MetricSet()
    found.share(ACCURACY, np.array([1, 1, 1, 0], bool), subset="cat")
    (metric,) = found.metrics
    assert (metric.key, metric.name, metric.value, metric.n, metric.subset) == (
        "class_accuracy",
        "Accuracy",
        0.75,
        4,
        "cat",
    )
    assert metric.interval == tuple(wilson_interval(3, 4))
    assert metric.higher_is_better
    assert not found.outcomes, "an outcome is of all items"


def test_an_outcome_goes_by_the_identity_of_its_metric() -> None:
    found = MetricSet()
    found.share(MetricKind("loc", "Loc (σ={sigma:g})"), np.array([1, 0], bool), {"sigma": 0.15})
    assert found.metrics[0].name == "Loc (σ=0.15)"
    assert found.outcomes[found.metrics[0].id].tolist() == [1.0, 0.0]
    assert found.metrics[0].id == "loc{sigma=0.15}"


@pytest.mark.parametrize(("outcome", "successes"), [(0.0, 0), (1.0, 30), (1 / 3, 10)])
def test_a_rate_that_no_resample_changes_gets_wilsons_interval(outcome: float, successes: int) -> None:
    resampled = bootstrap_mean(np.full(30, outcome))
    found = rate_bounds(resampled, "bootstrap", outcome, 30)
    assert found.interval == pytest.approx(wilson_interval(successes, 30))
    assert found.method == "Wilson score of 30 items, as no resample differs"
    differing = Interval(0.1, 0.2)
    assert rate_bounds(differing, "bootstrap", 0.15, 30) == (differing, "bootstrap", None)


def test_what_is_no_rate_has_no_interval_where_no_resample_differs() -> None:
    assert bounds(Interval(3.0, 4.0), "bootstrap") == (Interval(3.0, 4.0), "bootstrap", None)
    assert bounds(Interval(3.0, 3.0), "bootstrap") == (
        None,
        None,
        "every resample of the items gives the same value",
    )
    sure = calibration_metric(np.ones(5), np.ones(5, bool))
    assert (sure.value, sure.interval) == (0.0, None)
    assert sure.reason


def test_the_calibration_error_lies_inside_its_interval() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.3, 1, 400)
    correct = rng.random(400) < confidence - 0.2
    found = calibration_metric(confidence, correct)
    assert found.name == ECE.name({"bins": 15}) == "ECE (15 equal-width bins)"
    assert found.value == pytest.approx(expected_calibration_error(confidence, correct, 15))
    assert found.interval is not None
    assert found.value is not None
    assert 0 <= found.interval[0] < found.value < found.interval[1] <= 1
