"""From confidences to the metrics of a record: each set, their mean, and the mean without noise, with intervals."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError
from eval_suite.core.metrics import rate_bounds
from eval_suite.core.records import Metric
from eval_suite.core.runtime import derive_seed
from eval_suite.core.statistics import Interval
from eval_suite.tasks.ood.metrics import (
    Detection,
    Ranking,
    detection_from_counts,
    odin_reference_aupr,
    odin_reference_tnr,
    placements,
    rank,
)
from eval_suite.tasks.ood.predictions import Predictions
from eval_suite.tasks.ood.scores import MAX_SOFTMAX, score_title

AUROC = "AUROC"
TNR = "TNR@TPR95 (ID positive)"
ACCURACY = "Detection accuracy"
AUPR_IN = "AUPR-In (average precision)"
AUPR_OUT = "AUPR-Out (average precision)"
FPR = "FPR95 (OOD positive)"
REFERENCE_TNR = "TNR@TPR95 (ODIN's reference code)"
REFERENCE_AUPR_IN = "AUPR-In (ODIN's reference code)"
REFERENCE_AUPR_OUT = "AUPR-Out (ODIN's reference code)"
WITHOUT_NOISE = "without noise"

FEWEST_KNOWN, FEWEST_OUTLIERS = 20, 5
RESAMPLES = 500
_FIELDS = dict(zip((TNR, AUROC, ACCURACY, AUPR_IN, AUPR_OUT, FPR), Detection._fields, strict=True))
_REPORTED = (AUROC, TNR, ACCURACY, AUPR_IN, AUPR_OUT, FPR)
_PER_CHUNK = 1_000_000
_RESAMPLING = 0x00D201  # purpose of `derive_seed`


def metric_name(metric: str, score: str, *, without_noise: bool = False) -> str:
    """A metric's full name: what is measured, on which score, and whether noise sets are left out of the mean."""
    return f"{metric}, {score_title(score)}" + (f", {WITHOUT_NOISE}" if without_noise else "")


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
                f"expected at least {fewest} {name}, found {count}; a rate cannot be told from so few"
            )


def detection_metrics(found: Predictions) -> list[Metric]:
    """Six metrics of every score: the mean over the sets, the mean without noise, and each set.

    Intervals are percentiles of a bootstrap that resamples in-distribution items and each outlier set apart; the
    same in-distribution resamples serve every set, as the same items do.
    """
    draws = _Draws(found)
    metrics: list[Metric] = []
    for score in found.scores:
        sets = {name: _measure(found, draws, name, score) for name in found.outliers}
        note = found.settings.get(score, "")
        for metric in _REPORTED:
            metrics += _rows(sets, _natural(found), metric, score, note)
        if score == MAX_SOFTMAX and found.logits is not None:
            metrics += _reference_rows(found, found.logits.shape[1])
    return metrics


def auroc_outcomes(found: Predictions) -> dict[str, NDArray[np.float64]]:
    """AUROCs item by item: the share of outliers below each in-distribution item, as a mean over the sets.

    Its mean over the items is the AUROC, so that paired differences between backbones can be taken over them; they
    tell of the sampling of in-distribution items, for these outliers.
    """
    outcomes = {}
    for score, known in found.scores.items():
        shares = {name: placements(known, each.scores[score]) for name, each in found.outliers.items()}
        outcomes[metric_name(AUROC, score)] = np.mean(list(shares.values()), axis=0)
        natural = _natural(found)
        if natural:
            mean = np.mean([shares[name] for name in natural], axis=0)
            outcomes[metric_name(AUROC, score, without_noise=True)] = mean
    return outcomes


class _Measured(NamedTuple):
    """One set's six metrics, (resamples,) of each, and the numbers of in-distribution items and outliers."""

    value: Detection
    resampled: Detection
    known: int
    outliers: int


class _Draws:
    """How often each item comes in each resample: (resamples, n), the same for every score."""

    def __init__(self, found: Predictions) -> None:
        first = next(iter(found.scores))
        self.known = _draw(len(found.scores[first]), 0)
        self.outliers = {
            name: _draw(len(each.scores[first]), number)
            for number, (name, each) in enumerate(found.outliers.items(), start=1)
        }


