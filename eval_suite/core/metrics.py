"""How tasks make their metrics: what is measured, under which identity, with which interval (numpy only)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.calibration import bin_of, expected_calibration_error
from eval_suite.core.records import Curve, Metric, Param, Params, metric_id
from eval_suite.core.statistics import Interval, bootstrap_mean, bootstrap_normal, wilson_interval

CALIBRATION_BINS = 15
OVER_ITEMS = "percentile bootstrap over items"
_ALL = Interval(-np.inf, np.inf)


@dataclass(frozen=True)
class MetricKind:
    """What is measured under one key.

    Attributes:
        key: identity, in snake case; with the params of a metric it tells one number from another.
        title: the display name: a format over the params, or a function of them.
        higher_is_better: whether a larger value is better.
        unit: of the value; a fraction is from 0 to 1 and shown in percent.

    Example:
        >>> MetricKind("top1_loc", "Top-1 Loc (σ={sigma:g})").name({"sigma": 0.15})
        'Top-1 Loc (σ=0.15)'
    """

    key: str
    title: str | Callable[..., str]
    higher_is_better: bool = True
    unit: str = "fraction"

    def name(self, params: Params) -> str:
        """The display name for these params: the one place where it is made.

        ``outputs``, which any metric may have, is the number of a classifier's outputs that were let answer.
        """
        own = {key: value for key, value in params.items() if key != "outputs"}
        title = self.title.format(**own) if isinstance(self.title, str) else self.title(**own)
        return f"{title}, among {params['outputs']} outputs" if "outputs" in params else title

    def id(self, **params: Param) -> str:
        """The identity with these params; see `metric_id`."""
        return metric_id(self.key, params)


TOP1_ERROR = MetricKind("top1_error", "Top-1 error", higher_is_better=False)
TOP5_ERROR = MetricKind("top5_error", "Top-5 error", higher_is_better=False)
ECE = MetricKind("ece", "ECE ({bins} equal-width bins)", higher_is_better=False)
FEW_CLASSES = "there are no more than five classes"


class Bounds(NamedTuple):
    """What a metric says of its uncertainty: an interval and how it was found, or the reason why there is none."""

    interval: Interval | None = None
    method: str | None = None
    reason: str | None = None


def bounds(found: Interval, method: str) -> Bounds:
    """A bootstrap's interval, or none where no resample differs: that the items agree is no proof."""
    if found.degenerate:
        return Bounds(reason="every resample of the items gives the same value")
    return Bounds(found, method)


def rate_bounds(found: Interval, method: str, value: float, n: int) -> Bounds:
    """A bootstrap's interval of a mean of n outcomes in [0, 1], or Wilson's where no resample differs.

    No hit among n items leaves room for some among others. Of all outcomes with a given mean, successes and failures
    spread most, so the interval of a share is on the safe side.
    """
    if found.degenerate:
        return Bounds(wilson_interval(value * n, n), f"Wilson score of {n} items, as no resample differs")
    return Bounds(found, method)


