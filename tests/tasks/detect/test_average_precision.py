import contextlib
import io
import warnings

import numpy as np
import pytest

from eval_suite.core.statistics import bootstrap_mean
from eval_suite.tasks.detect.average_precision import (
    VARIANTS,
    PrecisionRecall,
    ap_11_points,
    ap_area,
    image_influence,
    mean_ap,
    precision_recall,
)
from eval_suite.tasks.detect.matching import Detections, Objects, Ranking, rank
from tests.tasks.detect.worlds import World, random_world


def ranking_of(world: World, *, plus_one: bool = False) -> Ranking:
    return rank(*world, plus_one=plus_one)


def textbook_ap(world: World, label: int, *, points: bool, plus_one: bool) -> float:
    """VOC's rules written out detection by detection, as the devkit's loop reads."""
    extra = 1.0 if plus_one else 0.0
    rows = sorted(
        (i for i, found in enumerate(world.detections.labels) if found == label),
        key=lambda i: -world.detections.scores[i],
    )
    mine = [j for j, own in enumerate(world.objects.labels) if own == label]
    total = sum(not world.objects.difficult[j] for j in mine)
    taken: set[int] = set()
    outcomes: list[bool] = []
    for i in rows:
        best, chosen = -1.0, -1
        for j in mine:
            if world.objects.image[j] != world.detections.image[i]:
                continue
            a, b = world.detections.boxes[i], world.objects.boxes[j]
            w = min(a[2], b[2]) - max(a[0], b[0]) + extra
            h = min(a[3], b[3]) - max(a[1], b[1]) + extra
            if w <= 0 or h <= 0:
                continue
            union = sum((c[2] - c[0] + extra) * (c[3] - c[1] + extra) for c in (a, b)) - w * h
            if w * h / union > best:
                best, chosen = w * h / union, j
        if best >= 0.5:
            if world.objects.difficult[chosen]:
                continue
            outcomes.append(chosen not in taken)
            taken.add(chosen)
        else:
            outcomes.append(False)
    hits = np.cumsum(outcomes)
    recall, precision = hits / total, hits / np.arange(1, len(hits) + 1)
    if points:
        return (
            sum(
                max((p for p, r in zip(precision, recall, strict=True) if r >= t), default=0.0)
                for t in np.arange(0.0, 1.1, 0.1)
            )
            / 11
        )
    area, last = 0.0, 0.0
    for k, r in enumerate(recall):
        area += (r - last) * max(precision[k:])
        last = r
    return area


