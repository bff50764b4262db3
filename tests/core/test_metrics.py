"""Metrics in the form several tasks report them."""

import numpy as np
import pytest

from eval_suite.core.calibration import expected_calibration_error
from eval_suite.core.metrics import ECE, calibration_metric, share_metric
from eval_suite.core.statistics import wilson_interval


def test_a_share_has_its_wilson_interval() -> None:
    found = share_metric("Accuracy", 3, 4, higher_is_better=True, subset="cat")
    assert (found.name, found.value, found.n, found.subset) == ("Accuracy", 0.75, 4, "cat")
    assert found.interval == tuple(wilson_interval(3, 4))
    assert found.higher_is_better


def test_the_calibration_error_lies_inside_its_interval() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.3, 1, 400)
    correct = rng.random(400) < confidence - 0.2
    found = calibration_metric(confidence, correct)
    assert found.name == ECE == "ECE (15 equal-width bins)"
    assert found.value == pytest.approx(expected_calibration_error(confidence, correct, 15))
    assert found.interval is not None
    assert found.value is not None
    assert 0 <= found.interval[0] < found.value < found.interval[1] <= 1
