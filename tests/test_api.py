"""The public Python API: what a user calls, in memory and on disk, and parts of the user's own."""

import doctest
import hashlib
import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import eval_suite as es
from eval_suite.data.images import open_images
from tests.conftest import Said

Cli = Callable[..., Said]
PUBLIC = [name for name in es.__all__ if name != "__version__"]
MODULES = sorted({getattr(es, name).__module__ for name in PUBLIC})
# A regularizer and a task as a user writes them, one file each.
MY_MIX = '''
from dataclasses import dataclass
from typing import ClassVar

import eval_suite as es


@dataclass(frozen=True)
class Halves(es.Regularizer):
    """The left half of another image, always."""

    share: float = 0.5
    name: ClassVar[str] = "halves"
    stage: ClassVar[str] = "mix"
    paper: ClassVar[es.Paper] = es.Paper("Halves", "none", 2026, "https://example.org")

    def apply(self, images, targets, context):
        order = context.share.partners(images, __import__("torch").arange(len(images)).flip(0))
        width = round(self.share * images.shape[3])
        images[..., :width] = order[..., :width].clone()
        return es.Mixed(images, (1 - self.share) * targets + self.share * targets.flip(0))
'''
MY_TASK = '''
import json

import numpy as np

import eval_suite as es
from eval_suite.data.images import open_images

BRIGHTNESS = es.MetricKind("mean_brightness", "Mean brightness over {channel}")


class BrightOptions(es.TaskOptions):
    """Options of the bright task."""

    channel: str = "red"
    """Which channel to look at."""


class Bright(es.Task):
    """How bright the images are."""

    name = "bright"
    version = 1
    title = "Brightness"
    paper = es.Paper("Brightness", "none", 2026, "https://example.org")
    options = BrightOptions

    def predict(self, model, options, runtime, folder):
        index = open_images(options.data, options.split).subset(options.limit)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "predictions.json"
        path.write_text(json.dumps(index.ids))
        return path

    def score(self, predictions, options, truth, folder):
        ids = json.loads(predictions.read_text())
        found = es.MetricSet()
        found.mean(BRIGHTNESS, np.linspace(0, 1, len(ids)), {"channel": options.channel})
        n = len(ids)
        data = es.DataInfo(name="x", split="val", n_available=n, n_requested=n, n_scored=n, n_failed=0, sha256="ab")
        return es.Score(found, data, ids=ids)

    @classmethod
    def section(cls):
        return es.Section(cls.name, "Brightness of mine", "Just looks.", cls.paper, (es.Pick("mean_brightness"),))
'''


MY_SCORE = '''
import eval_suite as es


class Margin(es.OodScore):
    """The two largest logits' distance."""

    name = "margin"
    title = "margin"
    paper = es.Paper("Margin", "none", 2026, "https://example.org")

    def __call__(self, logits, features):
        top = logits.double().topk(2, dim=1).values
        return top[:, 0] - top[:, 1]
'''


MY_LAYOUT = '''
import numpy as np

import eval_suite as es


class CsvList(es.ImageLayout):
    """A table labels.csv of file and class."""

    name = "csv"

    @staticmethod
    def read(path):
        if not (path / "labels.csv").is_file():
            raise es.InputError(f"expected labels.csv in {path}, found none")

        def content():
            rows = [line.rsplit(",", 1) for line in (path / "labels.csv").read_text().splitlines()]
            classes = sorted({name for _, name in rows})
            labels = np.array([classes.index(name) for _, name in rows], np.int64)
            return es.Content(classes, [file for file, _ in rows], labels)

        return es.Layout({"val": content}, ("val",))
'''


MY_DETECTOR = '''
import eval_suite as es
from eval_suite.tasks.detect.detectors.base import FPN_CHANNELS, Schedule, assigner, coder, fpn, preprocessor


class RetinaSettings(Schedule):
    side: int = 64
    """Side that images are brought to."""


class Retina(es.Detector):
    """RetinaNet with cross entropy."""

    name = "retina"
    title = "RetinaNet"
    paper = es.Paper("Focal Loss", "ICCV", 2017, "https://arxiv.org/abs/1708.02002")
    options = RetinaSettings

    def config(self, levels, classes, card, *, head):
        strides = [level.stride for level in levels]
        return {
            "type": "RetinaNet",
            "data_preprocessor": preprocessor(card, divisor=32),
            "neck": fpn(levels, len(levels)),
            "bbox_head": {
                "type": "RetinaHead",
                "num_classes": classes,
                "in_channels": FPN_CHANNELS,
                "stacked_convs": 1,
                "anchor_generator": {"type": "AnchorGenerator", "octave_base_scale": 4, "scales_per_octave": 1, "ratios": [1.0], "strides": strides},
                "bbox_coder": coder((1.0, 1.0, 1.0, 1.0)),
                "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": True},
            },
            "train_cfg": {"assigner": assigner(0.5, 0.4, 0.0), "sampler": {"type": "PseudoSampler"}, "allowed_border": -1, "pos_weight": -1, "debug": False},
            "test_cfg": {"nms_pre": 100, "min_bbox_size": 0, "score_thr": 0.0, "nms": {"type": "nms", "iou_threshold": 0.5}, "max_per_img": 10},
        }

    def resize(self):
        return {"type": "Resize", "scale": (self.schedule.side, self.schedule.side), "keep_ratio": False}
'''


