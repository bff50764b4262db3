"""From maps, logits and ground truth to the metrics of localisation."""

import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError
from eval_suite.core.metrics import FEW_CLASSES, TOP1_ERROR, TOP5_ERROR, MetricSet
from eval_suite.core.records import Example, Params
from eval_suite.core.runtime import progress
from eval_suite.core.statistics import topk_correct
from eval_suite.data.boxes import LocalisationIndex, open_localisation
from eval_suite.data.pictures import never_failing
from eval_suite.data.truth import places_of
from eval_suite.tasks.base import Score
from eval_suite.tasks.order_doubts import order_doubts
from eval_suite.tasks.wsol.box_accuracy import BoxFits, best_iou, empty_fits, level_iou, threshold_grid
from eval_suite.tasks.wsol.box_metrics import Classified, box_metrics
from eval_suite.tasks.wsol.components import both_boxes, to_8bit
from eval_suite.tasks.wsol.controls import CENTRE, centre_metrics
from eval_suite.tasks.wsol.examples import examples
from eval_suite.tasks.wsol.geometry import boxes_through, score_map
from eval_suite.tasks.wsol.metrics import EMPTY_MAPS
from eval_suite.tasks.wsol.pixel_metrics import pixel_metrics
from eval_suite.tasks.wsol.pixels import histogram_edges, pixel_histograms, read_mask
from eval_suite.tasks.wsol.predictions import Predictions, read_predictions

log = logging.getLogger(__name__)

_CHUNK = 16
_ROUNDING = 0.01  # by which maps in [0, 1] may leave it, such as by half precision or by interpolation
_NO_MASKS = "the ground truth has boxes, no masks"


class ScoreOptions(NamedTuple):
    """``sigma``: the fixed threshold; ``interval``: step of the thresholds tried; ``iou``: those MaxBoxAccV2 averages over."""

    sigma: float = 0.15
    interval: float = 0.001
    iou: tuple[float, ...] = (0.3, 0.5, 0.7)


def score(predictions: Path, options: Any, truth: str | None, folder: Path | None) -> Score:
    """Metrics of a predictions file against the boxes of ``truth`` (KIND:PATH), by default of the options' data.

    Raises:
        InputError: if there is no truth, or the file does not belong to it.
    """
    found = read_predictions(predictions)
    spec = truth or options.data
    if not spec:
        raise InputError(f"{predictions} holds no boxes; give the ground truth as --truth KIND:PATH")
    own = found.about.split if found.about.split != "unknown" else None
    index = open_localisation(spec, options.split or own)
    result = score_predictions(
        found, index, ScoreOptions(sigma=options.sigma, interval=options.threshold_step)
    )
    if folder is None:
        return result
    shown: list[Example] = []
    with never_failing("wsol"):
        shown = examples(folder, found, index, options.sigma)
    return replace(result, examples=shown)


def score_predictions(found: Predictions, truth: LocalisationIndex, options: ScoreOptions) -> Score:
    """Metrics, curves and per-item outcomes of a predictions file.

    Maps are brought to the input's size and to [0, 1] by `score_map`. Where a file's maps already have that size and more
    than half of them lie in [0, 1], they are taken as they are, but for those outside; what was taken is noted. A map
    that is constant or not finite is empty, and counted.

    Args:
        found: maps and logits.
        truth: boxes or masks of at least the items of ``found``.
        options: thresholds.

    Raises:
        InputError: if the options have no meaning, items or classes of ``found`` are not those of ``truth``, or a mask
            cannot be read.
    """
    _require_sensible(options)
    chosen = _places(found, truth)
    labels = truth.images.labels[chosen]
    scores = _Scores(found)
    about = found.about
    if about.split == "unknown":
        about = truth.images.about(truth.images, about.failed)
    metrics = _box_part(found, truth, chosen, scores, options)
    metrics.extend(_pixel_part(found, truth, chosen, scores, options))
    metrics.extend(_class_part(found, labels))
    metrics.add(EMPTY_MAPS, scores.empty, len(chosen))
    doubts = (
        order_doubts(found.logits.argmax(axis=1), labels, truth.images.classes) if found.logits.size else []
    )
    if scores.note:
        log.info("note: %s", scores.note)
        about = about._replace(notes=[*about.notes, scores.note])
    return Score(metrics, about.info(len(chosen)), ids=found.ids, warnings=[*doubts, *scores.doubts])


