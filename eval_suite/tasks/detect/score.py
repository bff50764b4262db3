"""Detections and the ground truth to metrics, curves and per-image outcomes."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError
from eval_suite.core.metrics import Bounds, MetricSet, bounds
from eval_suite.core.predictions import About
from eval_suite.core.records import Curve, Example, Param
from eval_suite.core.statistics import Interval, bootstrap_mean, bootstrap_values, normal_interval
from eval_suite.data.detection import open_objects
from eval_suite.data.objects import ObjectIndex
from eval_suite.data.pictures import never_failing
from eval_suite.data.truth import places_of
from eval_suite.tasks.base import Score
from eval_suite.tasks.detect.average_precision import (
    VARIANTS,
    classes_with_objects,
    envelope_at,
    image_influence,
    mean_ap,
    precision_recall,
)
from eval_suite.tasks.detect.coco import coco_precision
from eval_suite.tasks.detect.detectors.base import Detector
from eval_suite.tasks.detect.examples import write_examples
from eval_suite.tasks.detect.matching import IOU, Detections, Ranking, objects_of, rank
from eval_suite.tasks.detect.metrics import (
    CLASS_AP,
    COCO_AP,
    COCO_IOUS,
    MEAN_AP,
    detector_params,
    detectors,
    titled,
)
from eval_suite.tasks.detect.predictions import IMAGES, read_run
from eval_suite.tasks.detect.results import read_coco_results, read_voc_results

log = logging.getLogger(__name__)

# Quotients, as recalls are, so that a recall of 7 in 10 reaches 0.7; `linspace` has 0.7000000000000001.
_RECALLS = np.arange(101) / 100
_RESAMPLES = 200
_NOTHING = "the images show no object that is not difficult"


def score(predictions: Path, options: Any, truth: str | None, folder: Path | None) -> Score:
    """Metrics of a folder that `predict` wrote, of one file in it, or of results of other tools.

    The latter are a file of COCO's results, or a folder of VOC's text files. The ground truth is ``truth``, else the
    options' data. A file's name tells the detector, and ``images.json`` next to it which images it is of; without that
    list every image of the split counts as predicted on.

    Raises:
        InputError: if there is no truth, or the predictions do not belong to it.
    """
    spec = truth or options.data
    if not spec:
        raise InputError(
            f"{predictions} holds detections only; give the ground truth as --truth voc:PATH or coco:PATH"
        )
    known = detectors(options.detectors)
    everything = open_objects(spec, options.split, class_file=options.classes)
    index, about, files, listed = _scope(predictions, everything, known)
    read = {
        name: read_voc_results(path, index) if path.is_dir() else read_coco_results(path, index, own=listed)
        for name, path in files.items()
    }
    notes = [note for each in read.values() for note in each.notes]
    if folder is None:
        notes = [*everything.notes, *notes]  # else the fit has logged them
    for note in notes:
        log.warning("%s", note)
    found = {name: each.detections for name, each in read.items()}
    if not listed:
        _warn_of_empty(predictions, index, next(iter(found.values())))
    scores = [score_detector(each, index, known.get(name), options.ious) for name, each in found.items()]
    into = MetricSet([each.metrics.pop(0) for each in scores])
    for each in scores:
        into.extend(each)
    examples: list[Example] = []
    with never_failing("detect"):
        titles = {name: kind.title for name, kind in known.items()}
        examples = write_examples(folder, index, found, titles) if folder is not None else []
    return Score(
        into,
        about._replace(notes=list(dict.fromkeys([*about.notes, *notes]))).info(len(index)),
        examples=examples,
        ids=index.ids,
    )


def score_detector(
    detections: Detections,
    index: ObjectIndex,
    kind: type[Detector] | None = None,
    ious: Sequence[float] = (),
) -> MetricSet:
    """All metrics of a detector: the paper's headline first, for COCO's data its own.

    Args:
        detections: its detections.
        index: the images that were predicted on, with their objects.
        kind: which one it is, where that is known.
        ious: overlaps to report the mAP at, besides 0.5.
    """
    detector = kind.name if kind else ""
    into, params = MetricSet(), detector_params(detector)
    first = (kind.plus_one if kind else True) and not index.widths_are_edges
    conventions = (False,) if index.widths_are_edges else (first, not first)

    def ranked(plus_one: bool, iou: float = IOU) -> Ranking:
        # Between edges, a box is as wide as its two corners inside are apart, plus one.
        wider = plus_one or index.widths_are_edges
        return rank(
            detections, objects_of(index), len(index), len(index.classes), plus_one=wider, iou_threshold=iou
        )

    rankings = {plus_one: ranked(plus_one) for plus_one in conventions}
    if index.widths_are_edges:
        _coco(into, params, detections, index)
    for plus_one, ranking in rankings.items():
        for variant in VARIANTS:
            _mean_ap(into, {**params, "variant": variant, "plus_one": plus_one}, ranking, len(index))
    for iou in ious:
        at = {**params, "variant": "area", "plus_one": first, "iou": iou}
        _mean_ap(into, at, ranked(first, iou), len(index))
    if not index.widths_are_edges:
        _coco(into, params, detections, index)
    of_classes = not index.widths_are_edges
    ranking = rankings[of_classes]
    present = classes_with_objects(ranking)
    for variant, measure in VARIANTS.items():
        for label in present:
            into.add(
                CLASS_AP,
                measure(precision_recall(ranking, label)),
                int(ranking.objects[label]),
                {**params, "variant": variant, "plus_one": of_classes},
                subset=index.classes[label],
            )
    into.curves += _curves(detector, ranking, index.classes)
    return into


def _mean_ap(into: MetricSet, params: dict[str, Param], ranking: Ranking, images: int) -> None:
    if not len(classes_with_objects(ranking)):
        into.missing(MEAN_AP, images, _NOTHING, params)
        return
    variant = str(params["variant"])
    value = mean_ap(ranking, variant)
    influence = bootstrapped = None
    if variant == "area":
        influence = image_influence(ranking)
        low, high = bootstrap_mean(influence)
        interval = Interval(max(0.0, low), min(1.0, high))
        method = "percentile bootstrap over images, each with its influence on the AP"
    else:

        def resampled(chosen: NDArray[np.intp]) -> float:
            return mean_ap(ranking, variant, np.bincount(chosen, minlength=images))

        bootstrapped = bootstrap_values(resampled, images, resamples=_RESAMPLES)
        interval = normal_interval(value, bootstrapped, bounds=Interval(0.0, 1.0))
        method = "normal approximation with the standard error of a bootstrap over images"
    found = bounds(interval, method)
    into.add(MEAN_AP, value, images, params, uncertainty=found, outcome=influence, resampled=bootstrapped)


def _coco(into: MetricSet, params: dict[str, Param], detections: Detections, index: ObjectIndex) -> None:
    found = coco_precision(detections, index)
    for iou, value in zip(COCO_IOUS, found or (None, None, None), strict=True):
        reason = None if found else _NOTHING
        into.add(COCO_AP, value, len(index), {**params, "iou": iou}, uncertainty=Bounds(reason=reason))


def _curves(detector: str, ranking: Ranking, classes: list[str]) -> list[Curve]:
    """The mean over classes of the interpolated precision, and each class's own; 0 from where no score reaches the recall."""
    present = classes_with_objects(ranking)
    if not len(present):
        return []
    each = [envelope_at(precision_recall(ranking, label), _RECALLS) for label in present]
    named = [("mean over classes", np.mean(each, axis=0))]
    named += [(classes[label], values) for label, values in zip(present, each, strict=True)]
    return [
        Curve(
            name=titled(f"precision-recall ({name})", detector),
            x=_RECALLS.tolist(),
            y=values.round(5).tolist(),
            x_label="recall",
            y_label="interpolated precision",
        )
        for name, values in named
    ]