def small_net(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)
    )


def wrapped(name: str, seed: int) -> es.Backbone:
    return es.Backbone.wrap(small_net(seed), name=name, input_size=(64, 64))


def test_importing_loads_nothing_heavy() -> None:
    code = "import sys, eval_suite; sys.exit('torch' in sys.modules or 'pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    assert (getattr(es, name).__doc__ or "").strip()


@pytest.mark.parametrize(
    "module", [*MODULES, "eval_suite", "eval_suite.core.packages", "eval_suite.core.parts"]
)
def test_the_examples_run(module: str) -> None:
    assert doctest.testmod(importlib.import_module(module)).failed == 0


class TestEvaluate:
    def test_a_network_in_memory_leaves_nothing_on_disk(
        self, demo_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        backbone = wrapped("mine", 0)
        before = {key: value.clone() for key, value in backbone.net.state_dict().items()}
        record = es.evaluate(
            backbone, "classify", data=f"folder:{demo_world / 'images'}", device="cpu", workers=0
        )
        assert list(tmp_path.iterdir()) == []
        assert (record.status, record.backbone.name) == ("complete", "mine")
        assert record["top1_error"].value == record.metric("top1_error").value  # type: ignore[union-attr]
        assert record.outcomes is not None
        assert record.outcomes.values["top1_error"].mean() == pytest.approx(record["top1_error"].value)
        assert all(torch.equal(before[key], value) for key, value in backbone.net.state_dict().items())
        assert "in memory" in record.backbone.source
        assert record.backbone.assumed == ["mean", "std"]

    def test_it_is_what_the_command_line_computes(
        self, demo_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "net.py").write_text(
            "import torch\nfrom tests.test_api import small_net\ndef make():\n    return small_net(3)\n"
        )
        data = f"folder:{demo_world / 'images'}"
        said = cli(*f"classify --backbone net.py:make --data {data} --input-size 64 64 --device cpu".split())
        assert said.code == 0, said.err
        written = es.read_record(next(Path("reports").rglob("classify.json")))
        ours = es.evaluate(
            "net.py:make", "classify", data=data, settings={"input_size": (64, 64)}, device="cpu"
        )
        assert [(m.id, m.subset, m.value) for m in ours.metrics] == [
            (m.id, m.subset, m.value) for m in written.metrics
        ]

    def test_out_files_it_like_any_other(self, demo_world: Path, tmp_path: Path) -> None:
        out = tmp_path / "reports" / "mine"
        options: Any = {"data": f"folder:{demo_world / 'images'}", "device": "cpu", "workers": 0, "out": out}
        record = es.evaluate(wrapped("a", 0), "classify", **options)
        es.evaluate(wrapped("b", 1), "classify", **options)
        assert es.read_record(str(out / "results" / "a-s0" / "classify.json")) == record
        page = es.write_report(str(out), baseline="a")
        assert page.index.is_file()

    def test_a_network_trained_further_is_known_as_another(self, demo_world: Path) -> None:
        backbone = wrapped("mine", 0)
        request: dict[str, Any] = {"data": f"folder:{demo_world / 'images'}", "device": "cpu", "workers": 0}
        first = es.evaluate(backbone, "classify", **request)
        with torch.no_grad():
            next(backbone.net.parameters()).mul_(1.5)
        again = es.evaluate(backbone, "classify", **request)
        assert first.backbone.weights_sha256 == backbone.card.weights_sha256 != again.backbone.weights_sha256

    @pytest.mark.parametrize(
        ("settings", "expected"),
        [
            ({"mean": (123.7, 116.3, 103.5)}, "255"),
            ({"std": (0.0, 0.2, 0.2)}, "above 0"),
            ({"interpolation": "cubic"}, "bicubic"),
            ({"crop_fraction": 1.5}, "crop_fraction"),
            ({"classes": ["a", "b"]}, "outputs, 10, found 2"),
        ],
    )
    def test_a_network_is_not_wrapped_with_settings_that_cannot_be(
        self, settings: dict[str, Any], expected: str
    ) -> None:
        with pytest.raises(es.InputError, match=expected):
            es.Backbone.wrap(small_net(3), **{"input_size": (64, 64), **settings})

    def test_what_is_no_backbone_is_told_the_door(self, demo_world: Path) -> None:
        with pytest.raises(es.InputError, match=r"Backbone\.wrap"):
            es.evaluate(small_net(3), "classify", data=f"folder:{demo_world / 'images'}")  # type: ignore[arg-type]
        with pytest.raises(es.InputError, match=r"torch\.nn\.Module"):
            es.Backbone.wrap("resnet18")  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"task": "clasify"}, "classify"),
            ({"limt": 3}, "limit"),
            ({"device": "gpu"}, "device"),
            ({"data": "folder:nowhere"}, "nowhere"),
        ],
    )
    def test_wrong_requests_name_what_is_wrong(
        self, demo_world: Path, changes: dict[str, Any], expected: str
    ) -> None:
        request = {"task": "classify", "data": f"folder:{demo_world / 'images'}", **changes}
        with pytest.raises(es.InputError, match=expected):
            es.evaluate(wrapped("mine", 0), **request)


