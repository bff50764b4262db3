"""From a predictions file and ground truth to metrics: by hand, against the plain loop, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eval_suite.core.errors import InputError
from eval_suite.core.predictions import About
from eval_suite.core.records import Metric
from eval_suite.data.boxes import LocalisationIndex, open_localisation
from eval_suite.data.images import ImageIndex
from eval_suite.data.layouts.base import MaskFiles
from eval_suite.tasks.base import Score
from eval_suite.tasks.wsol.geometry import PAPER, Transform, boxes_through, score_map
from eval_suite.tasks.wsol.predictions import MapClass, Predictions
from eval_suite.tasks.wsol.score import ScoreOptions, score_predictions
from tests.report.fake_suite import id_of
from tests.tasks.wsol.reference import box_correctness

CLASSES = [f"class {i}" for i in range(8)]


def truth_of(boxes: list[np.ndarray], size: tuple[int, int] = (100, 80)) -> LocalisationIndex:
    n = len(boxes)
    images = ImageIndex(
        name="set",
        spec="cub:set",
        split="test",
        classes=CLASSES,
        ids=[f"{i}.jpg" for i in range(n)],
        labels=np.arange(n) % 8,
        root=Path("."),
        paths=[Path(f"{i}.jpg") for i in range(n)],
        pixels=None,
    )
    return LocalisationIndex(images, np.tile([size], (n, 1)), boxes)


def found_for(truth: LocalisationIndex, maps: np.ndarray, **changes: Any) -> Predictions:
    images = truth.images
    logits = np.zeros((len(images), len(images.classes)), np.float32)
    logits[np.arange(len(images)), images.labels] = 1
    fields: dict[str, Any] = {
        "maps": maps,
        "logits": logits,
        "ids": images.ids,
        "labels": images.labels,
        "classes": images.classes,
        "transform": Transform((64, 64)),
        "map_class": "ground-truth",
        "about": About("set", "test", len(images), "", []),
    }
    return Predictions(**(fields | changes))


def by_name(score: Score) -> dict[str, Metric]:
    return {metric.name: metric for metric in score.metrics}


def random_case(
    n: int = 24, seed: int = 0, *, size: int = 7, spread: int = 1
) -> tuple[LocalisationIndex, np.ndarray]:
    rng = np.random.default_rng(seed)
    boxes = []
    for i in range(n):
        corners = rng.uniform(0, 1, (1 + i % (1 + spread), 2, 2)) * [100, 80]
        boxes.append(np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1))
    return truth_of(boxes), rng.normal(size=(n, size, size)).astype(np.float32)


def test_by_hand() -> None:
    # One hot square of the map, at full size and in [0, 1]: taken as it is.
    truth = truth_of([np.array([[10, 10, 29, 29.0]])] * 4, (64, 64))
    maps = np.zeros((4, 64, 64), np.float32)
    maps[0, 10:29, 10:29] = 1  # box 10..29: IoU 1
    maps[1, 10:29, 10:24] = 1  # 15 of 20 columns: IoU 0.75
    maps[2, 10:29, 10:17] = 1  # 8 of 20 columns: IoU 0.4
    maps[3, 40:50, 40:50] = 1
    found = found_for(truth, maps)
    found.logits[1] = np.arange(8)[::-1]  # the label, 1, is second
    found.logits[2] = -np.arange(8)  # the label, 2, is third
    score = score_predictions(found, truth, ScoreOptions())
    metrics = by_name(score)
    expected = {
        "Top-1 Loc (σ=0.15)": 1 / 4,
        "Top-5 Loc (σ=0.15)": 2 / 4,
        "GT-known Loc (σ=0.15)": 2 / 4,
        "Top-1 Loc (best σ)": 1 / 4,
        "Top-5 Loc (best σ)": 2 / 4,
        "GT-known Loc (best σ)": 2 / 4,
        "MaxBoxAcc": 2 / 4,
        "MaxBoxAccV2 (IoU 30/50/70)": (3 + 2 + 2) / 12,
        "MaxBoxAccV2 (IoU 30)": 3 / 4,
        "MaxBoxAccV2 (IoU 50)": 2 / 4,
        "MaxBoxAccV2 (IoU 70)": 2 / 4,
        "Top-1 error": 2 / 4,
        "Top-5 error": 0,
        "Empty maps": 0,
    }
    assert {name: metrics[name].value for name in expected} == pytest.approx(expected)
    assert set(metrics) == {*expected, "PxAP"}
    assert metrics["PxAP"].value is None
    assert "masks" in (metrics["PxAP"].reason or "")
    assert score.outcomes[id_of("Top-1 Loc (σ=0.15)")].tolist() == [1, 0, 0, 0]
    assert score.outcomes[id_of("MaxBoxAccV2 (IoU 30/50/70)")].tolist() == pytest.approx([1, 1, 1 / 3, 0])
    assert "chosen on the same images" in (metrics["MaxBoxAcc"].method or "")
    assert metrics["GT-known Loc (σ=0.15)"].method == "Wilson score"


@pytest.mark.parametrize("hit", [False, True])
def test_where_all_images_are_alike_the_interval_has_a_width(hit: bool) -> None:
    truth = truth_of([np.array([[10, 10, 29, 29.0]])] * 30, (64, 64))
    maps = np.zeros((30, 64, 64), np.float32)
    if hit:
        maps[:, 10:29, 10:29] = 1
    metrics = by_name(score_predictions(found_for(truth, maps), truth, ScoreOptions(interval=0.1)))
    mean, at_50 = metrics["MaxBoxAccV2 (IoU 30/50/70)"], metrics["MaxBoxAccV2 (IoU 50)"]
    assert mean.value == float(hit)
    assert mean.interval == pytest.approx(at_50.interval)
    assert "Wilson score of 30 items" in (mean.method or "")


@pytest.mark.parametrize("transform", [Transform((64, 64)), Transform((56, 56), 0.875)])
def test_every_metric_is_the_plain_loops(transform: Transform) -> None:
    truth, maps = random_case(20, size=6)
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(20, 8)).astype(np.float32)
    found = found_for(truth, maps, transform=transform, logits=logits)
    score = score_predictions(found, truth, ScoreOptions(sigma=0.35, interval=0.01))
    each = []
    for i in range(20):
        boxes = boxes_through(truth.boxes[i], (100, 80), transform)
        assert len(boxes)
        each.append(
            box_correctness(score_map(maps[i], transform.size), [tuple(b) for b in boxes.tolist()], 0.01)
        )
    largest = np.array([one.largest for one in each], float)
    every = np.array([one.every for one in each], float)
    ranks = (-logits).argsort(axis=1)
    top1, top5 = ((ranks[:, :k] == truth.images.labels[:, None]).any(axis=1)[:, None] for k in (1, 5))
    expected = {
        "Top-1 Loc (σ=0.35)": (largest * top1)[:, 35].mean(),
        "Top-5 Loc (σ=0.35)": (largest * top5)[:, 35].mean(),
        "GT-known Loc (σ=0.35)": largest[:, 35].mean(),
        "Top-1 Loc (best σ)": (largest * top1).mean(axis=0).max(),
        "Top-5 Loc (best σ)": (largest * top5).mean(axis=0).max(),
        "GT-known Loc (best σ)": largest.mean(axis=0).max(),
        "MaxBoxAcc": largest.mean(axis=0).max(),
        "MaxBoxAccV2 (IoU 30/50/70)": every.mean(axis=0).max(axis=0).mean(),
    }
    metrics = by_name(score)
    assert {name: metrics[name].value for name in expected} == pytest.approx(expected)
    assert metrics["MaxBoxAccV2 (IoU 30)"].value == pytest.approx(every[:, :, 0].mean(axis=0).max())
    curves = {curve.name: curve for curve in score.curves}
    assert curves["GT-known Loc over σ"].y == pytest.approx(largest.mean(axis=0).tolist())
    assert curves["Top-1 Loc over σ"].y == pytest.approx((largest * top1).mean(axis=0).tolist())
    assert curves["MaxBoxAccV2 (IoU 70) over σ"].y == pytest.approx(every[:, :, 2].mean(axis=0).tolist())
    by_id = {metric.id: metric for metric in score.metrics}
    for name, values in score.outcomes.items():
        assert values.mean() == pytest.approx(by_id[name].value), name
        assert values.shape == (20,)


def test_the_order_of_items_and_their_number_in_the_truth_do_not_matter() -> None:
    truth, maps = random_case(40)
    found = found_for(truth, maps)
    options = ScoreOptions(interval=0.01)
    whole = by_name(score_predictions(found, truth, options))
    order = np.random.default_rng(0).permutation(40)
    shuffled = found._replace(
        maps=maps[order],
        logits=found.logits[order],
        labels=found.labels[order],
        ids=[found.ids[i] for i in order],
    )
    again = by_name(score_predictions(shuffled, truth, options))
    assert {n: m.value for n, m in whole.items()} == pytest.approx({n: m.value for n, m in again.items()})
    part = found._replace(maps=maps[:5], logits=found.logits[:5], labels=found.labels[:5], ids=found.ids[:5])
    score = score_predictions(part, truth, options)
    assert (score.data.n_scored, score.data.n_available, len(score.ids)) == (5, 40, 5)


def test_maps_of_the_predicted_class_say_nothing_of_the_true_one() -> None:
    truth, maps = random_case()
    kind: MapClass = "predicted"
    score = score_predictions(found_for(truth, maps, map_class=kind), truth, ScoreOptions(interval=0.01))
    missing = {name for name, metric in by_name(score).items() if metric.value is None}
    assert missing == {
        *(f"{name} ({how})" for name in ("Top-5 Loc", "GT-known Loc") for how in ("σ=0.15", "best σ")),
        *(f"MaxBoxAccV2 (IoU {iou})" for iou in ("30/50/70", "30", "50", "70")),
        "MaxBoxAcc",
        "PxAP",
    }
    assert by_name(score)["MaxBoxAcc"].reason == "the maps are those of the predicted class"
    assert by_name(score)["Top-1 Loc (σ=0.15)"].value is not None
    assert not set(score.outcomes) & {by_name(score)[name].id for name in missing}


def test_without_logits_or_with_few_classes_there_is_a_reason() -> None:
    truth, maps = random_case(4)
    bare = found_for(
        truth, maps, logits=np.zeros((4, 0), np.float32), labels=np.zeros(0, np.int64), classes=[]
    )
    metrics = by_name(score_predictions(bare, truth, ScoreOptions(interval=0.01)))
    for name in ("Top-1 Loc (σ=0.15)", "Top-5 Loc (best σ)", "Top-1 error"):
        assert metrics[name].reason == "the predictions hold no logits"
    assert metrics["GT-known Loc (σ=0.15)"].value is not None
    few = LocalisationIndex(replace(truth.images, classes=CLASSES[:4]), truth.sizes, truth.boxes)
    found = found_for(few, maps, logits=np.eye(4, dtype=np.float32))
    metrics = by_name(score_predictions(found, few, ScoreOptions(interval=0.01)))
    assert metrics["Top-5 Loc (σ=0.15)"].reason == "there are no more than five classes"
    assert metrics["Top-1 error"].value == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.4])
def test_empty_maps_are_counted_and_find_nothing(value: float) -> None:
    truth = truth_of([np.array([[10, 10, 90, 70.0]])] * 3)
    maps = np.zeros((3, 7, 7), np.float32)
    maps[:, 2:5, 2:5] = 1
    maps[1, 3, 3] = value
    if value == 0.4:
        maps[1] = value
    metrics = by_name(score_predictions(found_for(truth, maps), truth, ScoreOptions(interval=0.01)))
    assert metrics["Empty maps"].value == 1
    assert metrics["MaxBoxAcc"].value == pytest.approx(2 / 3)


def test_only_a_file_of_maps_in_range_and_at_input_size_is_taken_as_it_is() -> None:
    truth, maps = random_case(6, size=64)
    maps = np.abs(maps) / np.abs(maps).max() * 0.9
    dim = score_predictions(found_for(truth, maps), truth, ScoreOptions(interval=0.01))
    stretched = np.stack([score_map(one, (64, 64)) for one in maps])
    full = score_predictions(found_for(truth, stretched), truth, ScoreOptions(interval=0.01))
    other = score_predictions(found_for(truth, maps * 2), truth, ScoreOptions(interval=0.01))
    assert other.curves == full.curves
    assert dim.curves != full.curves


def test_a_map_that_leaves_the_range_changes_no_other() -> None:
    truth, maps = random_case(6, size=64)
    maps = np.abs(maps) / np.abs(maps).max() * 0.9
    wanted = ScoreOptions(interval=0.01)
    dim = score_predictions(found_for(truth, maps), truth, wanted)
    assert (len(dim.data.notes), dim.warnings) == (1, [])
    name = id_of("MaxBoxAccV2 (IoU 30/50/70)")
    for peak, warned in ((1.0001, 0), (5.0, 1)):
        above = maps.copy()
        above[2, 0, 0] = peak
        found = score_predictions(found_for(truth, above), truth, wanted)
        others = np.arange(6) != 2
        np.testing.assert_array_equal(found.outcomes[name][others], dim.outcomes[name][others])
        assert (len(found.warnings), found.data.notes) == (warned, dim.data.notes)
    mixed = maps.copy()
    mixed[:4] *= 9
    found = score_predictions(found_for(truth, mixed), truth, wanted)
    stretched = np.stack([score_map(one, (64, 64)) for one in mixed])
    full = score_predictions(found_for(truth, stretched), truth, wanted)
    assert found.curves == full.curves
    assert len(found.warnings) == 1
    assert found.data.notes != dim.data.notes
    assert not score_predictions(found_for(truth, maps[:, :8, :8]), truth, wanted).data.notes


def test_an_object_outside_the_crop_is_missed_and_others_of_the_image_still_count() -> None:
    corner, centre = [0, 0, 5, 4], [20, 16, 79, 63]
    truth = truth_of([np.array([corner], float), np.array([corner, centre], float)])
    maps = np.zeros((2, 64, 64), np.float32)
    maps[:, 8:56, 8:56] = 1
    metrics = by_name(
        score_predictions(found_for(truth, maps, transform=Transform((64, 64), 0.8)), truth, ScoreOptions())
    )
    assert metrics["MaxBoxAcc"].value == 0.5


def test_masks_give_pxap_and_no_boxes(tmp_path: Path) -> None:
    truth, maps = random_case(3)
    files = []
    for i in range(3):
        mask = np.zeros((80, 100), np.uint8)
        mask[20 : 50 + i, 30:70] = 255
        Image.fromarray(mask).save(tmp_path / f"{i}.png")
        files.append(MaskFiles([tmp_path / f"{i}.png"], None))
    masked = LocalisationIndex(truth.images, truth.sizes, [np.zeros((0, 4))] * 3, files)
    metrics = by_name(score_predictions(found_for(masked, maps), masked, ScoreOptions(interval=0.01)))
    assert metrics["PxAP"].value is not None
    assert 0 < metrics["PxAP"].value < 1
    assert metrics["Top-1 Loc (σ=0.15)"].reason == "the ground truth has masks, no boxes"
    assert metrics["MaxBoxAcc"].reason == "the ground truth has masks, no boxes"
    (tmp_path / "1.png").unlink()
    with pytest.raises(InputError, match=r"expected a mask at .*1\.png, found: no such file"):
        score_predictions(found_for(masked, maps), masked, ScoreOptions())


def test_the_demo_world_is_scored_under_both_transforms(demo_world: Path) -> None:
    truth = open_localisation(f"cub:{demo_world / 'images'}")
    maps = np.zeros((len(truth), 64, 64), np.float32)
    for map_, box in zip(maps, truth.boxes, strict=True):
        x0, y0, x1, y1 = box[0].astype(int)
        map_[y0:y1, x0:x1] = 1
    images = truth.images
    found = found_for(truth, maps, about=images.about(images, []))
    metrics = by_name(score_predictions(found, truth, ScoreOptions()))
    assert metrics["MaxBoxAccV2 (IoU 70)"].value == 1
    assert metrics["Top-1 Loc (σ=0.15)"].value == 1
    paper = Transform((56, 56), 0.875)
    cut = found._replace(maps=maps[:, 4:60, 4:60], transform=paper)
    metrics = by_name(score_predictions(cut, truth, ScoreOptions()))
    # A creature that fills the crop leaves a map without a contrast, which shows no box.
    filled = np.ptp(cut.maps, axis=(1, 2)) == 0
    assert metrics["Empty maps"].value == filled.sum() <= 2
    assert metrics["MaxBoxAccV2 (IoU 70)"].value == pytest.approx(1 - filled.mean())
    assert (PAPER.crop_fraction, paper.corner) == (0.875, (4, 4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"ids": ["x.jpg", "1.jpg"]},
            r"ids of cub:set \(test\), such as '0\.jpg' in the predictions, found 1 others, first 'x\.jpg'",
        ),
        ({"logits": np.zeros((2, 3), np.float32)}, "logits of 3 classes, but cub:set has 8"),
        ({"classes": [*CLASSES[:7], "other"]}, "differ in their classes, first 'other' and 'class 7'"),
        ({"classes": CLASSES[:7]}, "differ in their classes, first '7 of them' and '8 of them'"),
        (
            {"labels": np.array([0, 5])},
            r"1 labels of the predictions are not those of cub:set, first that of '1\.jpg'",
        ),
    ],
)
def test_predictions_of_something_else_are_refused(changes: dict[str, Any], message: str) -> None:
    truth, maps = random_case(2)
    with pytest.raises(InputError, match=message):
        score_predictions(found_for(truth, maps, **changes), truth, ScoreOptions())


def test_an_image_of_unknown_size_is_refused() -> None:
    truth, maps = random_case(2)
    truth.sizes[1] = 0
    with pytest.raises(InputError, match=r"1 images of cub:set cannot be read.*first '1\.jpg'"):
        score_predictions(found_for(truth, maps), truth, ScoreOptions())


@pytest.mark.parametrize(
    "options",
    [
        ScoreOptions(sigma=1),
        ScoreOptions(sigma=-0.1),
        ScoreOptions(sigma=float("nan")),
        ScoreOptions(interval=0),
        ScoreOptions(interval=0.9),
        ScoreOptions(iou=()),
        ScoreOptions(iou=(0.5, 0)),
    ],
)
def test_options_without_meaning_are_refused(options: ScoreOptions) -> None:
    truth, maps = random_case(1)
    with pytest.raises(InputError, match="expected"):
        score_predictions(found_for(truth, maps), truth, options)
