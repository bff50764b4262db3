"""The recorded curves: interpolated precision, to the last recall that is reached and no further."""

import numpy as np
import pytest

from eval_suite.core.records import Curve
from eval_suite.tasks.detect.average_precision import ap_area, precision_recall
from eval_suite.tasks.detect.matching import Detections, Objects, Ranking, rank
from eval_suite.tasks.detect.score import _curves
from tests.tasks.detect.worlds import random_world


def ranking_of_one_class(objects: int, hits: int) -> Ranking:
    """One object an image, the first so many of them found by falling score and nothing else."""
    boxes = np.tile([0.0, 0.0, 9.0, 9.0], (objects, 1))
    there = Objects(np.arange(objects), np.zeros(objects, int), boxes, np.zeros(objects, bool))
    found = Detections(there.image, there.labels, boxes, np.linspace(1, 0.5, objects))
    return rank(found.select(there.image < hits), there, objects, 1, plus_one=True)


def precision_at(ranking: Ranking, label: int, percent: int) -> float:
    """The highest precision after any detection, hit or mistake, where so many percent of the objects are found."""
    hit = ranking.hit[ranking.starts[label] : ranking.starts[label + 1]]
    hits, total = np.cumsum(hit), int(ranking.objects[label])
    reached = 100 * hits >= percent * total
    return float(np.max((hits / np.arange(1, len(hit) + 1))[reached], initial=0.0))


@pytest.mark.parametrize("seed", range(3))
def test_a_curve_is_the_interpolated_precision_of_all_detections(seed: int) -> None:
    ranking = rank(*random_world(seed), plus_one=True)
    mean, *each = _curves("ssd", ranking, ["a", "b", "c", "d"])
    assert [curve.name for curve in each] == [f"SSD precision-recall ({name})" for name in "abcd"]
    for label, curve in enumerate(each):
        assert curve.x == [percent / 100 for percent in range(101)]
        wanted = [precision_at(ranking, label, percent) for percent in range(101)]
        assert curve.y == pytest.approx(wanted, abs=1e-5)
        assert np.mean(curve.y) == pytest.approx(ap_area(precision_recall(ranking, label)), abs=0.01)
    assert mean.name == "SSD precision-recall (mean over classes)"
    assert mean.y == pytest.approx(np.mean([curve.y for curve in each], axis=0).tolist(), abs=2e-5)


@pytest.mark.parametrize(("objects", "hits"), [(10, 7), (20, 7), (100, 57), (3, 1), (3, 3), (3, 0)])
def test_a_curve_ends_at_the_last_recall_that_is_reached(objects: int, hits: int) -> None:
    curve: Curve = _curves("", ranking_of_one_class(objects, hits), ["a"])[1]
    reached = 100 * hits // objects + 1 if hits else 0
    assert curve.y == [1.0] * reached + [0.0] * (101 - reached)