class TestCompare:
    def test_paired_differences_and_an_unknown_metric(self, demo_world: Path) -> None:
        data = f"folder:{demo_world / 'images'}"
        a, b = (
            es.evaluate(wrapped(name, seed), "classify", data=data, device="cpu", workers=0)
            for seed, name in enumerate("ab")
        )
        frame = es.compare([a, b], baseline="a").set_index(["key", "backbone"])
        row = frame.loc["top1_error", "b"]
        assert row["difference"] == pytest.approx((b["top1_error"].value or 0) - (a["top1_error"].value or 0))
        assert row["difference_low"] <= row["difference"] <= row["difference_high"]
        assert frame.loc["ece", "b"]["verdict"] == "untested"
        assert len(a.to_frame()) == len(a.metrics)
        assert "Top-1 error" in a._repr_html_()
        with pytest.raises(es.InputError, match="top1_error"):
            a["top1_eror"]

    def test_unlike_protocols_are_refused(self, demo_world: Path) -> None:
        data = f"folder:{demo_world / 'images'}"
        whole = es.evaluate(wrapped("a", 0), "classify", data=data, device="cpu", workers=0)
        part = es.evaluate(wrapped("b", 0), "classify", data=data, device="cpu", workers=0, limit=10)
        with pytest.raises(es.InputError, match="different data"):
            es.compare([whole, part])
        with pytest.raises(es.InputError, match="two of"):
            es.compare([whole, whole])


def test_a_regularizer_in_anybodys_loop() -> None:
    images, labels = torch.rand(6, 3, 16, 16), torch.arange(6)
    mixed = es.CutMix(alpha=1.0)(
        images.clone(), labels, num_classes=6, generator=torch.Generator().manual_seed(1)
    )
    assert torch.allclose(mixed.targets.sum(1), torch.ones(6))
    changed = (mixed.images != images).any(1).float().mean((1, 2))
    own = mixed.targets[torch.arange(6), labels]
    assert torch.allclose((1 - own)[own < 1], changed[own < 1], atol=1e-6)
    with pytest.raises(es.InputError, match="recipe"):
        es.StochasticDepth()(images, labels, num_classes=6, generator=torch.Generator())


def test_records_read_from_files_are_compared_item_by_item(demo_world: Path, tmp_path: Path) -> None:
    data, out = f"folder:{demo_world / 'images'}", tmp_path / "reports" / "both"
    made = [
        es.evaluate(wrapped(name, seed), "classify", data=data, out=out, device="cpu", workers=0)
        for seed, name in enumerate(("a", "b"))
    ]
    read = [es.read_record(out / "results" / f"{name}-s0" / "classify.json") for name in ("a", "b")]
    assert es.compare(read, baseline="a").equals(es.compare(made, baseline="a"))
    assert (
        not es.compare(read, baseline="a")
        .query("key == 'top1_error' and backbone == 'b'")["verdict"]
        .eq("untested")
        .any()
    )


