"""From logits and labels to the metrics of classification."""

import re
from pathlib import Path
from typing import NamedTuple

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
from eval_suite.core.errors import InputError
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
from eval_suite.core.predictions import About
from eval_suite.core.records import Curve, Example, Params
from eval_suite.core.statistics import (
    Interval,
    bootstrap_mean,
    bootstrap_normal,
    bootstrap_values,
    normal_interval,
    topk_correct,
    wilson_interval,
)
from eval_suite.data.class_order import read_class_names
from eval_suite.data.imagenet_names import real_labels, synsets
from eval_suite.data.pictures import never_failing
from eval_suite.data.truth import true_labels
from eval_suite.tasks.base import Score, TaskOptions
from eval_suite.tasks.classify.conformal import METHODS, prediction_sets
from eval_suite.tasks.classify.examples import examples
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
    REAL_ERROR,
    RISK_AT_COVERAGE,
    SCALED_BRIER,
    SCALED_ECE,
    SCALED_NLL,
    SELECTIVE_RISK,
    per_class_correct,
)
from eval_suite.tasks.classify.options import ClassifyOptions, ScoredLogits
from eval_suite.tasks.classify.predictions import Predictions, are_probabilities, read_predictions
from eval_suite.tasks.order_doubts import order_doubts

_ITEMS_TO_DRAW = 10
_IMAGENET_CLASSES = 1000
_CURVE_POINTS = 100
# The logarithm that stands for that of probability 0.
_OF_ZERO = np.float32(np.log(np.finfo(np.float32).tiny))
_ALPHA: float = ClassifyOptions.model_fields["conformal_alpha"].default


def score(predictions: Path, options: TaskOptions | None, truth: str | None, folder: Path | None) -> Score:
    """Metrics of a predictions file; ``truth`` (KIND:PATH) gives the labels where the file has none.

    Where only some outputs stand for classes of the data, every metric is computed among those and among all.

    Raises:
        InputError: if there are no labels, or they do not fit the predictions.
    """
    read = read_predictions(predictions)
    known = _truth(read, predictions, truth, options)
    labels, classes, warnings = known.labels, known.classes, [*known.assumptions]
    alpha = options.conformal_alpha if isinstance(options, ClassifyOptions) else _ALPHA
    impossible = 0
    if read.logits is not None:
        zeros = np.isneginf(read.logits[np.arange(len(labels)), labels])
        impossible = int(zeros.sum())
        # Finite, so that among outputs which are all 0 each is equally probable.
        read = read._replace(logits=np.where(np.isneginf(read.logits), _OF_ZERO, read.logits))
    among = read.chosen
    if read.logits is None:
        metrics = _without_logits(among, labels, classes)
    elif known.subset is None:
        metrics = metrics_of(read.logits, labels, classes, impossible=impossible)
        _scaled(metrics, read.logits, labels, read, impossible)
        _conformal(metrics, read.logits, labels, read, alpha)
    else:
        place = np.full(len(classes), -1)
        place[known.subset] = np.arange(len(known.subset))
        own = read.logits[:, known.subset]
        metrics = metrics_of(
            own,
            place[labels],
            [classes[i] for i in known.subset],
            {"outputs": own.shape[1]},
            impossible=impossible,
        )
        _scaled(metrics, own, place[labels], read, impossible)
        _conformal(metrics, own, place[labels], read, alpha)
        among_all: Params = {"outputs": len(classes)}
        metrics.extend(metrics_of(read.logits, labels, classes, among_all, impossible=impossible))
        among = known.subset[own.argmax(axis=1)]
    _real_error(metrics, known.ids, read.chosen, classes)
    shown: list[Example] = []
    if read.logits is not None:
        confidence, correct, *_ = item_measures(read.logits, labels)
        metrics.curves += [_reliability_curve(confidence, correct), _risk_curve(confidence, correct)]
        with never_failing("classify"):
            shown = examples(folder, known.ids, labels, read.chosen, confidence, classes) if folder else []
        if are_probabilities(read.logits):
            warnings.append(
                "the logits are numbers in [0, 1] with sum 1, as probabilities are; NLL and ECE are then wrong"
            )
    if impossible:
        first = f", first '{known.ids[int(zeros.argmax())]}'" if known.ids else ""
        warnings.append(f"{_infinite(impossible, len(labels))}{first}")
    return Score(
        metrics,
        known.about.info(len(labels)),
        examples=shown,
        ids=known.ids,
        warnings=[*order_doubts(among, labels, classes), *warnings],
    )


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
        metrics.missing(kind, len(nll), _infinite(impossible, len(nll)))
    else:
        metrics.mean(kind, nll, method=how)


