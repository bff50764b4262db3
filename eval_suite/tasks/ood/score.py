"""From confidences to the metrics of a record: each set, their mean, that without noise and of each group, with intervals."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.calibration import item_measures
from eval_suite.core.controls import CHANCE
from eval_suite.core.errors import InputError
from eval_suite.core.metrics import (
    CALIBRATION_BINS,
    ECE,
    OVER_ITEMS,
    Bounds,
    MetricKind,
    MetricSet,
    bounds,
    rate_bounds,
)
from eval_suite.core.records import Curve, DataInfo, Example, Params
from eval_suite.core.statistics import Interval, bootstrap_mean
from eval_suite.data.pictures import never_failing
from eval_suite.data.truth import true_labels
from eval_suite.tasks.base import Score, TaskOptions
from eval_suite.tasks.ood.examples import examples
from eval_suite.tasks.ood.metrics import (
    ACCURACY,
    AUPR_IN,
    AUPR_OUT,
    AUROC,
    FPR,
    NON_NOISE,
    OOD_CONFIDENCE,
    REFERENCE_AUPR_IN,
    REFERENCE_AUPR_OUT,
    REFERENCE_TNR,
    TNR,
    params_of,
)
from eval_suite.tasks.ood.outcomes import auroc_outcomes, confidence_outcomes, item_ids
from eval_suite.tasks.ood.predictions import FILE_FACTS, Predictions, read_predictions
from eval_suite.tasks.ood.rates import (
    Detection,
    odin_reference_aupr,
    odin_reference_tnr,
    placements,
)
from eval_suite.tasks.ood.resamples import Draws, Measured, measured_on
from eval_suite.tasks.ood.scores import MAX_SOFTMAX
from eval_suite.tasks.order_doubts import order_doubts

FEWEST_KNOWN, FEWEST_OUTLIERS = 20, 5
HISTOGRAM_BINS = 20
KNOWN_HISTOGRAM = "Confidence on in-distribution images"
_FAILED_NAMED = 100
_FIELDS = dict(
    zip([kind.key for kind in (TNR, AUROC, ACCURACY, AUPR_IN, AUPR_OUT, FPR)], Detection._fields, strict=True)
)
_REPORTED = (AUROC, TNR, ACCURACY, AUPR_IN, AUPR_OUT, FPR)


def score(predictions: Path, options: TaskOptions | None, truth: str | None, folder: Path | None) -> Score:
    """Metrics of a predictions file; ``truth`` (KIND:PATH) gives the labels where the file has none.

    Raises:
        InputError: if there are too few items, or the file does not belong to the truth.
    """
    found = read_predictions(predictions)
    first = next(iter(found.scores))
    counts = {name: len(each.scores[first]) for name, each in (found.outliers | found.shifted).items()}
    require_enough(len(found.scores[first]), counts, str(predictions))
    found = _with_truth(found, predictions, truth, options.split if options else None)
    metrics = detection_metrics(found)
    metrics.extend(_over_confidence(found, found.labels))
    metrics.curves += _histograms(found)
    shown: list[Example] = []
    with never_failing("ood"):
        shown = examples(folder, found) if folder else []
    return Score(
        metrics,
        _data(found),
        examples=shown,
        ids=item_ids(found),
        warnings=[*_order_doubts(found), *_unnamed(found), *found.warnings],
    )


def _unnamed(found: Predictions) -> list[str]:
    """A warning of outliers that the next file may hold in another order: without ids nothing tells."""
    sets = [name for name, each in found.outliers.items() if not (each.ids or each.noise)]
    if not (sets and found.ids):
        return []
    return [
        f"the items of {', '.join(sets)} have no ids, so comparisons pair them by their place in the file; add outliers/{sets[0]}/ids"
    ]


def _order_doubts(found: Predictions) -> list[str]:
    if found.labels is None or found.logits is None:
        return []
    return order_doubts(found.logits.argmax(axis=1), found.labels, found.classes)


def require_enough(known: int, outliers: dict[str, int], where: str) -> None:
    """Check that there are enough items to tell rates from.

    Raises:
        InputError: if there are fewer than 20 in-distribution items or 5 of an outlier set.
    """
    for name, count, fewest in [
        (f"in-distribution images in {where}", known, FEWEST_KNOWN),
        *((f"images of outlier set '{name}'", count, FEWEST_OUTLIERS) for name, count in outliers.items()),
    ]:
        if count < fewest:
            raise InputError(
                expected=f"at least {fewest} {name}",
                found=f"{count}",
                remedy="a rate cannot be estimated from so few",
            )


def detection_metrics(found: Predictions) -> MetricSet:
    """Six metrics of every score: means without noise where there is some, over all sets and each group, and each set.

    Where there are covariate-shifted sets, all of it again with their items counted as in-distribution. Intervals are
    percentiles of a bootstrap that resamples in-distribution items and each outlier set apart; the same in-distribution
    resamples serve every set, as the same items do.
    """
    draws = Draws(found)
    into = MetricSet()
    for score in found.scores:
        _of_score(into, found, draws, score)
        if score == MAX_SOFTMAX and found.logits is not None:
            _reference_rows(into, found, found.logits.shape[1])
    if found.shifted:
        whole = _full_spectrum(found)
        draws = Draws(whole)
        for score in whole.scores:
            _of_score(into, whole, draws, score, full_spectrum=True)
    into.outcomes |= auroc_outcomes(found)
    into.control(AUROC, {CHANCE: 0.5})
    into.control(TNR, {CHANCE: 0.05})
    into.control(FPR, {CHANCE: 0.95})
    _controls_of_files(into, found)
    return into


def _controls_of_files(into: MetricSet, found: Predictions) -> None:
    """Note with each AUROC, but for the full spectrum, the one that a fact of the files reaches in the direction that suits it."""
    for fact, title in FILE_FACTS.items():
        reached = {}
        for name, each in found.outliers.items():
            if fact in found.facts and fact in each.facts:
                area = float(placements(found.facts[fact], each.facts[fact]).mean())
                reached[name] = max(area, 1 - area)
        means = found.means()
        for metric in into.metrics:
            if metric.key != AUROC.key or "known" in metric.params:
                continue
            sets = metric.params.get("sets")
            names = [metric.subset] if metric.subset else means[str(sets)] if sets else list(found.outliers)
            if all(name in reached for name in names):
                metric.controls[title] = float(np.mean([reached[name] for name in names]))


def _full_spectrum(found: Predictions) -> Predictions:
    """The predictions with the shifted items among the in-distribution ones."""
    scores = {
        score: np.concatenate([known, *(each.scores[score] for each in found.shifted.values())])
        for score, known in found.scores.items()
    }
    return found._replace(scores=scores)


def _of_score(
    into: MetricSet, found: Predictions, draws: Draws, score: str, *, full_spectrum: bool = False
) -> None:
    measured = {name: measured_on(found, draws, name, score) for name in found.outliers}
    note, means = found.settings.get(score, ""), found.means()
    params = params_of(score, full_spectrum=full_spectrum)
    for kind in _REPORTED:
        # The headline first: noise is detected so easily, or so badly, that it dominates a mean.
        before = [NON_NOISE] if NON_NOISE in means else []
        for sets in (*before, None, *(name for name in means if name != NON_NOISE)):
            names = measured if sets is None else means[sets]
            chosen = [measured[name] for name in names]
            _row(into, kind, params_of(score, sets, full_spectrum=full_spectrum), chosen, note)
        for subset, each in measured.items():
            _row(into, kind, params, [each], note, subset)


def _row(
    into: MetricSet,
    kind: MetricKind,
    params: Params,
    sets: list[Measured],
    note: str,
    subset: str | None = None,
) -> None:
    """The mean of a metric over some sets, or its value on one; the note on the score goes to the method."""
    n = sets[0].known + sum(each.outliers for each in sets)
    if kind is FPR and (few := [each.outliers for each in sets if each.outliers < FEWEST_KNOWN]):
        reason = f"{few[0]} outliers are too few to find the threshold that rejects 95 % of them"
        into.missing(kind, n, reason, params, subset=subset)
        return
    field = _FIELDS[kind.key]
    value = float(np.mean([getattr(each.value, field) for each in sets]))
    means: NDArray[np.float64] = np.mean([getattr(each.resampled, field) for each in sets], axis=0)
    if kind is ACCURACY:
        # The best threshold of a resample fits it better than the sample's fits the sample.
        half = 1.96 * float(means.std(ddof=1))
        interval = Interval(max(0.5, value - half), min(1.0, value + half))
        method = "normal approximation with the bootstrap's standard error"
    else:
        interval = Interval(*(float(bound) for bound in np.quantile(means, [0.025, 0.975])))
        method = "percentile bootstrap"
    fewest = min(min(each.known, each.outliers) for each in sets)
    found = rate_bounds(interval, method, value, fewest)
    over = "" if subset else f"mean over {len(sets)} outlier set{'s' if len(sets) > 1 else ''}; "
    method = f"{over}{found.method}" + (f"; score: {note}" if note else "")
    # AUROCs have outcomes; of the full spectrum not all items are named, and those of two backbones might be others.
    tested = subset is None and kind is not AUROC and "known" not in params
    into.add(
        kind,
        value,
        n,
        params,
        subset=subset,
        uncertainty=Bounds(found.interval, method),
        resampled=means if tested else None,
    )


def _reference_rows(into: MetricSet, found: Predictions, classes: int) -> None:
    """The numbers that ODIN's code would print, for each set and as the mean over the sets."""
    known, lowest = found.scores[MAX_SOFTMAX], 1 / classes
    sets = {key: each.scores[MAX_SOFTMAX] for key, each in found.outliers.items()}
    areas = {key: odin_reference_aupr(known, values, lowest) for key, values in sets.items()}
    by_rates = "100,000 thresholds; precision of as many outliers as in-distribution items"
    for kind, values, method, undefined in (
        (
            REFERENCE_TNR,
            {key: odin_reference_tnr(known, values, lowest) for key, values in sets.items()},
            "mean over the thresholds, 100,000 in all, whose TPR lies in [0.9495, 0.9505]",
            "no threshold has a TPR in [0.9495, 0.9505]",
        ),
        (REFERENCE_AUPR_IN, {key: area.known_positive for key, area in areas.items()}, by_rates, ""),
        (
            REFERENCE_AUPR_OUT,
            {key: area.outliers_positive for key, area in areas.items()},
            by_rates,
            "every confidence is 1",
        ),
    ):
        defined = [value for value in values.values() if value is not None]
        mean = float(np.mean(defined)) if len(defined) == len(values) else None
        for subset, value in [(None, mean), *values.items()]:
            items = sets.values() if subset is None else [sets[subset]]
            into.add(
                kind,
                value,
                len(known) + sum(map(len, items)),
                params_of(MAX_SOFTMAX),
                subset=subset,
                uncertainty=Bounds(method=method, reason=None if value is not None else undefined),
            )