@dataclass
class MetricSet:
    """What scoring finds, in reading order.

    Attributes:
        metrics: the numbers.
        curves: the lines to draw.
        outcomes: by `Metric.id`, (n,) per-item values whose mean is the metric over all items; paired comparisons
            between backbones are made from them.
        resampled: by `Metric.id`, (resamples,) values of a metric that is no mean over items, on bootstrap samples that
            consist of the same items for every backbone; paired comparisons too are made from them.
        shared: params that every metric has besides its own.
    """

    metrics: list[Metric] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    outcomes: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    resampled: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    shared: Params = field(default_factory=dict)

    def add(
        self,
        kind: MetricKind,
        value: float | None,
        n: int,
        params: Params | None = None,
        *,
        subset: str | None = None,
        uncertainty: Bounds = Bounds(),  # noqa: B008 - immutable
        outcome: NDArray[np.floating] | None = None,
        resampled: NDArray[np.floating] | None = None,
    ) -> None:
        """A value of n items with its uncertainty, and its per-item outcomes where it is their mean, or its bootstrap values."""
        own = {**(params or {}), **self.shared}
        self.metrics.append(
            Metric(
                key=kind.key,
                params=own,
                name=kind.name(own),
                value=value,
                unit=kind.unit,
                higher_is_better=kind.higher_is_better,
                n=n,
                subset=subset,
                **uncertainty._asdict(),
            )
        )
        if outcome is not None:
            self.outcomes[metric_id(kind.key, own)] = np.asarray(outcome, np.float64)
        if resampled is not None:
            self.resampled[metric_id(kind.key, own)] = np.asarray(resampled, np.float32)

    def missing(
        self,
        kind: MetricKind,
        n: int,
        reason: str,
        params: Params | None = None,
        *,
        subset: str | None = None,
    ) -> None:
        """A metric without a value, and why."""
        self.add(kind, None, n, params, subset=subset, uncertainty=Bounds(reason=reason))

    def share(
        self,
        kind: MetricKind,
        hits: NDArray[np.bool_],
        params: Params | None = None,
        *,
        subset: str | None = None,
        note: str = "",
    ) -> None:
        """The share of items (n,) that hit, with Wilson's interval; an outcome too unless it is of a subset."""
        count, n = int(hits.sum()), len(hits)
        method = "Wilson score" + (f"; {note}" if note else "")
        uncertainty = Bounds(wilson_interval(count, n), method)
        outcome = None if subset else hits.astype(np.float64)
        self.add(
            kind,
            count / n,
            n,
            params,
            subset=subset,
            uncertainty=uncertainty,
            outcome=outcome,
        )

    def mean(
        self,
        kind: MetricKind,
        values: NDArray[np.floating],
        params: Params | None = None,
        *,
        within: Interval = _ALL,
        method: str = OVER_ITEMS,
        subset: str | None = None,
    ) -> None:
        """The mean of (n,) values, bootstrapped over items; an outcome too unless it is of a subset."""
        found = bootstrap_mean(values)
        uncertainty = bounds(Interval(max(within.low, found.low), min(within.high, found.high)), method)
        outcome = None if subset else values
        self.add(
            kind,
            float(values.mean()),
            len(values),
            params,
            subset=subset,
            uncertainty=uncertainty,
            outcome=outcome,
        )

    def mean_rate(
        self,
        kind: MetricKind,
        values: NDArray[np.floating],
        params: Params | None = None,
        *,
        outcome: NDArray[np.floating] | None,
        before: str = "",
        after: str = "",
        subset: str | None = None,
    ) -> None:
        """The mean of (n,) values in [0, 1], bootstrapped.

        Args:
            kind: what is measured.
            values: what is averaged.
            params: of the metric.
            outcome: per-item values with the same mean; None where items own different numbers of values.
            before: what stands before the interval's method.
            after: what stands behind it.
            subset: the items, when they are not all.
        """
        value = float(values.mean())
        found = rate_bounds(bootstrap_mean(values), OVER_ITEMS, value, len(values))
        method = "; ".join(filter(None, (before, found.method, after)))
        uncertainty = found._replace(method=method)
        self.add(
            kind,
            value,
            len(values),
            params,
            subset=subset,
            uncertainty=uncertainty,
            outcome=None if subset else outcome,
        )

    def top_errors(self, wrong1: NDArray[np.bool_], wrong5: NDArray[np.bool_] | None) -> None:
        """Top-1 and top-5 error from (n,) mistakes; without ``wrong5`` there are too few classes for it."""
        self.share(TOP1_ERROR, wrong1)
        if wrong5 is None:
            self.missing(TOP5_ERROR, len(wrong1), FEW_CLASSES)
        else:
            self.share(TOP5_ERROR, wrong5)

    def calibration(
        self, confidence: NDArray[np.floating], correct: NDArray[np.bool_], kind: MetricKind = ECE
    ) -> None:
        """The expected calibration error of (n,) confidences in [0, 1] and whether each item is correct (n,)."""
        placed = bin_of(confidence, CALIBRATION_BINS)

        def error(chosen: NDArray[np.intp]) -> float:
            return expected_calibration_error(
                confidence[chosen], correct[chosen], CALIBRATION_BINS, placed[chosen]
            )

        n = len(correct)
        uncertainty = bounds(
            bootstrap_normal(error, n, bounds=Interval(0.0, 1.0)),
            "normal approximation with the bootstrap's standard error",
        )
        self.add(kind, error(np.arange(n)), n, {"bins": CALIBRATION_BINS}, uncertainty=uncertainty)

    def control(self, kind: MetricKind, values: Mapping[str, float]) -> None:
        """Note what trivial methods reach, by name, with every metric of a kind over all items."""
        for metric in self.metrics:
            if metric.key == kind.key and metric.subset is None and metric.value is not None:
                metric.controls.update(values)

    def control_by(self, name: str, others: "MetricSet") -> None:
        """Note with every metric what a trivial method reaches in the same one, where it has a value."""
        reached = {(other.id, other.subset): other.value for other in others.metrics}
        for metric in self.metrics:
            value = reached.get((metric.id, metric.subset))
            if value is not None and metric.value is not None:
                metric.controls[name] = value

    def extend(self, other: "MetricSet") -> None:
        """Append what another set holds."""
        self.metrics += other.metrics
        self.curves += other.curves
        self.outcomes |= other.outcomes
        self.resampled |= other.resampled