def _infinite(impossible: int, n: int) -> str:
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


def _scaled(
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
    own.curves.append(_reliability_curve(measures.confidence, measures.correct, title))
    metrics.extend(own)


def _conformal(
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


def _without_logits(predicted: NDArray[np.int64], labels: NDArray[np.int64], classes: list[str]) -> MetricSet:
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


def _real_error(metrics: MetricSet, ids: list[str], chosen: NDArray[np.int64], classes: list[str]) -> None:
    """The error by ReaL's labels, where the items are images of ImageNet's validation set."""
    numbers = [int(number[1]) for item in ids if (number := re.search(r"ILSVRC2012_val_(\d{8})", item))]
    if not ids or len(numbers) != len(ids) or tuple(classes) != synsets(_IMAGENET_CLASSES):
        return
    accepted = [real_labels()[number - 1] for number in numbers]
    wrong = np.array([output not in those for output, those in zip(chosen, accepted, strict=True) if those])
    if len(wrong):
        interval = wilson_interval(int(wrong.sum()), len(wrong))
        metrics.add(REAL_ERROR, float(wrong.mean()), len(wrong), uncertainty=Bounds(interval, "Wilson score"))


class _Truth(NamedTuple):
    """Labels (n,) as outputs, ids, names of all outputs, those (k,) that the data has where it lacks some, and the rest."""

    labels: NDArray[np.int64]
    ids: list[str]
    classes: list[str]
    subset: NDArray[np.int64] | None
    about: About
    assumptions: list[str]


def _truth(read: Predictions, path: Path, truth: str | None, options: TaskOptions | None) -> _Truth:
    named = options if isinstance(options, ScoredLogits) else None
    names, order = read.classes, named.class_order if named else None
    if named and named.classes is not None:
        names = read_class_names(named.classes.expanduser())
        read = read._replace(classes=names)
    elif order is not None and names:
        raise InputError(
            expected=f"no class order for {path}, which names its outputs",
            found=f"'{order}'",
            remedy="leave it out",
        )
    outputs = len(read.classes) if read.logits is None else read.logits.shape[1]
    if read.logits is not None and read.classes and len(read.classes) != outputs:
        raise InputError(
            expected=f"{outputs} names in 'classes', one for each column of the logits",
            where=path,
            found=str(len(read.classes)),
        )
    if truth is not None:
        given = true_labels(
            truth,
            options.split if options else None,
            ids=read.ids,
            items=len(read.chosen),
            about=read.about,
            path=path,
            labels=read.labels,
            outputs=outputs,
            names=names,
            order=order,
            natural="--class-order natural",
        )
        match = given.match
        known = _Truth(given.labels, given.ids, match.names, match.subset, given.about, given.assumptions)
    elif read.labels is not None:
        outputs = outputs or int(max(read.labels.max(), read.chosen.max(), 0)) + 1
        names = read.classes or [str(output) for output in range(outputs)]
        known = _Truth(read.labels, read.ids, names, read.subset, read.about, [])
    else:
        raise InputError(f"{path} holds no labels; give the ground truth as --truth KIND:PATH")
    for name, values in (("labels", known.labels), ("predicted", read.chosen)):
        if values.min() < 0 or values.max() >= len(known.classes):
            raise InputError(
                expected=f"numbers in 0..{len(known.classes) - 1} as '{name}'",
                where=path,
                found=f"{values.min()}..{values.max()}",
            )
    if known.subset is not None and not np.isin(known.labels, known.subset).all():
        raise InputError(expected="labels among the outputs in 'subset'", where=path, found="others too")
    return known


def _risk_curve(confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> Curve:
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


def _reliability_curve(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], name: str = "Reliability diagram"
) -> Curve:
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