def _draw(items: int, number: int) -> NDArray[np.uint16]:
    rng = np.random.default_rng(derive_seed(number, _RESAMPLING))
    counts = np.empty((RESAMPLES, items), np.uint16)
    for row in counts:
        row[:] = np.bincount(rng.integers(0, items, items), minlength=items)
    return counts


def _measure(found: Predictions, draws: _Draws, name: str, score: str) -> _Measured:
    ranking = rank(found.scores[score], found.outliers[name].scores[score])
    value = detection_from_counts(ranking.known_above, ranking.outliers_above)
    known, outliers = draws.known, draws.outliers[name]
    n, m = known.shape[1], outliers.shape[1]
    rows = max(1, _PER_CHUNK // (n + m))
    parts = [
        _resampled(ranking, known[start : start + rows], outliers[start : start + rows])
        for start in range(0, RESAMPLES, rows)
    ]
    return _Measured(value, Detection(*map(np.concatenate, zip(*parts, strict=True))), n, m)


def _resampled(ranking: Ranking, known: NDArray[np.uint16], outliers: NDArray[np.uint16]) -> Detection:
    """The metrics of resamples, from how often each item comes: no sorting again."""
    return detection_from_counts(
        _running(known[:, ranking.known_order])[:, ranking.known_above],
        _running(outliers[:, ranking.outlier_order])[:, ranking.outliers_above],
    )


def _running(counts: NDArray[np.uint16]) -> NDArray[np.int64]:
    total = np.zeros((counts.shape[0], counts.shape[1] + 1), np.int64)
    np.cumsum(counts, axis=1, out=total[:, 1:])
    return total


def _rows(
    sets: dict[str, _Measured], natural: list[str], metric: str, score: str, note: str
) -> Iterator[Metric]:
    name = metric_name(metric, score)
    yield _row(metric, name, list(sets.values()), note)
    if natural:
        chosen = [sets[each] for each in natural]
        yield _row(metric, metric_name(metric, score, without_noise=True), chosen, note)
    for subset, each in sets.items():
        yield _row(metric, name, [each], note, subset)


def _row(metric: str, name: str, sets: list[_Measured], note: str, subset: str | None = None) -> Metric:
    """The mean of a metric over some sets, or its value on one; the note on the score goes to the method."""
    n = sets[0].known + sum(each.outliers for each in sets)
    if metric == FPR and (few := [each.outliers for each in sets if each.outliers < FEWEST_KNOWN]):
        reason = f"{few[0]} outliers are too few to find the threshold that rejects 95 % of them"
        return Metric(name=name, value=None, higher_is_better=False, n=n, subset=subset, reason=reason)
    field = _FIELDS[metric]
    value = float(np.mean([getattr(each.value, field) for each in sets]))
    means = np.mean([getattr(each.resampled, field) for each in sets], axis=0)
    if metric == ACCURACY:
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
    return Metric(
        name=name,
        value=value,
        higher_is_better=metric != FPR,
        n=n,
        interval=found.interval,
        method=f"{over}{found.method}" + (f"; score: {note}" if note else ""),
        subset=subset,
    )


def _reference_rows(found: Predictions, classes: int) -> Iterator[Metric]:
    """The numbers that ODIN's code would print, for each set and as the mean over the sets."""
    known, lowest = found.scores[MAX_SOFTMAX], 1 / classes
    sets = {key: each.scores[MAX_SOFTMAX] for key, each in found.outliers.items()}
    areas = {key: odin_reference_aupr(known, values, lowest) for key, values in sets.items()}
    by_rates = "100,000 thresholds; precision of as many outliers as in-distribution items"
    for metric, values, method, undefined in (
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
            yield Metric(
                name=metric_name(metric, MAX_SOFTMAX),
                value=value,
                higher_is_better=True,
                n=len(known) + sum(map(len, items)),
                method=method,
                subset=subset,
                reason=None if value is not None else undefined,
            )


def _natural(found: Predictions) -> list[str]:
    """The sets that are not noise, where there are both sorts."""
    natural = [name for name, each in found.outliers.items() if not each.noise]
    return natural if len(natural) < len(found.outliers) else []
