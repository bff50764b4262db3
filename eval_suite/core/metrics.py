"""Metrics in the form several tasks report them, interval and method included (numpy only)."""

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.calibration import expected_calibration_error
from eval_suite.core.records import Metric
from eval_suite.core.statistics import Interval, bootstrap_normal, wilson_interval

CALIBRATION_BINS = 15
ECE = f"ECE ({CALIBRATION_BINS} equal-width bins)"


def share_metric(
    name: str, count: int, n: int, *, higher_is_better: bool, subset: str | None = None
) -> Metric:
    """A share of items, ``count`` of ``n``, with Wilson's interval."""
    return Metric(
        name=name,
        value=count / n,
        higher_is_better=higher_is_better,
        n=n,
        interval=wilson_interval(count, n),
        method="Wilson score",
        subset=subset,
    )


def calibration_metric(confidence: NDArray[np.floating], correct: NDArray[np.bool_]) -> Metric:
    """The expected calibration error of (n,) confidences in [0, 1] and whether each item is correct (n,)."""

    def error(chosen: NDArray[np.intp]) -> float:
        return expected_calibration_error(confidence[chosen], correct[chosen], CALIBRATION_BINS)

    n = len(correct)
    return Metric(
        name=ECE,
        value=error(np.arange(n)),
        higher_is_better=False,
        n=n,
        interval=bootstrap_normal(error, n, bounds=Interval(0.0, 1.0)),
        method="normal approximation with the bootstrap's standard error",
    )
