"""The task from a backbone to its record's numbers, and scoring of files made elsewhere."""

import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.checkpoint import state_sha256
from eval_suite.core.errors import InputError
from eval_suite.core.records import metric_id
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.data.objects import ObjectIndex
from eval_suite.data.voc import open_voc
from eval_suite.report.printed import published_numbers
from eval_suite.tasks.base import Score
from eval_suite.tasks.detect import fit as fitting
from eval_suite.tasks.detect.detectors.ssd import Ssd
from eval_suite.tasks.detect.fit import Fitted
from eval_suite.tasks.detect.matching import Detections
from eval_suite.tasks.detect.metrics import detectors
from eval_suite.tasks.detect.models import build_detector
from eval_suite.tasks.detect.options import DetectOptions
from eval_suite.tasks.detect.predict import predict_detector
from eval_suite.tasks.detect.predictions import write_detections, write_run
from eval_suite.tasks.detect.report import SECTION
from eval_suite.tasks.detect.score import score_detector
from eval_suite.tasks.detect.task import DetectTask
from eval_suite.tasks.evaluate import headline
from tests.conftest import Said
from tests.tasks.detect.conftest import small_options

RUNTIME = RuntimeOptions(device="cpu", threads=1, workers=0, batch_size=4)


@pytest.fixture
def index(demo_world: Path) -> ObjectIndex:
    return open_voc(f"voc:{demo_world}")


def near_the_truth(index: ObjectIndex, seed: int = 0) -> Detections:
    """Moved copies of all objects, and some boxes of nothing."""
    rng = np.random.default_rng(seed)
    image = np.concatenate([index.image, index.image, rng.integers(0, len(index), 30)])
    labels = np.concatenate([index.labels, index.labels, rng.integers(0, len(index.classes), 30)])
    start = rng.uniform(0, 60, (30, 2))
    boxes = np.concatenate(
        [index.boxes, index.boxes, np.hstack([start, start + rng.uniform(5, 30, (30, 2))])]
    )
    boxes = boxes + rng.normal(0, 2, boxes.shape)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    order = np.argsort(image, kind="stable")
    return Detections(
        image[order],
        labels[order],
        boxes[order].astype(np.float32).astype(np.float64),
        rng.permutation(len(image)) / len(image),
    )


def run(backbone: Backbone, options: DetectOptions, folder: Path) -> Score:
    task = DetectTask()
    card = backbone.card.model_copy(deep=True)
    fit = task.fit(Backbone(backbone.net, card), options, RUNTIME, 0, folder / "fit")
    predictions = task.predict(fit.model, options, RUNTIME, folder / "detect")
    return task.score(predictions, options, None, folder / "detect")


