"""Average precision in its two VOC variants, its precision-recall curves, and what each image contributes to it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.tasks.detect.matching import Ranking

# As all published code has them: 0.3 is 0.30000000000000004 here, so a recall of 3 in 10 does not reach it.
_POINTS = np.arange(0.0, 1.1, 0.1)


class PrecisionRecall(NamedTuple):
    """Precision and recall after each hit of a class by falling score, each (h,), of which there may be none.

    Mistakes need no place here: they leave the recall and lower the precision, so that the highest precision at a recall
    or above, which is all that is read off the curve, stands at a hit.
    """

    recall: NDArray[np.float64]
    precision: NDArray[np.float64]


def precision_recall(
    ranking: Ranking, label: int, weights: NDArray[np.integer] | None = None
) -> PrecisionRecall:
    """The curve of one class.

    Args:
        ranking: judged detections.
        label: the class, which has objects.
        weights: (images,) how often each image counts; once where None.
    """
    part = slice(ranking.starts[label], ranking.starts[label + 1])
    place = np.flatnonzero(ranking.hit[part])
    if weights is None:
        hits, seen, total = np.arange(1.0, len(place) + 1), place + 1, ranking.objects[label]
    else:
        weight = weights[ranking.image[part]]
        hits, seen = np.cumsum(weight[place], dtype=float), np.cumsum(weight)[place]
        total = weights @ ranking.objects_in[:, label]
    precision = np.divide(hits, seen, out=np.zeros_like(hits), where=seen > 0)
    recall = np.divide(hits, total, out=np.zeros_like(hits), where=total > 0)
    return PrecisionRecall(recall, precision)


def ap_11_points(curve: PrecisionRecall) -> float:
    """Mean over recalls 0, 0.1, ..., 1 of the highest precision at that recall or above.

    Reference: Everingham et al., IJCV 2010, eq. 1 and 2 (VOC2007 to VOC2009).
    """
    return float(envelope_at(curve, _POINTS).mean())


def envelope_at(curve: PrecisionRecall, recalls: NDArray[np.float64]) -> NDArray[np.float64]:
    """Interpolated precision: the highest at each of the recalls (k,) or above; 0 where it is never reached."""
    envelope = np.append(_envelope(curve.precision), 0.0)
    return envelope[np.searchsorted(curve.recall, recalls)]


def ap_area(curve: PrecisionRecall) -> float:
    """Area under the curve whose precision at a recall is the highest at that recall or above (VOC2010 and later)."""
    return float(_envelope(curve.precision) @ np.diff(curve.recall, prepend=0.0))


def classes_with_objects(ranking: Ranking) -> NDArray[np.int64]:
    """The classes that an average over classes is taken of: those with an object that is not difficult."""
    return np.flatnonzero(ranking.objects)


def mean_ap(
    ranking: Ranking,
    variant: str,
    weights: NDArray[np.integer] | None = None,
) -> float:
    """Mean of the average precisions of all classes with objects.

    Args:
        ranking: judged detections.
        variant: a key of `VARIANTS`.
        weights: (images,) how often each image counts. A class that no counted image shows is left out.
    """
    present = classes_with_objects(ranking)
    if weights is not None:
        present = present[weights @ ranking.objects_in[:, present] > 0]
    if not len(present):
        return 0.0
    return float(np.mean([VARIANTS[variant](precision_recall(ranking, label, weights)) for label in present]))


def image_influence(ranking: Ranking) -> NDArray[np.float64]:
    """What each image contributes to the mean AP (area): (images,) values whose mean is exactly that AP.

    An image counted w times instead of once changes the AP by about (w - 1) / images times how far its value lies
    from the mean. So the values' spread gives the AP's standard error, and differences between two detectors over
    the same images are paired. Half an image more of what was missed pulls its value down, of what was found up.

    With T hits and F mistakes down to a place of the ranking, AP = (1 / objects) sum over hits k of T/(T+F) at the place m(k)
    that gives k's interpolated precision; the derivative with respect to the weight of an image is taken with m held.

    Reference: Jaeckel, The infinitesimal jackknife, 1972; Efron, The Jackknife, the Bootstrap, 1982, ch. 6.
    """
    images = len(ranking.objects_in)
    present = classes_with_objects(ranking)
    derivative = np.zeros(images)
    total = 0.0
    for label in present:
        part = slice(ranking.starts[label], ranking.starts[label + 1])
        hit, image, objects = ranking.hit[part], ranking.image[part], ranking.objects[label]
        hits = np.cumsum(hit, dtype=float)
        seen = np.arange(1, len(hit) + 1, dtype=float)
        precision = hits / seen
        place = _place_of_envelope(precision)
        ap = float(precision[place][hit].sum() / objects)
        total += ap
        uses = np.bincount(place[hit], minlength=len(hit)) / seen**2
        # A detection counts in the precision at every place from its own downwards.
        gain = np.cumsum((uses * (seen - hits))[::-1])[::-1]
        loss = np.cumsum((uses * hits)[::-1])[::-1]
        change = np.where(hit, precision[place] + gain, -loss)
        own = np.bincount(image, weights=change, minlength=images)
        derivative += (own - ap * ranking.objects_in[:, label]) / objects
    count = max(1, len(present))
    influence: NDArray[np.float64] = (total + images * derivative) / count
    return influence


def _envelope(precision: NDArray[np.float64]) -> NDArray[np.float64]:
    """The highest precision at each place or after it."""
    return np.maximum.accumulate(precision[::-1])[::-1]


def _place_of_envelope(precision: NDArray[np.float64]) -> NDArray[np.int64]:
    """Where the highest precision at each place or after it is reached: the last such place."""
    backwards = precision[::-1]
    highest = np.maximum.accumulate(backwards)
    rises = np.concatenate([[True], backwards[1:] > highest[:-1]]) if len(backwards) else np.zeros(0, bool)
    last_rise = np.maximum.accumulate(np.where(rises, np.arange(len(backwards)), 0))
    return (len(precision) - 1 - last_rise)[::-1]


VARIANTS = {"voc07": ap_11_points, "area": ap_area}
