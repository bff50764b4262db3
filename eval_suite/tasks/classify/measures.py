"""What logits and labels measure: errors, likelihood, calibration, prediction sets, and the accuracy on each class."""

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.calibration import (
    ItemMeasures,
    classwise_calibration_error,
    equal_mass_calibration_error,
    item_measures,
    items_covered,
    log_probabilities,
    ranks,
    reliability,
    risks,
)
from eval_suite.core.controls import guessing
from eval_suite.core.metrics import (
    CALIBRATION_BINS,
    ECE,
    OVER_ITEMS,
    TOP1_ERROR,
    TOP5_ERROR,
    Bounds,
    MetricKind,
    MetricSet,
    bounds,
    rate_bounds,
)
from eval_suite.core.records import Curve, Params
from eval_suite.core.statistics import (
    Interval,
    bootstrap_mean,
    bootstrap_normal,
    bootstrap_values,
    normal_interval,
    topk_correct,
    wilson_interval,
)
from eval_suite.tasks.classify.conformal import METHODS, prediction_sets
from eval_suite.tasks.classify.metrics import (
    AURC,
    BRIER,
    CLASS_ACCURACY,
    CONFORMAL_COVERAGE,
    CONFORMAL_SIZE,
    COVERAGES,
    ECE_CLASSWISE,
    ECE_EQUAL_MASS,
    MEAN_CLASS_ACCURACY,
    NLL,
    RISK_AT_COVERAGE,
    SCALED_BRIER,
    SCALED_ECE,
    SCALED_NLL,
    SELECTIVE_RISK,
    per_class_correct,
)
from eval_suite.tasks.classify.predictions import Predictions

_ITEMS_TO_DRAW = 10
_CURVE_POINTS = 100


def metrics_of(
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: list[str],
    params: Params | None = None,
    *,
    impossible: int = 0,
) -> MetricSet:
    """Errors, likelihood, calibration, and the accuracy on each class.

    Args:
        logits: (n, classes).
        labels: (n,) class indices.
        classes: names of the classes.
        params: of every metric.
        impossible: how many items have probability 0 for their label, which makes the likelihood's mean infinite.
    """
    metrics = MetricSet(shared=params or {})
    right = topk_correct(logits, labels, 1)
    metrics.top_errors(~right, None if logits.shape[1] <= 5 else ~topk_correct(logits, labels, 5))
    measures = item_measures(logits, labels)
    _likelihood(metrics, NLL, measures.nll, impossible)
    metrics.calibration(measures.confidence, measures.correct)
    _controls(metrics, labels, logits.shape[1])
    # Counted as the top-1 error is, where ties count against the model.
    _per_class(metrics, right, labels, classes)
    _further_calibration(metrics, logits, labels, measures)
    return metrics


def _likelihood(
    metrics: MetricSet, kind: MetricKind, nll: NDArray[np.float64], impossible: int, how: str = OVER_ITEMS
) -> None:
    if impossible:
        metrics.missing(kind, len(nll), infinite(impossible, len(nll)))
    else:
        metrics.mean(kind, nll, method=how)


def infinite(impossible: int, n: int) -> str:
    """Why there is no mean likelihood: so many of n items have probability 0 for their label."""
    return f"the NLL is infinite: {impossible:,} of {n:,} items have probability 0 for their label"


def _further_calibration(
    metrics: MetricSet, logits: NDArray[np.float32], labels: NDArray[np.int64], each: ItemMeasures
) -> None:
    """The calibration error in other bins, the Brier score, and what is left of the error among confident items."""
    confidence, correct, ranked = each.confidence, each.correct, ranks(each.confidence)
    n, bins, every = len(labels), {"bins": CALIBRATION_BINS}, np.arange(len(labels))
    within, method = Interval(0.0, 1.0), "normal approximation with the bootstrap's standard error"

    def equal_mass(chosen: NDArray[np.intp]) -> float:
        return equal_mass_calibration_error(confidence[chosen], correct[chosen], ranked=ranked[chosen])

    uncertainty = bounds(bootstrap_normal(equal_mass, n, bounds=within), method)
    metrics.add(ECE_EQUAL_MASS, equal_mass(every), n, bins, uncertainty=uncertainty)
    accepted = [items_covered(n, coverage) for coverage in COVERAGES]

    def selective(chosen: NDArray[np.intp]) -> NDArray[np.float64]:
        found = risks(confidence[chosen], correct[chosen], ranked[chosen])
        return np.array([found.mean(), *(found[k - 1] for k in accepted)])

    (area, *errors), resampled = selective(every), bootstrap_values(selective, n).T
    interval = normal_interval(area, resampled[0], bounds=within)
    metrics.add(AURC, float(area), n, uncertainty=bounds(interval, method), resampled=resampled[0])
    for coverage, k, risk, drawn in zip(COVERAGES, accepted, errors, resampled[1:], strict=True):
        uncertainty = Bounds(wilson_interval(min(risk * k, k), k), "Wilson score, of the accepted items")
        at = {"coverage": coverage}
        metrics.add(RISK_AT_COVERAGE, float(risk), n, at, uncertainty=uncertainty, resampled=drawn)
    blocks = ((np.exp(found), labels[items]) for items, found in log_probabilities(logits))
    metrics.add(
        ECE_CLASSWISE,
        classwise_calibration_error(blocks, logits.shape[1], CALIBRATION_BINS),
        n,
        bins,
        uncertainty=Bounds(reason="resampling every class would take too long"),
    )
    metrics.mean(BRIER, each.brier)