@pytest.mark.parametrize("digits", [7, 1])
@pytest.mark.parametrize("plus_one", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_rules_written_out(seed: int, plus_one: bool, digits: int) -> None:
    world = random_world(seed)
    # Rounded to one digit most scores are tied, and the order they were given in decides.
    world = world._replace(detections=world.detections._replace(scores=world.detections.scores.round(digits)))
    ranking = ranking_of(world, plus_one=plus_one)
    for variant, points in (("voc07", True), ("area", False)):
        wanted = [textbook_ap(world, c, points=points, plus_one=plus_one) for c in range(world.classes)]
        assert mean_ap(ranking, variant) == pytest.approx(np.mean(wanted), abs=1e-12)


@pytest.mark.parametrize(("variant", "mode"), [("voc07", "11points"), ("area", "area")])
@pytest.mark.parametrize("plus_one", [False, True])
def test_agrees_with_mmdetection(variant: str, mode: str, plus_one: bool) -> None:
    pytest.importorskip("mmdet")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its imports warn of other packages' deprecations
        from mmdet.evaluation.functional import eval_map
    for seed in (5, 6):
        world = random_world(seed)
        found, there = world.detections, world.objects
        rows = np.hstack([found.boxes, found.scores[:, None]]).astype(np.float32)
        per_image = [
            [rows[(found.image == i) & (found.labels == c)] for c in range(world.classes)]
            for i in range(world.images)
        ]
        annotations = []
        for i in range(world.images):
            easy, hard = (there.image == i) & ~there.difficult, (there.image == i) & there.difficult
            annotations.append(
                {
                    "bboxes": there.boxes[easy].astype(np.float32),
                    "labels": there.labels[easy],
                    "bboxes_ignore": there.boxes[hard].astype(np.float32),
                    "labels_ignore": there.labels[hard],
                }
            )
        with contextlib.redirect_stdout(io.StringIO()):
            wanted, _ = eval_map(
                per_image,
                annotations,
                iou_thr=0.5,
                logger="silent",
                nproc=1,
                eval_mode=mode,
                use_legacy_coordinate=plus_one,
            )
        assert mean_ap(ranking_of(world, plus_one=plus_one), variant) == pytest.approx(wanted, abs=1e-6)


def test_a_case_worked_by_hand() -> None:
    # Two objects; by falling score: hit, mistake, second detection of the first object, hit.
    objects = Objects(
        np.array([0, 1]), np.array([0, 0]), np.array([[0, 0, 9, 9], [0, 0, 9, 9]], float), np.zeros(2, bool)
    )
    boxes = np.array([[0, 0, 9, 9], [20, 20, 29, 29], [0, 0, 9, 8], [0, 0, 9, 9]], float)
    detections = Detections(np.array([0, 0, 0, 1]), np.zeros(4, int), boxes, np.array([0.9, 0.8, 0.7, 0.6]))
    ranking = rank(detections, objects, 2, 1, plus_one=False)
    assert ranking.hit.tolist() == [True, False, False, True]
    curve = precision_recall(ranking, 0)
    assert curve.precision.tolist() == [1.0, 2 / 4]
    assert curve.recall.tolist() == [0.5, 1.0]
    assert ap_area(curve) == pytest.approx(0.5 * 1.0 + 0.5 * 0.5)
    assert ap_11_points(curve) == pytest.approx((6 * 1.0 + 5 * 0.5) / 11)


def test_the_convention_decides_about_small_boxes() -> None:
    # From 0 to 3 against 0 to 1: 4x4 and 2x4 pixels overlap by a half, 3x3 and 1x3 lengths by a third.
    objects = Objects(np.zeros(1, int), np.zeros(1, int), np.array([[0, 0, 3, 3]], float), np.zeros(1, bool))
    detections = Detections(
        np.zeros(1, int), np.zeros(1, int), np.array([[0, 0, 1, 3]], float), np.array([0.5])
    )
    assert rank(detections, objects, 1, 1, plus_one=True).hit.tolist() == [True]
    assert rank(detections, objects, 1, 1, plus_one=False).hit.tolist() == [False]


def test_difficult_objects_neither_count_nor_harm() -> None:
    world = random_world(3)
    ranking = ranking_of(world)
    assert ranking.objects.sum() == (~world.objects.difficult).sum()
    boxes = world.objects.boxes[world.objects.difficult]
    more = Detections(
        np.concatenate([world.detections.image, world.objects.image[world.objects.difficult]]),
        np.concatenate([world.detections.labels, world.objects.labels[world.objects.difficult]]),
        np.concatenate([world.detections.boxes, boxes]),
        np.concatenate([world.detections.scores, np.full(len(boxes), 2.0)]),
    )
    again = rank(more, world.objects, world.images, world.classes, plus_one=False)
    assert mean_ap(again, "area") == pytest.approx(mean_ap(ranking, "area"), abs=1e-12)


def test_of_equally_good_objects_the_first_is_found() -> None:
    boxes, zeros = np.array([[0, 0, 9, 9], [0, 0, 9, 9]], float), np.zeros(2, int)
    detection = Detections(zeros[:1], zeros[:1], boxes[:1], np.ones(1))
    for difficult, hits in (([True, False], []), ([False, True], [True])):
        objects = Objects(zeros, zeros, boxes, np.array(difficult))
        assert rank(detection, objects, 1, 1, plus_one=True).hit.tolist() == hits


def test_order_of_images_and_monotone_scores_do_not_matter() -> None:
    world = random_world(4)
    rng = np.random.default_rng(0)
    renamed = rng.permutation(world.images)
    shuffle = rng.permutation(len(world.detections.scores))
    moved = Detections(
        renamed[world.detections.image][shuffle],
        world.detections.labels[shuffle],
        world.detections.boxes[shuffle],
        np.exp(world.detections.scores[shuffle]),
    )
    objects = world.objects._replace(image=renamed[world.objects.image])
    again = rank(moved, objects, world.images, world.classes, plus_one=False)
    for variant in VARIANTS:
        assert mean_ap(again, variant) == pytest.approx(mean_ap(ranking_of(world), variant), abs=1e-12)


def test_nothing_found_and_nothing_there() -> None:
    world = random_world(0)
    nothing = Detections(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 4)), np.zeros(0))
    silent = rank(nothing, world.objects, world.images, world.classes, plus_one=True)
    assert [mean_ap(silent, variant) for variant in VARIANTS] == [0.0, 0.0]
    assert image_influence(silent).tolist() == [0.0] * world.images
    empty = Objects(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 4)), np.zeros(0, bool))
    ranking = rank(world.detections, empty, world.images, world.classes, plus_one=True)
    assert not ranking.hit.any()
    assert mean_ap(ranking, "area") == 0.0
    perfect = PrecisionRecall(np.array([1.0]), np.array([1.0]))
    assert (ap_11_points(perfect), ap_area(perfect)) == (1.0, 1.0)


def test_weights_are_copies_of_images() -> None:
    world = random_world(7, images=12)
    weights = np.random.default_rng(1).integers(0, 3, world.images)
    copies = np.repeat(np.arange(world.images), weights)

    def copied(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = [(new, row) for new, old in enumerate(copies) for row in np.flatnonzero(image == old)]
        return np.array([new for new, _ in rows]), np.array([row for _, row in rows])

    image, rows = copied(world.detections.image)
    detections = Detections(image, *(part[rows] for part in world.detections[1:]))
    image, rows = copied(world.objects.image)
    objects = Objects(image, *(part[rows] for part in world.objects[1:]))
    wanted = rank(detections, objects, len(copies), world.classes, plus_one=False)
    assert mean_ap(ranking_of(world), "area", weights) == pytest.approx(mean_ap(wanted, "area"), abs=0.01)


def test_influences_average_to_the_ap_and_are_its_derivative() -> None:
    world = random_world(8)
    ranking = ranking_of(world)
    influence = image_influence(ranking)
    value = mean_ap(ranking, "area")
    assert influence.mean() == pytest.approx(value, abs=1e-12)
    step = 1e-6
    for image in (0, 7, 19):
        weights = np.ones(world.images)
        weights[image] += step
        slope = (mean_ap(ranking, "area", weights) - value) / step
        assert influence[image] == pytest.approx(value + world.images * slope, abs=1e-3)


def test_influences_give_the_bootstraps_spread() -> None:
    world = random_world(9, images=60)
    ranking = ranking_of(world)
    rng = np.random.default_rng(0)
    values = [
        mean_ap(ranking, "area", np.bincount(rng.integers(0, 60, 60), minlength=60)) for _ in range(300)
    ]
    low, high = bootstrap_mean(image_influence(ranking))
    assert (high - low) / (2 * 1.96) == pytest.approx(np.std(values), rel=0.25)
