"""What the record says of boxes: localisation accuracies at the fixed and at the best threshold, MaxBoxAcc and V2."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.metrics import MetricKind, MetricSet
from eval_suite.core.records import Curve, Params
from eval_suite.tasks.wsol.box_accuracy import BoxFits, accuracy_curve, best_threshold, correct_at
from eval_suite.tasks.wsol.metrics import BEST, GT_KNOWN_LOC, MAX_BOX_ACC, MAX_BOX_ACC_V2, TOP1_LOC, TOP5_LOC

_DRAWN = 200
_CHOSEN = "chosen on the same images"


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
    among: Params | None = None,
) -> MetricSet:
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
        among: params of the metrics that ask for the class.

    Reference: Zhou et al., CVPR 2016 (Loc); Choe et al., CVPR 2020 and TPAMI 2022 (MaxBoxAcc, V2).
    """
    found, n = MetricSet(), len(fits.peaks)
    named: list[tuple[MetricKind, NDArray[np.bool_] | None, str, Params]] = [
        (TOP1_LOC, classified.top1, classified.reason1, among or {}),
        (TOP5_LOC, classified.top5, classified.reason5 or unknown, among or {}),
        (GT_KNOWN_LOC, np.ones(n, np.bool_), unknown, {}),
    ]
    for kind, right, reason, own in named:
        params = {"sigma": sigma, **own}
        if right is None or reason:
            found.missing(kind, n, reason, params)
        else:
            found.share(kind, correct_at(fits.largest, fits.peaks, sigma) & right, params)
    for kind, right, reason, own in named:
        params = {"sigma": BEST, **own}
        if right is None or reason:
            found.missing(kind, n, reason, params)
            continue
        correct = fits.largest & right[:, None]
        best = best_threshold(correct, fits.peaks, thresholds)
        found.share(kind, best.correct, params, note=f"σ={best.threshold:.3f} {_CHOSEN}")
        title = kind.name({"sigma": BEST}).removesuffix(" (best σ)")
        found.curves.append(_curve(title, thresholds, accuracy_curve(correct, fits.peaks, thresholds)))
    _max_box_acc(found, fits, thresholds, ious, unknown)
    return found


def _max_box_acc(
    found: MetricSet,
    fits: BoxFits,
    thresholds: NDArray[np.float64],
    ious: tuple[float, ...],
    unknown: str,
) -> None:
    percents = [f"{100 * iou:g}" for iou in ious]
    mean = {"iou": "/".join(percents)}
    if unknown:
        for kind, params in (
            (MAX_BOX_ACC, {}),
            (MAX_BOX_ACC_V2, mean),
            *((MAX_BOX_ACC_V2, {"iou": percent}) for percent in percents),
        ):
            found.missing(kind, len(fits.peaks), unknown, params)
        return
    best = best_threshold(fits.largest, fits.peaks, thresholds)
    found.share(MAX_BOX_ACC, best.correct, note=f"σ={best.threshold:.3f} {_CHOSEN}")
    every = [best_threshold(fits.every[:, :, i], fits.peaks, thresholds) for i in range(len(ious))]
    outcome = np.mean([one.correct for one in every], axis=0)
    sigmas = ", ".join(f"{one.threshold:.3f}" for one in every)
    found.mean_rate(MAX_BOX_ACC_V2, outcome, mean, outcome=outcome, after=f"σ={sigmas} {_CHOSEN}")
    for i, (percent, one) in enumerate(zip(percents, every, strict=True)):
        params = {"iou": percent}
        if len(ious) > 1:
            found.share(MAX_BOX_ACC_V2, one.correct, params, note=f"σ={one.threshold:.3f} {_CHOSEN}")
        values = accuracy_curve(fits.every[:, :, i], fits.peaks, thresholds)
        found.curves.append(_curve(MAX_BOX_ACC_V2.name(params), thresholds, values))


def _curve(name: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> Curve:
    step = max(1, len(x) // _DRAWN)
    return Curve(
        name=f"{name} over σ",
        x=x[::step].tolist(),
        y=list(y[::step].tolist()),
        x_label="threshold σ, share of the map's maximum",
        y_label="accuracy",
    )
