"""One detector's detections and the ground truth to metrics, curves and per-image outcomes."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.conventions import BOXES, BOXES_OF_DETECTOR, VOC_BOXES
from eval_suite.core.metrics import bounds
from eval_suite.core.records import Curve, Metric
from eval_suite.core.statistics import Interval, bootstrap_mean, bootstrap_normal
from eval_suite.data.voc import VocIndex
from eval_suite.tasks.detect.coco import coco_precision
from eval_suite.tasks.detect.matching import Detections, Objects, Ranking, rank
from eval_suite.tasks.detect.metrics import (
    VARIANTS,
    classes_with_objects,
    envelope_at,
    image_influence,
    mean_ap,
    precision_recall,
)

CURVE = "precision-recall"
# Quotients, as recalls are, so that a recall of 7 in 10 reaches 0.7; `linspace` has 0.7000000000000001.
_RECALLS = np.arange(101) / 100
_RESAMPLES = 200
_NOTHING = "the images show no object that is not difficult"


class DetectorScore(NamedTuple):
    """What is said of one detector; names begin with its title where it has one."""

    metrics: list[Metric]
    curves: list[Curve]
    outcomes: dict[str, NDArray[np.float64]]


def score_detector(detections: Detections, index: VocIndex, title: str = "") -> DetectorScore:
    """All metrics of a detector.

    Args:
        detections: its detections.
        index: the images that were predicted on, with their objects.
        title: the detector's name, put before the names of metrics and curves.
    """
    prefix = f"{title} " if title else ""
    objects = objects_of(index)
    rankings = {
        words: rank(detections, objects, len(index), len(index.classes), plus_one=plus_one)
        for words, plus_one in BOXES.items()
    }
    first = BOXES_OF_DETECTOR.get(title, VOC_BOXES)
    conventions = sorted(BOXES, key=lambda words: words != first)
    metrics = [
        _mean_ap(prefix, variant, words, rankings[words], len(index))
        for words in conventions
        for variant in VARIANTS
    ]
    metrics += _coco(prefix, detections, index)
    ranking = rankings[VOC_BOXES]
    present = classes_with_objects(ranking)
    metrics += [
        Metric(
            name=f"{prefix}AP ({variant}, {VOC_BOXES})",
            value=measure(precision_recall(ranking, label)),
            higher_is_better=True,
            n=int(ranking.objects[label]),
            subset=index.classes[label],
        )
        for variant, measure in VARIANTS.items()
        for label in present
    ]
    outcomes = {f"{prefix}mAP (area, {first})": image_influence(rankings[first])} if len(present) else {}
    return DetectorScore(metrics, _curves(prefix, ranking, index.classes), outcomes)


def objects_of(index: VocIndex) -> Objects:
    """The objects of an index, as the matching takes them."""
    return Objects(index.image, index.labels, index.boxes.astype(np.float64), index.difficult)


def _mean_ap(prefix: str, variant: str, words: str, ranking: Ranking, images: int) -> Metric:
    name = f"{prefix}mAP ({variant}, {words})"
    if not len(classes_with_objects(ranking)):
        return Metric(name=name, value=None, higher_is_better=True, n=images, reason=_NOTHING)
    if variant == "area":
        low, high = bootstrap_mean(image_influence(ranking))
        interval = Interval(max(0.0, low), min(1.0, high))
        method = "percentile bootstrap over images, each with its influence on the AP"
    else:

        def resampled(chosen: NDArray[np.intp]) -> float:
            return mean_ap(ranking, variant, np.bincount(chosen, minlength=images))

        interval = bootstrap_normal(resampled, images, bounds=Interval(0.0, 1.0), resamples=_RESAMPLES)
        method = "normal approximation with the standard error of a bootstrap over images"
    return Metric(
        name=name,
        value=mean_ap(ranking, variant),
        higher_is_better=True,
        n=images,
        **bounds(interval, method)._asdict(),
    )


def _coco(prefix: str, detections: Detections, index: VocIndex) -> list[Metric]:
    found = coco_precision(detections, index)
    values = found or (None, None, None)
    return [
        Metric(
            name=f"{prefix}{name}",
            value=value,
            higher_is_better=True,
            n=len(index),
            reason=None if found else _NOTHING,
        )
        for name, value in zip(("COCO AP (IoU 0.50:0.95)", "COCO AP50", "COCO AP75"), values, strict=True)
    ]


def _curves(prefix: str, ranking: Ranking, classes: list[str]) -> list[Curve]:
    """The mean over classes of the interpolated precision, and each class's own; 0 from where no score reaches the recall."""
    present = classes_with_objects(ranking)
    if not len(present):
        return []
    each = [envelope_at(precision_recall(ranking, label), _RECALLS) for label in present]
    named = [("mean over classes", np.mean(each, axis=0))]
    named += [(classes[label], values) for label, values in zip(present, each, strict=True)]
    return [
        Curve(
            name=f"{prefix}{CURVE} ({name})",
            x=_RECALLS.tolist(),
            y=values.round(5).tolist(),
            x_label="recall",
            y_label="interpolated precision",
        )
        for name, values in named
    ]
