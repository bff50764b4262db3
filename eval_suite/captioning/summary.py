"""The record's metrics from caption scores: names, intervals, and why a number is missing."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.captioning.meteor import meteor_of
from eval_suite.captioning.metrics import ORDERS, CaptionScores, bleu_of
from eval_suite.core.records import Metric
from eval_suite.core.statistics import Interval, bootstrap_mean, bootstrap_normal

CIDER, METEOR, ROUGE, SPICE = "CIDEr-D", "METEOR", "ROUGE-L", "SPICE"
BLEU = tuple(f"BLEU-{n}" for n in range(1, ORDERS + 1))
WITHOUT_JAVA = " (simple tokenizer, not comparable)"
_MEAN = "mean over images, percentile bootstrap over images"
_CORPUS = "over all captions together, normal approximation with the bootstrap's standard error over images"


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
    outcomes = {ROUGE + said: scores.rouge_l}
    if n > 1:
        outcomes = {CIDER + said: scores.cider_d, **outcomes}
        cider = _mean(CIDER + said, scores.cider_d, highest=10.0)
    else:
        cider = _none(CIDER + said, n, "its word weights need at least two images")
    bleu = scores.bleu
    metrics = [cider]
    for order, name in enumerate(BLEU):
        metrics.append(
            _corpus(name + said, bleu.scores[order], bleu.statistics, lambda s, k=order: float(bleu_of(s)[k]))  # type: ignore[misc]
        )
    if scores.meteor is not None:
        metrics.append(_corpus(METEOR, scores.meteor.score, scores.meteor.statistics, meteor_of))
    else:
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
        interval=(max(0.0, interval.low), min(highest, interval.high)),
        method=_MEAN,
    )


def _corpus(
    name: str,
    value: float,
    statistics: NDArray[np.float64],
    measure: Callable[[NDArray[np.float64]], float],
) -> Metric:
    interval = bootstrap_normal(
        lambda chosen: measure(statistics[chosen].sum(axis=0)), len(statistics), bounds=Interval(0.0, 1.0)
    )
    return Metric(
        name=name,
        value=float(value),
        higher_is_better=True,
        n=len(statistics),
        interval=interval,
        method=_CORPUS,
    )


def _none(name: str, n: int, reason: str) -> Metric:
    return Metric(name=name, value=None, higher_is_better=True, n=n, reason=reason)