def confidence_histogram_name(outlier_set: str) -> str:
    """Name of the curve that holds an outlier set's confidences."""
    return f"Confidence on outliers: {outlier_set}"


def _with_truth(found: Predictions, path: Path, truth: str | None, split: str | None) -> Predictions:
    """The predictions with what the ground truth says of the in-distribution items, where it is given."""
    if truth is not None:
        given = true_labels(
            truth,
            split,
            ids=found.ids,
            items=len(next(iter(found.scores.values()))),
            about=found.about,
            path=path,
            labels=found.labels,
            outputs=None if found.logits is None else found.logits.shape[1],
            names=found.classes,
        )
        # Without logits the labels decide nothing, nor does the order that they were found by.
        assumptions = given.assumptions if found.logits is not None else []
        found = found._replace(
            labels=given.labels,
            ids=given.ids,
            classes=given.match.names,
            about=given.about,
            warnings=[*found.warnings, *assumptions],
        )
    labels = found.labels
    if labels is not None and found.logits is not None:
        classes = found.logits.shape[1]
        if labels.min() < 0 or labels.max() >= classes:
            raise InputError(
                expected=f"labels in 0..{classes - 1}", where=path, found=f"{labels.min()}..{labels.max()}"
            )
    return found


def _over_confidence(found: Predictions, labels: NDArray[np.int64] | None) -> MetricSet:
    into, n = MetricSet(), len(next(iter(found.scores.values())))
    if found.logits is None or labels is None:
        into.missing(ECE, n, "the predictions hold no logits and labels", {"bins": CALIBRATION_BINS})
    else:
        among = found.settings.get("outputs")
        error = MetricSet(shared={"outputs": int(among)} if among else {})
        confidence, correct, *_ = item_measures(found.logits, labels)
        error.calibration(confidence, correct)
        into.extend(error)
    if MAX_SOFTMAX not in found.scores:
        return into
    means = {name: each.scores[MAX_SOFTMAX] for name, each in found.outliers.items()}
    outcome = confidence_outcomes(found)
    over = f"mean over {len(means)} outlier sets; {OVER_ITEMS}"
    into.add(
        OOD_CONFIDENCE,
        float(np.mean([values.mean() for values in means.values()])),
        sum(len(values) for values in means.values()),
        uncertainty=bounds(bootstrap_mean(outcome), over),
        outcome=outcome,
    )
    for name, values in means.items():
        into.mean_rate(OOD_CONFIDENCE, values, outcome=None, subset=name)
    return into