class TestOwnParts:
    """One of the user's own from a folder: through YAML, the command line and Python, the report's section included."""

    def test_a_regularizer(
        self, tiny_recipe: Callable[..., es.Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("mine.py").write_text(MY_MIX)
        recipe = tiny_recipe(regularizers=[{"mine.py:Halves": {"share": 0.25}}], epochs=1)
        assert recipe.model_dump(mode="json")["regularizers"] == [{"mine.py:Halves": {"share": 0.25}}]
        assert es.Recipe.model_validate(recipe.model_dump(mode="json")).digest() == recipe.digest()
        backbone = es.train(recipe, device="cpu", workers=0)
        assert (backbone.card.recipe or {})["regularizers"] == [{"mine.py:Halves": {"share": 0.25}}]
        assert [
            path.name for path in tmp_path.iterdir() if path.is_dir() and path.name != "__pycache__"
        ] == []
        from eval_suite.core.parts import part

        in_memory = tiny_recipe(regularizers=[part("regularizer", "mine.py:Halves")(share=0.25)])
        assert in_memory.ordered_regularizers() == recipe.ordered_regularizers()

    def test_the_documentations_example(
        self, tiny_recipe: Callable[..., es.Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        page = (Path(__file__).parents[1] / "docs" / "parts.md").read_text("utf-8")
        (example,) = (block for block in page.split("```python\n") if block.startswith("# mine.py"))
        (tmp_path / "mine.py").write_text(example.partition("```")[0])
        monkeypatch.chdir(tmp_path)
        (halves,) = tiny_recipe(regularizers=[{"mine.py:Halves": {"share": 0.25}}]).ordered_regularizers()
        images, labels = torch.rand(4, 3, 8, 8), torch.arange(4)
        mixed = halves(images.clone(), labels, num_classes=4, generator=torch.Generator().manual_seed(0))
        assert torch.equal(mixed.images[..., 2:], images[..., 2:])
        assert torch.allclose(mixed.targets.sum(1), torch.ones(4))

    def test_a_wrong_option_of_it_is_named(
        self, tiny_recipe: Callable[..., es.Recipe], tmp_path: Path
    ) -> None:
        (tmp_path / "mine.py").write_text(MY_MIX)
        with pytest.raises(ValueError, match="shard"):
            tiny_recipe(regularizers=[{f"{tmp_path}/mine.py:Halves": {"shard": 1}}])
        with pytest.raises(ValueError, match=r"Did you mean 'Halves'"):
            tiny_recipe(regularizers=[f"{tmp_path}/mine.py:Halvs"])

    def test_a_task_from_python_and_the_command_line(
        self, demo_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("mine.py").write_text(MY_TASK)
        data = f"folder:{demo_world / 'images'}"
        record = es.evaluate(wrapped("net", 0), "mine.py:Bright", data=data, channel="blue", device="cpu")
        assert record["mean_brightness"].value == pytest.approx(0.5)
        assert (record.task.name, record.task.part) == ("bright", "mine.py:Bright")
        assert record.task.part_sha256 == hashlib.sha256(MY_TASK.encode()).hexdigest()
        assert record["mean_brightness"].name == "Mean brightness over blue"
        Path("net.py").write_text(
            "from tests.test_api import small_net\ndef make():\n    return small_net(3)\n"
        )
        words = f"mine.py:Bright --backbone net.py:make --data {data} --input-size 64 64 --device cpu --channel green"
        said = cli(*words.split())
        assert said.code == 0, said.err
        assert "Mean brightness over green" in said.out
        assert "Brightness of mine" in es.write_report(Path("reports/single")).index.read_text("utf-8")

    def test_an_ood_score(
        self, demo_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("mine.py").write_text(MY_SCORE)
        Path("net.py").write_text(
            "from tests.test_api import small_net\ndef make():\n    return small_net(3)\n"
        )
        data, scores = f"folder:{demo_world / 'images'}", ["energy", "mine.py:Margin"]
        options: Any = {
            "data": data,
            "outliers": ["uniform"],
            "scores": scores,
            "device": "cpu",
            "workers": 0,
        }
        record = es.evaluate(wrapped("net", 3), "ood", **options)
        margin = record.metric("auroc", score="margin")
        assert margin is not None
        assert margin.name == "AUROC, margin"
        assert 0 <= (margin.value or 0) <= 1
        words = f"ood --backbone net.py:make --data {data} --input-size 64 64 --outliers uniform --device cpu"
        said = cli(*words.split(), "--scores", *scores)
        assert said.code == 0, said.err
        filed = es.read_record(Path("reports/single/results/make-s0/ood.json"))
        assert filed.metric("auroc", score="margin").value == margin.value  # type: ignore[union-attr]
        assert "AUROC, margin" in es.write_report(Path("reports/single")).index.read_text("utf-8")

    def test_a_data_layout(
        self, demo_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("mine.py").write_text(MY_LAYOUT)
        folder = demo_world / "images" / "images"
        index = open_images(f"cub:{demo_world / 'images'}", "test")
        rows = [
            f"{folder.parent / name},{index.classes[k]}"
            for name, k in zip(index.ids, index.labels, strict=True)
        ]
        Path("set").mkdir()
        Path("set/labels.csv").write_text("\n".join(rows))
        here = es.evaluate(wrapped("net", 3), "classify", data="mine.py:CsvList:set", device="cpu", workers=0)
        there = es.evaluate(
            wrapped("net", 3), "classify", data=f"cub:{demo_world / 'images'}", device="cpu", workers=0
        )
        assert here["top1_error"].value == there["top1_error"].value
        assert here["nll"].value == there["nll"].value
        said = cli("data", "check", "mine.py:CsvList:set")
        assert said.code == 0, said.err
        assert f"{len(rows)} images" in said.out
        wrong = cli("data", "check", "mine.py:CsvList:.")
        assert wrong.code != 0
        assert "expected labels.csv" in wrong.err + wrong.out

    def test_a_detector(
        self, demo_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("mine.py").write_text(MY_DETECTOR)
        settings = {"retina": {"batch_size": 2, "warmup": 0, "iterations": 2}}
        Path("suite.yaml").write_text(
            f"name: own\nseeds: [0]\nruntime: {{device: cpu, workers: 0}}\nbackbones:\n"
            f"  net: {{source: net.py:make, input_size: [64, 64]}}\n"
            f"tasks:\n  detect: {{data: 'voc:{demo_world}', detectors: [mine.py:Retina], detector_settings: {json.dumps(settings)}}}\n"
        )
        Path("net.py").write_text(
            "import timm\nimport torch\ndef make():\n    torch.manual_seed(0)\n    return timm.create_model('resnet10t')\n"
        )
        words = "detect --suite suite.yaml --backbone net"
        said = cli(*words.split())
        assert said.code == 0, said.err
        filed = es.read_record(Path("reports/own/results/net-s0/detect.json"))
        metric = filed.metric("map", detector="retina", variant="area", plus_one=False)
        assert metric is not None
        assert filed.metrics[0] == filed.metric("map", detector="retina", variant="voc07", plus_one=False)
        backbone = es.load_backbone("net.py:make", input_size=(64, 64))
        record = es.evaluate(
            backbone,
            "detect",
            data=f"voc:{demo_world}",
            detectors=["mine.py:Retina"],
            detector_settings=settings,
            device="cpu",
            workers=0,
        )
        again = record.metric("map", detector="retina", variant="area", plus_one=False)
        assert again is not None
        assert again.value == metric.value
        assert "retina mAP" in es.write_report(Path("reports/own")).index.read_text("utf-8")
        with pytest.raises(es.InputError, match="lrr"):
            es.evaluate(
                backbone,
                "detect",
                data=f"voc:{demo_world}",
                detectors=["mine.py:Retina"],
                detector_settings={"retina": {"lrr": 1}},
            )

    @pytest.mark.long
    def test_both_in_a_suite(
        self, demo_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("mix.py").write_text(MY_MIX)
        Path("task.py").write_text(MY_TASK)
        Path("mine.yaml").write_text(
            f"""
name: mine
title: Mine
recipe: {{arch: resnet14_demo, arch_options: {{blocks: 1, channels: [4, 8, 16]}}, data: 'folder:{demo_world / "images"}',
  augmentation: none, input_size: [64, 64], epochs: 1, batch_size: 16}}
backbones:
  baseline: {{}}
  halves: {{regularizers: [{{'mix.py:Halves': {{share: 0.25}}}}]}}
tasks:
  'task.py:Bright': {{data: 'folder:{demo_world / "images"}', channel: red}}
"""
        )
        said = cli("run", "mine.yaml", "--jobs", "2")
        assert said.code == 0, said.out + said.err
        record = es.read_record(Path("reports/mine/results/halves-s0/bright.json"))
        assert np.isclose(record["mean_brightness"].value or 0, 0.5)
        assert "Brightness of mine" in Path("reports/mine/index.html").read_text("utf-8")
        assert "5 done" in said.out or "4 done" in said.out