def test_a_split_that_is_not_there_is_refused_before_anything_is_fitted(
    tiny_backbone: Backbone, demo_world: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="has no split 'VOC2007/tst'"):
        run(tiny_backbone, small_options(demo_world, split="VOC2007/tst"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_splits_are_resolved_and_the_fit_tells_what_it_learnt_from(
    tiny_backbone: Backbone, demo_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fitted(model: Any, *_arguments: Any, **_options: Any) -> Fitted:
        return Fitted(model, 0.0)

    monkeypatch.setattr(fitting, "fit_detector", fitted)
    task, options = DetectTask(), small_options(demo_world, detectors=("ssd",))
    named = task.resolved(options)
    assert (named.split, named.train_split) == ("VOC2007/test", "VOC2007/trainval+VOC2012/trainval")
    assert task.resolved(named) == named
    learnt = task.fit(tiny_backbone, options, RUNTIME, 0, tmp_path).data
    images = open_voc(options.data, named.train_split)
    assert learnt is not None
    assert (learnt.split, learnt.sha256) == (named.train_split, images.sha256())
    assert (learnt.n_available, learnt.n_scored, learnt.n_failed) == (len(images), len(images), 0)


@pytest.mark.parametrize(("world", "flag", "batch"), [(2, "--faster-rcnn", 3), (16, "--ssd", 8)])
def test_a_batch_that_the_processes_cannot_share_is_refused_before_anything_is_fitted(
    tiny_backbone: Backbone,
    demo_world: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    world: int,
    flag: str,
    batch: int,
) -> None:
    options = small_options(demo_world)
    name = flag.strip("-").replace("-", "_")
    uneven = getattr(options, name).model_copy(update={"batch_size": batch})
    monkeypatch.setenv("WORLD_SIZE", str(world))
    message = f"a batch of {batch} images cannot be divided evenly into {world} processes; .* {flag}.batch-size .* multiple of {world}"
    with pytest.raises(InputError, match=message):
        run(tiny_backbone, options.model_copy(update={name: uneven}), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_from_backbone_to_numbers(tiny_backbone: Backbone, demo_world: Path, tmp_path: Path) -> None:
    options = small_options(demo_world, detectors=tuple(detectors()))
    score = run(tiny_backbone, options, tmp_path)
    assert [m.name for m in score.metrics[:4]] == [
        "SSD mAP (VOC07 11-point, no +1)",
        "SSD-FPN mAP (VOC07 11-point, no +1)",
        "Faster R-CNN C4 mAP (VOC07 11-point, +1)",
        "Faster R-CNN FPN mAP (VOC07 11-point, +1)",
    ]
    assert (score.data.n_available, score.data.n_scored, score.data.n_failed) == (6, 6, 0)
    assert len(score.examples) == 4 * 4
    assert all((tmp_path / "detect" / e.image.removeprefix("detect/")).is_file() for e in score.examples)
    by_id = {metric.id: metric.value for metric in score.metrics if metric.subset is None}
    for name, values in score.outcomes.items():
        assert values.mean() == pytest.approx(by_id[name])
    fewer = small_options(demo_world, detectors=("ssd",))
    again = run(tiny_backbone, fewer, tmp_path)
    assert {m.name.split(" ")[0] for m in again.metrics} == {"SSD"}
    card = tiny_backbone.card.model_copy(deep=True)
    DetectTask().fit(Backbone(tiny_backbone.net, card), fewer, RUNTIME, 0, tmp_path / "fit")
    weights = load_file(tmp_path / "fit/ssd/model.safetensors")
    assert card.fitted_sha256 == {"ssd": state_sha256(weights)}


@pytest.mark.long
def test_unreadable_images_are_counted_or_stop_it(
    tiny_backbone: Backbone, index: ObjectIndex, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(index.paths[2].read_bytes()[:400])
    damaged = replace(index, paths=[broken if i == 2 else path for i, path in enumerate(index.paths)])
    model = build_detector(small_options().detector("ssd"), tiny_backbone, 10, seed=0).model
    found = predict_detector(model, small_options().detector("ssd"), damaged, RUNTIME, label="x")
    assert found.failed == [index.ids[2]]
    assert 2 not in found.detections.image
    assert "1 of 6 images cannot be read" in capsys.readouterr().err
    with pytest.raises(InputError, match=f"cannot read {index.ids[2]}"):
        predict_detector(model, small_options().detector("ssd"), damaged, RUNTIME, label="x", strict=True)
    for i in range(6):
        damaged.paths[i] = broken
    with pytest.raises(InputError, match="none of the 6 images"):
        predict_detector(model, small_options().detector("ssd"), damaged, RUNTIME, label="x")


@pytest.mark.parametrize("detector", ["ssd", "faster-rcnn-c4"])
def test_batch_size_does_not_matter(tiny_backbone: Backbone, index: ObjectIndex, detector: str) -> None:
    model = build_detector(small_options().detector(detector), tiny_backbone, 10, seed=0).model
    one, many = (
        predict_detector(
            model,
            small_options().detector(detector),
            index,
            RUNTIME.model_copy(update={"batch_size": size}),
            label="x",
        ).detections
        for size in (1, 6)
    )
    assert len(one.image) == len(many.image) > 0
    np.testing.assert_allclose(one.scores, many.scores, rtol=1e-4)
    # An untrained head's scores are nearly tied, and rounding decides which of two comes first.
    for a, b in ((one, many), (many, one)):
        for image, label, score, box in zip(a.image, a.labels, a.scores, a.boxes, strict=True):
            same = (b.image == image) & (b.labels == label) & np.isclose(b.scores, score, rtol=1e-4)
            assert np.isclose(b.boxes[same], box, atol=1e-2).all(axis=1).any()


def test_all_metrics_agree_with_mmdetections_voc_metric(index: ObjectIndex) -> None:
    pytest.importorskip("mmdet")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mmdet.evaluation import VOCMetric
    found = near_the_truth(index)
    index = replace(index, difficult=np.arange(len(index.boxes)) % 4 == 1)
    ours = {m.name: m.value for m in score_detector(found, index).metrics if m.subset is None}
    samples = []
    for i in range(len(index)):
        mine, easy = found.select(found.image == i), (index.image == i) & ~index.difficult
        hard = (index.image == i) & index.difficult

        def instances(rows: np.ndarray) -> dict[str, torch.Tensor]:
            return {"bboxes": torch.tensor(index.boxes[rows]), "labels": torch.tensor(index.labels[rows])}

        samples.append(
            {
                "gt_instances": instances(easy),
                "ignored_instances": instances(hard),
                "pred_instances": {
                    "bboxes": torch.tensor(mine.boxes, dtype=torch.float32),
                    "labels": torch.tensor(mine.labels),
                    "scores": torch.tensor(mine.scores, dtype=torch.float32),
                },
            }
        )
    for variant, mode in (("VOC07 11-point", "11points"), ("area", "area")):
        metric = VOCMetric(iou_thrs=0.5, eval_mode=mode)
        metric.dataset_meta = {"classes": tuple(index.classes)}
        metric.process({}, samples)
        assert ours[f"mAP ({variant}, +1)"] == pytest.approx(
            metric.evaluate(len(index))["pascal_voc/mAP"], abs=1e-4
        )


def test_coco_ap_is_pycocotools_where_nothing_is_difficult(index: ObjectIndex) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    found = near_the_truth(index)
    easy = replace(index, difficult=np.zeros(len(index.boxes), bool))
    rows = [
        {
            "image_id": int(i),
            "category_id": int(c),
            "bbox": [b[0], b[1], b[2] - b[0] + 1, b[3] - b[1] + 1],
            "score": float(s),
        }
        for i, c, b, s in zip(*(part.tolist() for part in found), strict=True)
    ]
    truth = COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": i} for i in range(len(index))],
        "categories": [{"id": c} for c in range(10)],
        "annotations": [
            {
                "id": k + 1,
                "image_id": int(i),
                "category_id": int(c),
                "iscrowd": 0,
                "bbox": [b[0], b[1], b[2] - b[0] + 1, b[3] - b[1] + 1],
                "area": (b[2] - b[0] + 1) * (b[3] - b[1] + 1),
            }
            for k, (i, c, b) in enumerate(zip(index.image, index.labels, index.boxes.tolist(), strict=True))
        ],
    }
    truth.createIndex()
    evaluation = COCOeval(truth, truth.loadRes(rows), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    ours = {m.name: m.value for m in score_detector(found, easy).metrics}
    names = ("COCO AP (IoU 0.50:0.95)", "COCO AP50", "COCO AP75")
    assert [ours[name] for name in names] == pytest.approx(evaluation.stats[:3].tolist())


@pytest.mark.parametrize("found_too", [True, False])
def test_a_difficult_object_changes_nothing_found_or_not(index: ObjectIndex, found_too: bool) -> None:
    hard = replace(index, difficult=np.arange(len(index.boxes)) == 0)
    scores = np.linspace(1, 0.5, len(index.boxes))
    perfect = Detections(index.image, index.labels, index.boxes.astype(float), scores)
    detections = perfect.select(np.arange(len(scores)) >= (0 if found_too else 1))
    values = [m.value for m in score_detector(detections, hard).metrics]
    assert values == pytest.approx([1.0] * len(values))


def test_perfect_detections_score_one_and_none_score_zero(index: ObjectIndex) -> None:
    perfect = Detections(
        index.image, index.labels, index.boxes.astype(float), np.linspace(0.5, 1, len(index.boxes))
    )
    nothing = perfect.select(np.zeros(len(index.boxes), bool))
    for detections, value in ((perfect, 1.0), (nothing, 0.0)):
        score = score_detector(detections, index, Ssd)
        assert [m.value for m in score.metrics] == pytest.approx([value] * len(score.metrics))
        assert score.metrics[0].name == "SSD mAP (VOC07 11-point, no +1)"
        assert score.curves[0].name == "SSD precision-recall (mean over classes)"
        assert score.curves[0].y == pytest.approx([value] * 101)


def test_every_map_can_be_compared_between_detectors(index: ObjectIndex) -> None:
    score = score_detector(near_the_truth(index), index, Ssd, ious=(0.75,))
    values = {m.id: m.value for m in score.metrics if m.key == "map"}
    assert len(values) == 5
    areas = {id_ for id_ in values if "area" in id_}
    assert set(score.outcomes) == areas
    for id_ in areas:
        assert score.outcomes[id_].mean() == pytest.approx(values[id_], abs=1e-12)
    assert set(score.resampled) == set(values) - areas
    metric = score.metrics[0]
    assert metric.interval is not None
    half = 1.959964 * np.std(score.resampled[metric.id], ddof=1)
    assert (metric.interval[1] - metric.interval[0]) / 2 == pytest.approx(half, rel=1e-5)


def test_record_report_and_names_agree_on_the_headlines(index: ObjectIndex) -> None:
    assert list(detectors()) == ["ssd", "ssd-fpn", "faster-rcnn-c4", "faster-rcnn-fpn"]
    first = [
        score_detector(near_the_truth(index), index, kind).metrics[0].id for kind in detectors().values()
    ]
    assert first == [
        metric_id(pick.key, pick.params) for pick in SECTION.headline if pick.params.get("variant") == "voc07"
    ]
    assert {each.id for each in published_numbers() if each.task == "detect"} <= set(first)


def test_without_a_hit_or_a_mistake_the_map_has_no_interval(index: ObjectIndex) -> None:
    perfect = Detections(index.image, index.labels, index.boxes.astype(float), np.ones(len(index.boxes)))
    for detections in (perfect, perfect.select(np.zeros(len(index.boxes), bool))):
        metrics = [m for m in score_detector(detections, index).metrics if m.name.startswith("mAP")]
        assert len(metrics) == 4
        for metric in metrics:
            assert (metric.interval, metric.method) == (None, None)
            assert metric.reason == "every resample of the items gives the same value"
        assert headline(metrics).endswith(
            "no interval as every resample of the items gives the same value (n = 6)"
        )


def test_the_interval_of_the_map_lies_in_its_range(index: ObjectIndex) -> None:
    # Three hits below four sure mistakes: taken as linear in the images' weights, the mAP would fall below zero.
    label, each = index.labels[0], np.arange(7) % len(index)
    box = np.array([[0.0, 0.0, 9.0, 9.0]])
    alike = replace(
        index,
        image=np.arange(len(index)),
        labels=np.full(len(index), label),
        boxes=box.repeat(len(index), axis=0),
        difficult=np.zeros(len(index), bool),
        crowd=np.zeros(len(index), bool),
    )
    boxes = np.concatenate([box.repeat(3, axis=0), box.repeat(4, axis=0) + 50])
    found = Detections(each, np.full(7, label), boxes, np.linspace(0.1, 0.9, 7))
    for metric in score_detector(found, alike).metrics[:4]:
        assert metric.value is not None
        assert metric.interval is not None
        low, high = metric.interval
        assert 0 <= low < metric.value < high <= 1


def test_without_objects_there_is_no_number(index: ObjectIndex) -> None:
    hard = replace(index, difficult=np.ones(len(index.boxes), bool))
    score = score_detector(near_the_truth(index), hard)
    assert all(m.value is None and m.reason for m in score.metrics)
    assert not score.outcomes


class TestScoreCommand:
    def test_a_file_made_elsewhere(
        self, index: ObjectIndex, demo_world: Path, tmp_path: Path, cli: Callable[..., Said]
    ) -> None:
        path = tmp_path / "theirs.json"
        found = near_the_truth(index)
        write_detections(path, index, found)
        out = tmp_path / "metrics.json"
        said = cli(
            "score", "detect", "--predictions", path, "--truth", f"voc:{demo_world}", "--json-file", out
        )
        assert said.code == 0, said.err
        wanted = score_detector(found, index).metrics[0]
        assert f"{wanted.name} {100 * wanted.value:.2f} %" in said.out.splitlines()[-1]  # type: ignore[operator]
        assert json.loads(out.read_text())[0]["name"] == "mAP (VOC07 11-point, +1)"

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"image_id": 4}, "unknown: 4"),
            ({"category_id": 99}, "unknown: 99"),
            ({"bbox": [1]}, "4 finite numbers"),
        ],
    )
    def test_wrong_entries(
        self, change: dict[str, Any], words: str, demo_world: Path, tmp_path: Path, cli: Callable[..., Said]
    ) -> None:
        path = tmp_path / "theirs.json"
        entry = {"image_id": 13, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5, **change}
        path.write_text(json.dumps([entry]))
        said = cli("score", "detect", "--predictions", path, "--truth", f"voc:{demo_world}")
        assert said.code == 2
        assert words in said.err
        assert said.err.count("\n") == 1

    def test_a_file_of_ours_is_scored_on_the_images_looked_at(
        self, index: ObjectIndex, demo_world: Path, tmp_path: Path, cli: Callable[..., Said]
    ) -> None:
        part = index.subset(3)
        truth = Detections(part.image, part.labels, part.boxes.astype(float), np.ones(len(part.boxes)))
        seen = truth.select(truth.image != 1)  # the second image was looked at, and nothing found in it
        write_detections(tmp_path / "ssd.json", part, seen)
        write_run(tmp_path, index.about(part, []), part, [])
        known = ("--truth", f"voc:{demo_world}")
        folder = cli("score", "detect", "--predictions", tmp_path, *known)
        file = cli("score", "detect", "--predictions", tmp_path / "ssd.json", *known)
        assert (folder.code, file.code) == (0, 0)
        assert folder.err == file.err == "warning: partial: scored 3 of 6 items\n"
        wanted = score_detector(seen, part, Ssd).metrics[0]
        assert wanted.name == "SSD mAP (VOC07 11-point, no +1)"
        end = f"{wanted.name} {100 * wanted.value:.2f} %"  # type: ignore[operator]
        assert end in file.out.splitlines()[-1]
        assert file.out.splitlines()[:-1] == folder.out.splitlines()[:-1]
        (tmp_path / "images.json").write_text('{"images": []}')
        broken = cli("score", "detect", "--predictions", tmp_path / "ssd.json", *known)
        assert (broken.code, "expected the images that were predicted on in" in broken.err) == (2, True)

    def test_without_a_list_images_that_nothing_was_found_in_are_told(
        self, index: ObjectIndex, demo_world: Path, tmp_path: Path, cli: Callable[..., Said]
    ) -> None:
        found = near_the_truth(index)
        write_detections(tmp_path / "theirs.json", index, found.select(found.image < 4))
        said = cli(
            "score", "detect", "--predictions", tmp_path / "theirs.json", "--truth", f"voc:{demo_world}"
        )
        assert said.code == 0
        assert said.err.startswith("warning: 2 of 6 images of voc:")
        assert "all their objects count as missed" in said.err
        assert said.err.count("\n") == 1

    def test_a_list_of_other_images(
        self, index: ObjectIndex, demo_world: Path, tmp_path: Path, cli: Callable[..., Said]
    ) -> None:
        write_detections(tmp_path / "ssd.json", index, near_the_truth(index))
        write_run(tmp_path, index.about(index, []), index, [])
        where = ("--truth", f"voc:{demo_world}", "--split", "VOC2007/val")
        said = cli("score", "detect", "--predictions", tmp_path / "ssd.json", *where)
        assert said.code == 2
        assert "found 6 others, first 'VOC2007/" in said.err
        assert "name the split they are of with --split" in said.err

    def test_no_truth(self, tmp_path: Path, cli: Callable[..., Said]) -> None:
        (tmp_path / "a.json").write_text("[]")
        said = cli("score", "detect", "--predictions", tmp_path / "a.json")
        assert (said.code, "--truth voc:PATH" in said.err) == (2, True)


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("Annotations/000001.xml", "<annotation>", '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>', "refused"),
        ("Annotations/000001.xml", "<name>", "<name>un", "unknown class 'un"),
        ("Annotations/000001.xml", "<xmin>", "<xmin>9999", "expected a box within"),
        ("Annotations/000001.xml", "<width>", "<width>1", "expected an image of 1"),
        ("ImageSets/Main/trainval.txt", "000001", "../../../etc/passwd", "expected an annotation at"),
        ("ImageSets/Main/trainval.txt", "000001", "nothing", "expected an annotation at"),
    ],
)  # fmt: skip
def test_bad_data_end_the_command_in_one_line_before_anything_is_written(
    file: str,
    old: str,
    new: str,
    words: str,
    demo_world: Path,
    tmp_path: Path,
    cli: Callable[..., Said],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(demo_world / "VOCdevkit", tmp_path / "VOCdevkit")
    path = tmp_path / "VOCdevkit/VOC2007" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    (tmp_path / "net.py").write_text(
        "from eval_suite.backbones.building import build_net\ndef make(): return build_net('resnet14_demo', 10, {})\n"
    )
    monkeypatch.chdir(tmp_path)
    said = cli("detect", "--backbone", "net.py:make", "--data", "voc:VOCdevkit", "--input-size", 64, 64)
    assert said.code == 2
    *notes, error = said.err.splitlines()
    assert words in error
    assert error.startswith("error: ")
    assert not any(line.startswith(("error", "Traceback")) for line in notes)
    assert not (tmp_path / "reports").exists()
    assert not (tmp_path / "checkpoints").exists()


def test_wrong_options_are_refused() -> None:
    for wrong in ({"detectors": ()}, {"detectors": ("ssd", "ssd")}, {"ssd": {"milestones": (0.9, 0.5)}}):
        with pytest.raises(ValueError, match="expected"):
            DetectOptions.model_validate({"data": "voc:x", **wrong})


def test_the_short_form_has_the_steps_of_so_many_passes() -> None:
    options = DetectOptions(data="voc:x", iterations=7)
    assert options.smoke_options(None, 10) == {"limit": 10}
    short = options.smoke_options(2, 100)
    assert (short["limit"], short["iterations"]) == (100, None)
    assert (short["ssd"], short["faster_rcnn"]) == ({"iterations": 7}, {"iterations": 25})
    assert options.smoke_options(1, None)["ssd"] == {"iterations": 518}
