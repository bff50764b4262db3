"""Metrics in the form several tasks report them, interval and method included (numpy only)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.calibration import expected_calibration_error
from eval_suite.core.records import Metric
from eval_suite.core.statistics import Interval, bootstrap_normal, wilson_interval

CALIBRATION_BINS = 15
ECE = f"ECE ({CALIBRATION_BINS} equal-width bins)"


class Bounds(NamedTuple):
    """What a metric says of its uncertainty: an interval and how it was found, or the reason why there is none."""

    interval: Interval | None
    method: str | None
    reason: str | None = None


def bounds(found: Interval, method: str) -> Bounds:
    """A bootstrap's interval, or none where no resample differs: that the items agree is no proof."""
    if found.degenerate:
        return Bounds(None, None, "every resample of the items gives the same value")
    return Bounds(found, method)


def rate_bounds(found: Interval, method: str, value: float, n: int) -> Bounds:
    """A bootstrap's interval of a mean of n outcomes in [0, 1], or Wilson's where no resample differs.

    No hit among n items leaves room for some among others. Of all outcomes with a given mean, successes and failures
    spread most, so the interval of a share is on the safe side.
    """
    if found.degenerate:
        return Bounds(wilson_interval(value * n, n), f"Wilson score of {n} items, as no resample differs")
    return Bounds(found, method)


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
        **bounds(
            bootstrap_normal(error, n, bounds=Interval(0.0, 1.0)),
            "normal approximation with the bootstrap's standard error",
        )._asdict(),
    )