class _Scope(NamedTuple):
    """The images to score on, what is said of them, the files by detector ('' for one not known; a folder where it holds a file a class), and whether a list says so."""

    images: ObjectIndex
    about: About
    files: dict[str, Path]
    listed: bool


def _scope(predictions: Path, index: ObjectIndex, known: Iterable[str]) -> _Scope:
    if predictions.is_dir():
        folder = predictions
        files = {name: folder / f"{name}.json" for name in known if (folder / f"{name}.json").is_file()}
        files = files or {"": folder}
    else:
        folder = predictions.parent
        files = {predictions.stem if predictions.stem in known else "": predictions}
    if not (folder / IMAGES).is_file():
        return _Scope(index, index.about(index, []), files, False)
    run = read_run(folder)
    places = places_of(run.ids, index.ids, predictions, f"{index.spec} ({index.split})")
    return _Scope(index.select(places), run.about, files, True)


def _warn_of_empty(predictions: Path, index: ObjectIndex, found: Detections) -> None:
    """Nothing found in an image and an image not looked at are the same to a file without a list of images."""
    empty = len(index) - len(np.unique(found.image))
    if empty:
        log.warning(
            f"{empty:,} of {len(index):,} images of {index.spec} ({index.split}) have no detection in {predictions}; "
            "they are scored as looked at, so all their objects count as missed"
        )