def _histograms(found: Predictions) -> list[Curve]:
    if MAX_SOFTMAX not in found.scores:
        return []
    confidences = {KNOWN_HISTOGRAM: found.scores[MAX_SOFTMAX]}
    for name, each in found.outliers.items():
        confidences[confidence_histogram_name(name)] = each.scores[MAX_SOFTMAX]
    edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)
    centres = [round(float(x), 6) for x in (edges[1:] + edges[:-1]) / 2]
    return [
        Curve(
            name=name,
            x=centres,
            y=[float(share) for share in np.histogram(values, edges)[0] / len(values)],
            x_label="max softmax",
            y_label="share of images, %",
        )
        for name, values in confidences.items()
    ]


def _data(found: Predictions) -> DataInfo:
    """All sets as one, since what is compared between backbones depends on every one of them."""
    first = next(iter(found.scores))
    parts = [found.about.info(len(found.scores[first]))]
    others = found.outliers | {f"shifted {name}": each for name, each in found.shifted.items()}
    parts += [each.about.info(len(each.scores[first])) for each in others.values()]
    digest = hashlib.sha256()
    for name, part in zip(["", *others], parts, strict=True):
        digest.update(f"{name}\0{part.sha256}\0{part.n_scored}\0".encode())
    sets = f"{len(found.outliers)} outlier set{'s' if len(found.outliers) > 1 else ''}"
    return DataInfo(
        name=f"{parts[0].name} and {sets} ({', '.join(found.outliers)})",
        split=parts[0].split,
        n_available=sum(part.n_available for part in parts),
        n_requested=sum(part.n_requested for part in parts),
        n_scored=sum(part.n_scored for part in parts),
        n_failed=sum(part.n_failed for part in parts),
        failed=[item for part in parts for item in part.failed][:_FAILED_NAMED],
        sha256=digest.hexdigest(),
        notes=[
            *parts[0].notes,
            *(f"{name}: {note}" for name, part in zip(others, parts[1:], strict=True) for note in part.notes),
        ],
    )