class _Scores:
    """The score maps of a predictions file, by position.

    Attributes:
        empty: how many are constant or not finite.
        note: how maps of the input's size were taken; empty where all are enlarged and min-max normalised.
        doubts: what speaks against that.
    """

    def __init__(self, found: Predictions) -> None:
        self._maps, self._size = found.maps, found.transform.size
        per_map = found.maps.reshape(len(found.maps), -1)
        low, high = per_map.min(axis=1), per_map.max(axis=1)
        self._empty = ~(np.isfinite(low) & np.isfinite(high)) | (low == high)
        self.empty, filled = int(self._empty.sum()), int((~self._empty).sum())
        outside = ~self._empty & ((low < -_ROUNDING) | (high > 1 + _ROUNDING))
        strange = int(outside.sum())
        full = found.maps.shape[1:] == self._size
        mostly_inside = full and 2 * strange < filled
        self._as_they_are = ~self._empty & ~outside & mostly_inside
        self.note, self.doubts = "", list[str]()
        if full and filled:
            self.note = (
                "the maps have the input's size and lie in [0, 1]; they are taken as they are"
                if mostly_inside
                else "the maps have the input's size and leave [0, 1]; each is min-max normalised"
            )
        if full and 0 < strange < filled:
            first = found.ids[int(outside.argmax())]
            self.doubts.append(
                f"{strange:,} of {filled:,} maps leave [0, 1], first that of '{first}'; "
                + ("they alone are min-max normalised" if mostly_inside else "all are min-max normalised")
                + "; bring all to one range"
            )

    def __getitem__(self, position: int) -> NDArray[np.float64]:
        if self._as_they_are[position]:
            return self._maps[position].astype(np.float64).clip(0, 1)
        return score_map(self._maps[position], self._size)


def _box_part(
    found: Predictions,
    truth: LocalisationIndex,
    chosen: NDArray[np.intp],
    scores: _Scores,
    options: ScoreOptions,
) -> MetricSet:
    labels = truth.images.labels[chosen]
    thresholds = threshold_grid(options.interval)
    reason = "the maps are those of the predicted class" if found.map_class == "predicted" else ""
    fits = empty_fits(len(chosen), len(options.iou))
    if truth.masks is None:
        _fit_boxes(found, truth, chosen, scores, options, fits)
    else:
        reason = "the ground truth has masks, no boxes"
    metrics = box_metrics(
        fits,
        _classified(found.logits, labels, "" if truth.masks is None else reason),
        among=_among(found),
        sigma=options.sigma,
        thresholds=thresholds,
        ious=options.iou,
        unknown=reason,
    )
    if truth.masks is None:
        boxes = [_boxes(found, truth, place) for place in chosen]
        centre = centre_metrics(
            boxes, found.transform.size, sigma=options.sigma, thresholds=thresholds, ious=options.iou
        )
        metrics.control_by(CENTRE, centre)
    return metrics


def _boxes(found: Predictions, truth: LocalisationIndex, place: int) -> NDArray[np.int64]:
    """An item's boxes as they lie in the network's input."""
    width, height = truth.sizes[place].tolist()
    return boxes_through(truth.boxes[place], (width, height), found.transform)


def _fit_boxes(
    found: Predictions,
    truth: LocalisationIndex,
    chosen: NDArray[np.intp],
    scores: _Scores,
    options: ScoreOptions,
    fits: BoxFits,
) -> None:
    ious = np.array(options.iou)

    def fit(chunk: range) -> None:
        for i in chunk:
            boxes = _boxes(found, truth, chosen[i])
            map8 = to_8bit(scores[i])
            largest, every = both_boxes(map8)
            fits.largest[i] = best_iou(largest, boxes) >= 0.5
            fits.every[i] = level_iou(every, boxes)[:, None] >= ious
            fits.peaks[i] = map8.max()

    _in_threads(fit, len(chosen), "scoring boxes")