def scaled(
    metrics: MetricSet,
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    read: Predictions,
    impossible: int,
) -> None:
    """What a temperature, chosen on other items, makes of the likelihood and of calibration."""
    if read.temperature is None:
        return
    measures = item_measures(logits, labels, float(read.temperature))
    how = "; ".join((OVER_ITEMS, *read.temperature_from))
    own = MetricSet(shared=metrics.shared)
    _likelihood(own, SCALED_NLL, measures.nll, impossible, how)
    own.calibration(measures.confidence, measures.correct, SCALED_ECE)
    own.mean(SCALED_BRIER, measures.brier, method=how)
    title = "Reliability diagram, temperature-scaled"
    own.curves.append(reliability_curve(measures.confidence, measures.correct, title))
    metrics.extend(own)


def conformal(
    metrics: MetricSet,
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    read: Predictions,
    alpha: float,
) -> None:
    """How large sets of classes have to be so that they hold the label, by other items; temperature-scaled where it is known."""
    if read.calibration_logits is None or read.calibration_labels is None:
        return
    temperature = 1.0 if read.temperature is None else float(read.temperature)
    note = f"threshold from {len(read.calibration_labels):,} other items" + (
        "" if read.temperature is None else ", temperature-scaled"
    )
    own = MetricSet(shared=metrics.shared)
    for method in METHODS:
        of_others, probabilities = (
            (np.exp(found) for _items, found in log_probabilities(given, temperature))
            for given in (read.calibration_logits, logits)
        )
        found = prediction_sets(
            of_others, read.calibration_labels, probabilities, labels, method=method, alpha=alpha
        )
        params: Params = {"method": method, "alpha": alpha}
        own.share(CONFORMAL_COVERAGE, found.covered, params, note=note)
        own.mean(CONFORMAL_SIZE, found.sizes.astype(np.float64), params, method=f"{OVER_ITEMS}; {note}")
    metrics.extend(own)


def _controls(metrics: MetricSet, labels: NDArray[np.int64], classes: int) -> None:
    metrics.control(TOP1_ERROR, guessing(labels, classes))
    metrics.control(TOP5_ERROR, guessing(labels, classes, 5))


def without_logits(predicted: NDArray[np.int64], labels: NDArray[np.int64], classes: list[str]) -> MetricSet:
    """The errors of predicted classes (n,), of which nothing is known but what they are."""
    metrics, reason = MetricSet(), "the predictions are classes without probabilities"
    metrics.share(TOP1_ERROR, predicted != labels)
    for kind, params in ((TOP5_ERROR, {}), (NLL, {}), (ECE, {"bins": CALIBRATION_BINS})):
        metrics.missing(kind, len(labels), reason, params)
    _controls(metrics, labels, len(classes))
    _per_class(metrics, predicted == labels, labels, classes)
    return metrics


def _per_class(
    metrics: MetricSet, right: NDArray[np.bool_], labels: NDArray[np.int64], classes: list[str]
) -> None:
    counts = per_class_correct(right, labels, len(classes))
    present = counts[:, 1] > 0
    accuracies, n = counts[present, 0] / counts[present, 1], len(labels)
    value = float(accuracies.mean())
    # Each class weighs as much as another, so an item of a rare one more.
    weighted = right * (n / (len(accuracies) * counts[labels, 1]))
    drawn = bootstrap_mean(weighted)
    found = rate_bounds(Interval(max(0.0, drawn.low), min(1.0, drawn.high)), OVER_ITEMS, value, n)
    method = f"mean over the {len(accuracies)} classes with items; {found.method}"
    uncertainty = found._replace(method=method)
    metrics.add(MEAN_CLASS_ACCURACY, value, n, uncertainty=uncertainty, outcome=weighted)
    for label in np.flatnonzero(present):
        metrics.share(CLASS_ACCURACY, right[labels == label], subset=classes[label])


def risk_curve(confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> Curve:
    """The error among the most confident items, over their share."""
    selective = risks(confidence, correct)
    n = len(selective)
    places = np.unique([items_covered(n, share) for share in np.arange(1, _CURVE_POINTS + 1) / _CURVE_POINTS])
    # The first few items say 0 or 1.
    places = places[places >= min(_ITEMS_TO_DRAW, n)]
    return Curve(
        name=SELECTIVE_RISK,
        x=[float(place) / n for place in places],
        y=[float(selective[place - 1]) for place in places],
        x_label="coverage",
        y_label="error of the most confident images, %",
    )


def reliability_curve(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], name: str = "Reliability diagram"
) -> Curve:
    """The accuracy over the confidence, bin by bin."""
    bins = reliability(confidence, correct, CALIBRATION_BINS)
    centres = (np.arange(CALIBRATION_BINS) + 0.5) / CALIBRATION_BINS
    # A bin of one or two items says 0 or 1; drawn, it would make the most confident network look the worst.
    filled = bins.items >= max(1, min(_ITEMS_TO_DRAW, len(correct) // 100))
    return Curve(
        name=name,
        x=[float(x) for x in np.where(filled, bins.confidence, centres)],
        y=[float(y) if full else None for y, full in zip(bins.accuracy, filled, strict=True)],
        x_label="confidence",
        y_label="accuracy",
    )
