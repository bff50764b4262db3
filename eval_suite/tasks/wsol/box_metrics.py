"""What the record says of boxes: localisation accuracies at the fixed and at the best threshold, MaxBoxAcc and V2."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.metrics import rate_bounds
from eval_suite.core.records import Curve, Metric
from eval_suite.core.statistics import bootstrap_mean, wilson_interval
from eval_suite.tasks.wsol.metrics import BoxFits, accuracy_curve, best_threshold, correct_at

_DRAWN = 200
_CHOSEN = "chosen on the same images"


class Scored(NamedTuple):
    """Metrics, the curves behind them, and their (n,) per-item values by metric name."""

    metrics: list[Metric]
    curves: list[Curve]
    outcomes: dict[str, NDArray[np.float64]]


class Classified(NamedTuple):
    """Whether each of n items is classified correctly at top 1 and at top 5; None with the ``reason`` why that is unknown."""

    top1: NDArray[np.bool_] | None
    top5: NDArray[np.bool_] | None
    reason1: str = ""
    reason5: str = ""


def box_metrics(
    fits: BoxFits,
    classified: Classified,
    *,
    sigma: float,
    thresholds: NDArray[np.float64],
    ious: tuple[float, ...],
    unknown: str = "",
) -> Scored:
    """Every metric of boxes.

    Localisation (``Loc``): the box around the largest connected region has IoU >= 0.5 with a ground-truth box, in
    pixels with the +1 convention, on the 8-bit map above int(σ * maximum); ``Top-k Loc`` asks besides for the label among
    the k best classes, ``GT-known Loc`` does not. ``MaxBoxAcc`` is the best GT-known accuracy over thresholds;
    ``MaxBoxAccV2`` looks at the boxes of all regions, and averages the best accuracy at each IoU.

    Args:
        fits: box correctness at every level.
        classified: correctness of the class.
        sigma: the fixed threshold.
        thresholds: (t,) those the best is chosen from.
        ious: those of ``fits.every``.
        unknown: why the metrics that take the true class for known have no value, e.g. because the maps are the
            predicted class's.

    Reference: Zhou et al., CVPR 2016 (Loc); Choe et al., CVPR 2020 and TPAMI 2022 (MaxBoxAcc, V2).
    """
    found = _Collected(len(fits.peaks))
    named = [
        ("Top-1 Loc", classified.top1, classified.reason1),
        ("Top-5 Loc", classified.top5, classified.reason5 or unknown),
        ("GT-known Loc", np.ones(len(fits.peaks), np.bool_), unknown),
    ]
    for name, right, reason in named:
        if right is None or reason:
            found.missing(f"{name} (σ={sigma:g})", reason)
        else:
            found.share(f"{name} (σ={sigma:g})", correct_at(fits.largest, fits.peaks, sigma) & right)
    for name, right, reason in named:
        if right is None or reason:
            found.missing(f"{name} (best σ)", reason)
        else:
            correct = fits.largest & right[:, None]
            best = best_threshold(correct, fits.peaks, thresholds)
            found.share(f"{name} (best σ)", best.correct, f"σ={best.threshold:.3f} {_CHOSEN}")
            curve = accuracy_curve(correct, fits.peaks, thresholds)
            found.curve(f"{name} over σ", thresholds, curve)
    _max_box_acc(found, fits, thresholds, ious, unknown)
    return Scored(found.metrics, found.curves, found.outcomes)


def _max_box_acc(
    found: "_Collected",
    fits: BoxFits,
    thresholds: NDArray[np.float64],
    ious: tuple[float, ...],
    unknown: str,
) -> None:
    percents = [f"{100 * iou:g}" for iou in ious]
    mean = f"MaxBoxAccV2 (IoU {'/'.join(percents)})"
    each = [f"MaxBoxAccV2 (IoU {percent})" for percent in percents]
    if unknown:
        for name in ("MaxBoxAcc", mean, *each):
            found.missing(name, unknown)
        return
    best = best_threshold(fits.largest, fits.peaks, thresholds)
    found.share("MaxBoxAcc", best.correct, f"σ={best.threshold:.3f} {_CHOSEN}")
    every = [best_threshold(fits.every[:, :, i], fits.peaks, thresholds) for i in range(len(ious))]
    outcome = np.mean([one.correct for one in every], axis=0)
    sigmas = ", ".join(f"{one.threshold:.3f}" for one in every)
    uncertain = rate_bounds(
        bootstrap_mean(outcome), "percentile bootstrap over items", float(outcome.mean()), found.items
    )
    found.add(mean, outcome, uncertain.interval, f"{uncertain.method}; σ={sigmas} {_CHOSEN}")
    for i, (name, one) in enumerate(zip(each, every, strict=True)):
        if len(ious) > 1:
            found.share(name, one.correct, f"σ={one.threshold:.3f} {_CHOSEN}")
        curve = accuracy_curve(fits.every[:, :, i], fits.peaks, thresholds)
        found.curve(f"{name} over σ", thresholds, curve)


class _Collected:
    def __init__(self, items: int) -> None:
        self.items = items
        self.metrics: list[Metric] = []
        self.curves: list[Curve] = []
        self.outcomes: dict[str, NDArray[np.float64]] = {}

    def share(self, name: str, correct: NDArray[np.bool_], note: str = "") -> None:
        interval = wilson_interval(int(correct.sum()), len(correct))
        self.add(name, correct.astype(np.float64), interval, "Wilson score" + (f"; {note}" if note else ""))

    def add(
        self, name: str, outcome: NDArray[np.float64], interval: tuple[float, float] | None, method: str
    ) -> None:
        self.outcomes[name] = outcome
        self.metrics.append(
            Metric(
                name=name,
                value=float(outcome.mean()),
                higher_is_better=True,
                n=self.items,
                interval=interval,
                method=method,
            )
        )

    def missing(self, name: str, reason: str) -> None:
        self.metrics.append(Metric(name=name, value=None, higher_is_better=True, n=self.items, reason=reason))

    def curve(self, name: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
        step = max(1, len(x) // _DRAWN)
        self.curves.append(
            Curve(
                name=name,
                x=x[::step].tolist(),
                y=list(y[::step].tolist()),
                x_label="threshold σ, share of the map's maximum",
                y_label="accuracy",
            )
        )
