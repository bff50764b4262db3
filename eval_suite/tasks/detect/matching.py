"""Which detections count, by Pascal VOC's rules: all classes and images in one pass."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.data.objects import ObjectIndex

IOU = 0.5


class Detections(NamedTuple):
    """Boxes a detector gave, in any order.

    ``image`` (d,) and ``labels`` (d,) count into the images and classes that were evaluated; ``boxes`` (d, 4) are
    x0 y0 x1 y1 in pixels, both corners inside as in the ground truth; ``scores`` (d,), larger is surer.
    """

    image: NDArray[np.int64]
    labels: NDArray[np.int64]
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]

    def select(self, chosen: NDArray[np.bool_] | NDArray[np.integer]) -> "Detections":
        """Some of them, by a mask or by their places."""
        return Detections(self.image[chosen], self.labels[chosen], self.boxes[chosen], self.scores[chosen])


class Objects(NamedTuple):
    """Boxes that are there: as `Detections`, with ``difficult`` (m,) for those that neither count nor harm."""

    image: NDArray[np.int64]
    labels: NDArray[np.int64]
    boxes: NDArray[np.float64]
    difficult: NDArray[np.bool_]


class Ranking(NamedTuple):
    """Every class's detections by falling score, one class after the other; ignored ones are left out.

    ``starts`` (classes + 1,) bounds the classes in ``hit`` (r,) and ``image`` (r,), which say whether a detection
    found an object and in which image; ``scores`` (r,) are theirs. ``objects`` (classes,) counts the objects that are not difficult, and
    ``objects_in`` (images, classes) does so for each image.
    """

    starts: NDArray[np.int64]
    hit: NDArray[np.bool_]
    image: NDArray[np.int64]
    scores: NDArray[np.float64]
    objects: NDArray[np.int64]
    objects_in: NDArray[np.int64]


def objects_of(index: ObjectIndex) -> Objects:
    """The objects of an index, as the matching takes them."""
    return Objects(index.image, index.labels, index.boxes, index.uncounted)


def rank(
    detections: Detections,
    objects: Objects,
    images: int,
    classes: int,
    *,
    plus_one: bool,
    iou_threshold: float = IOU,
) -> Ranking:
    """Judge every detection.

    A detection belongs to the object of its class and image that it overlaps most. If that overlap reaches the
    threshold, the top-scoring detection of an object is a true positive and any other one a false positive; detections of difficult objects
    are ignored. A detection below the threshold is a mistake. Equal scores keep the order they were given in.

    Args:
        detections: d of them.
        objects: m of them.
        images: number of images evaluated.
        classes: number of classes.
        plus_one: take a box from x0 to x1 as x1 - x0 + 1 wide, as VOC's own code does, and not as x1 - x0.
        iou_threshold: overlap that suffices, inclusive.

    Reference: Everingham et al., The PASCAL VOC Challenge, IJCV 2010, sec. 4.2.1; VOCdevkit, VOCevaldet.m.
    """
    found = _found(detections, objects, images, classes, plus_one, iou_threshold)
    kept = ~np.append(objects.difficult, False)[found]  # the appended one is what -1 leads to
    order = _by_class_and_score(detections)
    order = order[kept[order]]
    found = found[order]
    finders = np.flatnonzero(found >= 0)
    # An object's top-scoring detection is its first, since the order is by score.
    top_scoring = np.full(len(objects.labels), len(order))
    np.minimum.at(top_scoring, found[finders], finders)
    hit = np.zeros(len(order), np.bool_)
    hit[top_scoring[top_scoring < len(order)]] = True
    counted = _cells(objects, classes)[~objects.difficult]
    objects_in = np.bincount(counted, minlength=images * classes).reshape(images, classes)
    return Ranking(
        starts=np.searchsorted(detections.labels[order], np.arange(classes + 1)),
        hit=hit,
        image=detections.image[order],
        scores=detections.scores[order],
        objects=objects_in.sum(axis=0),
        objects_in=objects_in,
    )


def _by_class_and_score(detections: Detections) -> NDArray[np.int64]:
    """The order (d,) by class, then falling score, then place; a stable sort takes several times longer."""
    number = np.int64(len(detections.scores))
    order = np.argsort(-detections.scores)
    scores = detections.scores[order]
    level = np.cumsum(np.diff(scores, prepend=scores[:1]) != 0)
    keys = (detections.labels[order] * number + level) * number + order
    keys.sort()
    return keys % number


def _found(
    detections: Detections, objects: Objects, images: int, classes: int, plus_one: bool, iou_threshold: float
) -> NDArray[np.int64]:
    """Of each detection the object (d,) of its image and class that it overlaps most; -1 below the threshold.

    Of equally good objects it is the first.
    """
    cell, object_cell = _cells(detections, classes), _cells(objects, classes)
    order = np.argsort(object_cell, kind="stable")
    edges = objects.boxes[order]
    rivals = np.bincount(object_cell, minlength=images * classes)
    start = np.cumsum(rivals) - rivals
    best = np.full(len(cell), -1)
    just_below = np.nextafter(iou_threshold, -np.inf)  # the threshold itself exceeds it
    overlap = np.full(len(cell), just_below)
    # Pass k compares every detection with the k-th object of its cell; few cells hold more than a handful.
    waiting, k = np.flatnonzero(rivals[cell]), 0
    while len(waiting):
        rival = start[cell[waiting]] + k
        iou = _iou(detections.boxes[waiting], edges[rival], 1.0 if plus_one else 0.0)
        closer = iou > overlap[waiting]
        overlap[waiting[closer]] = iou[closer]
        best[waiting[closer]] = order[rival[closer]]
        k += 1
        waiting = waiting[rivals[cell[waiting]] > k]
    return best


def _cells(boxes: Detections | Objects, classes: int) -> NDArray[np.int64]:
    """Of each box the number of its image and class as a pair."""
    return boxes.image * classes + boxes.labels


def _iou(a: NDArray[np.float64], b: NDArray[np.float64], extra: float) -> NDArray[np.float64]:
    """Intersection over union (n,) of boxes (n, 4) in pairs; 0 where neither has an area."""
    width = np.minimum(a[:, 2], b[:, 2]) - np.maximum(a[:, 0], b[:, 0]) + extra
    height = np.minimum(a[:, 3], b[:, 3]) - np.maximum(a[:, 1], b[:, 1]) + extra
    shared = width.clip(0) * height.clip(0)
    areas = [(box[:, 2] - box[:, 0] + extra) * (box[:, 3] - box[:, 1] + extra) for box in (a, b)]
    union = areas[0] + areas[1] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
