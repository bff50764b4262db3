"""What the record says of masks: PxAP with its interval, and the curve behind it."""

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.metrics import MetricSet, bounds
from eval_suite.core.records import Curve
from eval_suite.core.statistics import Interval
from eval_suite.tasks.wsol.metrics import PX_AP
from eval_suite.tasks.wsol.pixels import pixel_average_precision, precision_recall

_DRAWN = 200
_RESAMPLES = 200


def pixel_metrics(histograms: NDArray[np.integer] | None, items: int, reason: str = "") -> MetricSet:
    """PxAP over all pixels of all items.

    Args:
        histograms: (n, 2, bins) of each item, None where there are none for the ``reason``.
        items: n.
        reason: why there is no value.
    """
    if histograms is not None and not histograms[:, 1].any():
        histograms, reason = None, "no pixel of the masks belongs to an object"
    into = MetricSet()
    if histograms is None:
        into.missing(PX_AP, items, reason)
        return into
    total = histograms.sum(axis=0, dtype=np.int64)
    resampled = _resampled(histograms)
    low, high = np.quantile(resampled, [0.025, 0.975])
    method = f"percentile bootstrap over items ({_RESAMPLES} resamples)"
    uncertainty = bounds(Interval(float(low), float(high)), method)
    into.add(
        PX_AP, pixel_average_precision(total), items, uncertainty=uncertainty, resampled=np.array(resampled)
    )
    found = precision_recall(total)
    step = max(1, len(found.recall) // _DRAWN)
    into.curves.append(
        Curve(
            name="Pixel precision and recall",
            x=found.recall[1::step].tolist(),
            y=list(found.precision[1::step].tolist()),
            x_label="recall",
            y_label="precision",
        )
    )
    return into


def _resampled(histograms: NDArray[np.integer]) -> list[float]:
    n, rows, bins = histograms.shape
    rng = np.random.default_rng(0)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=_RESAMPLES).astype(np.float64)
    flat = histograms.reshape(n, rows * bins)
    sums = np.zeros((_RESAMPLES, rows * bins))
    for start in range(0, n, 1024):
        sums += weights[:, start : start + 1024] @ flat[start : start + 1024].astype(np.float64)
    resampled = sums.reshape(_RESAMPLES, rows, bins).astype(np.int64)
    return [pixel_average_precision(each) for each in resampled]
