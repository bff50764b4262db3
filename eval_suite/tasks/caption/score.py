"""The record's metrics from caption scores: names, intervals, and why a number is missing."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.metrics import bounds
from eval_suite.core.records import Metric
from eval_suite.core.statistics import Interval, bootstrap_mean, bootstrap_normal
from eval_suite.tasks.caption.meteor import meteor_of
from eval_suite.tasks.caption.metrics import ORDERS, CaptionScores, bleu_of

CIDER, METEOR, ROUGE, SPICE = "CIDEr-D", "METEOR", "ROUGE-L", "SPICE"
BLEU = tuple(f"BLEU-{n}" for n in range(1, ORDERS + 1))
WITHOUT_JAVA = " (simple tokenizer, not comparable)"
_MEAN = "mean over images, percentile bootstrap over images"
_CORPUS = "over all captions together, normal approximation with the bootstrap's standard error over images"


# A measure without a single match has no slope to speak of.
_NEXT_TO_NOTHING = 1e-6
Measure = Callable[[NDArray[np.float64]], float]


class Summary(NamedTuple):
    """Metrics, and by name the (n,) values whose mean is the metric."""

    metrics: list[Metric]
    outcomes: dict[str, NDArray[np.float64]]


def summarise(scores: CaptionScores, java: bool) -> Summary:
    """Metrics of a set of captions, CIDEr-D first.

    Args:
        scores: what the toolkit says.
        java: whether its own tokenizer was used; where not, every name says so.
    """
    said = "" if java else WITHOUT_JAVA
    n = len(scores.cider_d)
    outcomes: dict[str, NDArray[np.float64]] = {ROUGE + said: scores.rouge_l}
    if n > 1:
        outcomes = {CIDER + said: scores.cider_d, **outcomes}
        cider = _mean(CIDER + said, scores.cider_d, highest=10.0)
    else:
        cider = _none(CIDER + said, n, "its word weights need at least two images")
    bleu = scores.bleu
    metrics = [cider]
    corpus: list[tuple[str, float, NDArray[np.float64], Measure]] = [
        (name + said, bleu.scores[order], bleu.statistics, lambda s, k=order: float(bleu_of(s)[k]))  # type: ignore[misc]
        for order, name in enumerate(BLEU)
    ]
    if scores.meteor is not None:
        corpus.append((METEOR, scores.meteor.score, scores.meteor.statistics, meteor_of))
    for name, value, statistics, measure in corpus:
        metrics.append(_corpus(name, value, statistics, measure))
        if value > _NEXT_TO_NOTHING:
            outcomes[name] = linearised(statistics, measure)
    if scores.meteor is None:
        metrics.append(_none(METEOR, n, "it needs Java"))
    metrics.append(_mean(ROUGE + said, scores.rouge_l, highest=1.0))
    if scores.spice is not None and np.isfinite(scores.spice.each).all():
        outcomes[SPICE] = scores.spice.each
        metrics.append(_mean(SPICE, scores.spice.each, highest=1.0))
    elif scores.spice is not None:
        known = int(np.isfinite(scores.spice.each).sum())
        metrics.append(_none(SPICE, n, f"its program scored {known} of {n} captions only"))
    else:
        metrics.append(_none(SPICE, n, scores.no_spice))
    return Summary(metrics, outcomes)


def linearised(statistics: NDArray[np.float64], measure: Measure) -> NDArray[np.float64]:
    """Each item's part in a measure of all items together: (n,) values whose mean is that measure.

    The measure g of the items' summed statistics S is taken as linear around S: item i counts g(S) + ∇g(S)·(n s_i - S).
    Differences of these values between two systems resample as the difference of the measures does, to first order.

    Args:
        statistics: (n, k) per item.
        measure: maps their sum (k,) to a number, smoothly.

    Reference: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 22 (influence function).
    """
    total = statistics.sum(axis=0)
    gradient = np.zeros_like(total)
    for place, size in enumerate(total):
        # What no item has is the same for every item, and its slope is not asked for.
        if size:
            step = np.zeros_like(total)
            step[place] = 1e-4 * abs(size)
            gradient[place] = (measure(total + step) - measure(total - step)) / (2 * step[place])
    values: NDArray[np.float64] = measure(total) + (len(statistics) * statistics - total) @ gradient
    return values


def per_image(scores: CaptionScores, ids: list[int], captions: list[str]) -> list[dict[str, object]]:
    """What each image's caption scores, as the toolkit lists it; BLEU and METEOR of all together are no means of these."""
    columns: dict[str, NDArray[np.float64]] = {CIDER: scores.cider_d, ROUGE: scores.rouge_l}
    columns |= dict(zip(BLEU, scores.bleu.each, strict=True))
    if scores.meteor is not None:
        columns[METEOR] = scores.meteor.each
    rows = zip(ids, captions, strict=True)
    return [
        {
            "image_id": image_id,
            "caption": caption,
            **{name: float(values[i]) for name, values in columns.items()},
        }
        for i, (image_id, caption) in enumerate(rows)
    ]


def _mean(name: str, values: NDArray[np.float64], highest: float) -> Metric:
    interval = bootstrap_mean(values)
    return Metric(
        name=name,
        value=float(values.mean()),
        higher_is_better=True,
        n=len(values),
        **bounds(Interval(max(0.0, interval.low), min(highest, interval.high)), _MEAN)._asdict(),
    )


def _corpus(
    name: str,
    value: float,
    statistics: NDArray[np.float64],
    measure: Measure,
) -> Metric:
    interval = bootstrap_normal(
        lambda chosen: measure(statistics[chosen].sum(axis=0)), len(statistics), bounds=Interval(0.0, 1.0)
    )
    return Metric(
        name=name,
        value=float(value),
        higher_is_better=True,
        n=len(statistics),
        **bounds(interval, _CORPUS)._asdict(),
    )


def _none(name: str, n: int, reason: str) -> Metric:
    return Metric(name=name, value=None, higher_is_better=True, n=n, reason=reason)
