"""Which detections count, by Pascal VOC's rules: all classes and images in one pass."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

IOU = 0.5


class Detections(NamedTuple):
    """Boxes a detector gave, in any order.

    ``image`` (d,) and ``labels`` (d,) count into the images and classes that were evaluated; ``boxes`` (d, 4) are
    x0 y0 x1 y1 in pixels; ``scores`` (d,), larger is surer.
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
    threshold, the surest detection of an object is a hit and any other one a mistake; detections of difficult objects
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
    by_score = np.lexsort((-detections.scores, detections.labels))
    label, image = detections.labels[by_score], detections.image[by_score]
    best, overlap = _best_objects(
        image * classes + label, detections.boxes[by_score], objects, classes, plus_one
    )
    found = overlap >= iou_threshold
    ignored = found.copy()
    ignored[found] = objects.difficult[best[found]]
    candidates = np.flatnonzero(found & ~ignored)
    # The first of an object's detections is its surest, since they are in the order of their scores.
    _, first = np.unique(best[candidates], return_index=True)
    hit = np.zeros(len(label), np.bool_)
    hit[candidates[first]] = True
    kept = ~ignored
    counted = ~objects.difficult
    objects_in = np.bincount(
        objects.image[counted] * classes + objects.labels[counted], minlength=images * classes
    ).reshape(images, classes)
    return Ranking(
        starts=np.searchsorted(label[kept], np.arange(classes + 1)),
        hit=hit[kept],
        image=image[kept],
        scores=detections.scores[by_score][kept],
        objects=objects_in.sum(axis=0),
        objects_in=objects_in,
    )


class _Best(NamedTuple):
    object: NDArray[np.int64]
    overlap: NDArray[np.float64]


def _best_objects(
    cell: NDArray[np.int64],
    boxes: NDArray[np.float64],
    objects: Objects,
    classes: int,
    plus_one: bool,
) -> _Best:
    """Of each detection the object it overlaps most among those of its image and class, the first of equal ones.

    Args:
        cell: (d,) image times classes plus class.
        boxes: (d, 4).
        objects: m of them.
        classes: number of classes.
        plus_one: how wide a box is.
    """
    object_cell = objects.image * classes + objects.labels
    order = np.argsort(object_cell, kind="stable")
    sorted_cells = object_cell[order]
    start = np.searchsorted(sorted_cells, cell)
    rivals = np.searchsorted(sorted_cells, cell, side="right") - start
    best = np.full(len(cell), -1, np.int64)
    overlap = np.full(len(cell), -1.0)
    edges = objects.boxes[order]
    # Pass k compares every detection with the k-th object of its cell; few cells hold more than a handful.
    waiting = np.flatnonzero(rivals)
    k = 0
    while len(waiting):
        rival = start[waiting] + k
        iou = _iou(boxes[waiting], edges[rival], 1.0 if plus_one else 0.0)
        closer = iou > overlap[waiting]
        overlap[waiting[closer]] = iou[closer]
        best[waiting[closer]] = order[rival[closer]]
        k += 1
        waiting = waiting[rivals[waiting] > k]
    return _Best(best, overlap)


def _iou(a: NDArray[np.float64], b: NDArray[np.float64], extra: float) -> NDArray[np.float64]:
    """Intersection over union (n,) of boxes (n, 4) in pairs; 0 where neither has an area."""
    width = np.minimum(a[:, 2], b[:, 2]) - np.maximum(a[:, 0], b[:, 0]) + extra
    height = np.minimum(a[:, 3], b[:, 3]) - np.maximum(a[:, 1], b[:, 1]) + extra
    shared = width.clip(0) * height.clip(0)
    areas = [(box[:, 2] - box[:, 0] + extra) * (box[:, 3] - box[:, 1] + extra) for box in (a, b)]
    union = areas[0] + areas[1] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