def _pixel_part(
    found: Predictions,
    truth: LocalisationIndex,
    chosen: NDArray[np.intp],
    scores: _Scores,
    options: ScoreOptions,
) -> MetricSet:
    if truth.masks is None or found.map_class == "predicted":
        reason = _NO_MASKS if truth.masks is None else "the maps are those of the predicted class"
        return pixel_metrics(None, len(chosen), reason)
    masks = truth.masks
    edges = histogram_edges(threshold_grid(options.interval))
    histograms = np.zeros((len(chosen), 2, len(edges)), np.int32)

    def count(chunk: range) -> None:
        for i in chunk:
            mask = read_mask(masks[chosen[i]], found.transform)
            histograms[i] = pixel_histograms(scores[i], mask, edges)

    _in_threads(count, len(chosen), "scoring masks")
    return pixel_metrics(histograms, len(chosen))


def _class_part(found: Predictions, labels: NDArray[np.int64]) -> MetricSet:
    into, n = MetricSet(shared=_among(found)), len(labels)
    classified = _classified(found.logits, labels, "")
    for kind, right, reason in (
        (TOP1_ERROR, classified.top1, classified.reason1),
        (TOP5_ERROR, classified.top5, classified.reason5),
    ):
        if right is None:
            into.missing(kind, n, reason)
        else:
            into.share(kind, ~right)
    return into


def _among(found: Predictions) -> Params:
    """The param of metrics that look at the predicted class, where only some of the network's outputs could be it."""
    return {} if found.of_outputs is None else {"outputs": found.logits.shape[1]}


def _classified(logits: NDArray[np.float32], labels: NDArray[np.int64], reason: str) -> Classified:
    if not logits.shape[1]:
        reason = reason or "the predictions hold no logits"
    if reason:
        return Classified(None, None, reason, reason)
    top1 = topk_correct(logits, labels, 1)
    if logits.shape[1] <= 5:
        return Classified(top1, None, "", FEW_CLASSES)
    return Classified(top1, topk_correct(logits, labels, 5))


def _in_threads(work: Callable[[range], None], items: int, label: str) -> None:
    chunks = [range(start, min(start + _CHUNK, items)) for start in range(0, items, _CHUNK)]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        finished = zip(chunks, pool.map(work, chunks), strict=True)
        for _ in progress((item for chunk, _ in finished for item in chunk), items, label):
            pass


def _places(found: Predictions, truth: LocalisationIndex) -> NDArray[np.intp]:
    """Where each item of the predictions stands in the ground truth."""
    spec, classes = truth.images.spec, truth.images.classes
    chosen = places_of(found.ids, truth.images.ids, "the predictions", f"{spec} ({truth.images.split})")
    if found.logits.shape[1] and found.logits.shape[1] != len(classes):
        raise InputError(
            f"the predictions have logits of {found.logits.shape[1]} classes, but {spec} has {len(classes)}"
        )
    if found.classes and found.classes != classes:
        pair = next(
            (pair for pair in zip(found.classes, classes, strict=False) if pair[0] != pair[1]),
            (f"{len(found.classes)} of them", f"{len(classes)} of them"),
        )
        raise InputError(
            f"the predictions and {spec} differ in their classes, first '{pair[0]}' and '{pair[1]}'"
        )
    if len(found.labels):
        differing = np.flatnonzero(found.labels != truth.images.labels[chosen])
        if len(differing):
            raise InputError(
                f"{len(differing):,} labels of the predictions are not those of {spec}, first that of "
                f"'{found.ids[differing[0]]}'"
            )
    sizeless = [found.ids[i] for i in np.flatnonzero((truth.sizes[chosen] <= 0).any(axis=1))]
    if sizeless and truth.masks is None:
        raise InputError(
            f"{len(sizeless):,} images of {spec} cannot be read, so their boxes cannot be placed, first '{sizeless[0]}'"
        )
    return chosen


def _require_sensible(options: ScoreOptions) -> None:
    if not 0 <= options.sigma < 1:
        raise InputError(expected="a threshold sigma in [0, 1)", found=f"{options.sigma:g}")
    if not 0.0001 <= options.interval <= 0.5:
        raise InputError(expected="an interval of thresholds in [0.0001, 0.5]", found=f"{options.interval:g}")
    if not options.iou or not all(0 < iou <= 1 for iou in options.iou):
        raise InputError(expected="IoUs in (0, 1]", found=f"{list(options.iou)}")
