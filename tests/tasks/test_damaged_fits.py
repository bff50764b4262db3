"""What a fit left and was damaged since: each task names the file to remove, in one line, and computes nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
import torch
from safetensors.torch import load_file, save_file

import eval_suite as es
from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.checkpoint import load_state, save_state, state_sha256
from eval_suite.core.errors import InputError
from eval_suite.tasks.evaluate import task_named
from eval_suite.training.fit_run import STATE, WEIGHTS, FitRun
from tests.data.masks_on_disk import write_devkit
from tests.tasks.detect.conftest import make_backbone

pytestmark = pytest.mark.long  # MMDetection is imported

OPTIONS: dict[str, dict[str, Any]] = {
    "wsol": {"fit": {"preset": "custom", "epochs": 1, "batch_size": 16}},
    "segment": {"short_side": 32, "iterations": 2, "fit_batch_size": 2, "warmup": 0},
    "caption": {"embed": 4, "hidden": 4, "epochs": 1, "min_count": 2},
    "detect": {
        "detectors": ["ssd"],
        "iterations": 2,
        "ssd": {"input_size": (64, 64), "batch_size": 2, "warmup": 0, "augmentation": "flip"},
    },
    "probe": {"probes": ["linear"], "linear_c": (1.0,), "max_iterations": 5},
}
RESUMING = [task for task in OPTIONS if task != "probe"]


class StoppedError(Exception):
    """Stands for a kill."""


class Place(NamedTuple):
    """Where a fit lies, and the evaluation that reads it."""

    root: Path
    evaluate: Callable[[], es.Record]

    def file(self, name: str) -> Path:
        (found,) = (self.root / "checkpoints").rglob(name)
        return found


def network() -> Backbone:
    torch.manual_seed(0)
    return make_backbone(blocks=1, channels=(4, 8, 16))


@pytest.fixture
def place(task: str, demo_world: Path, tmp_path: Path) -> Place:
    sources = {"wsol": f"cub:{demo_world / 'images'}", "caption": f"coco:{demo_world / 'coco'}"}
    options = {"data": sources.get(task, f"folder:{demo_world / 'images'}"), **OPTIONS[task]}
    if task == "detect":
        options["data"] = f"voc:{demo_world}"
    if task == "segment":
        devkit = write_devkit(tmp_path / "VOCdevkit")
        options |= {"data": f"voc:{devkit}", "classes": devkit / "classes.txt"}
    out = tmp_path / "reports" / "one"
    return Place(tmp_path, lambda: es.evaluate(network(), task, out=out, device="cpu", workers=0, **options))


def require_the_file_to_be_named(place: Place, file: Path) -> None:
    with pytest.raises(InputError) as caught:
        place.evaluate()
    assert Path(caught.value.where) == file
    assert "remove" in caught.value.remedy
    assert "\n" not in str(caught.value)
    assert not list(place.root.glob("reports/one/results/*/*.json"))


def damages(content: bytes) -> list[bytes]:
    return [content[: len(content) // 2], content[:-1], b"", b"weights: none\n"]


@pytest.mark.parametrize("task", OPTIONS)
def test_weights(task: str, place: Place) -> None:
    with (
        patch.object(type(task_named(task)), "predict", side_effect=StoppedError),
        pytest.raises(StoppedError),
    ):
        place.evaluate()
    for left in place.root.glob("reports/one/results/*/*.json"):
        left.unlink()
    file = place.file(WEIGHTS)
    weights = load_file(file)
    for damaged in damages(file.read_bytes()):
        file.write_bytes(damaged)
        require_the_file_to_be_named(place, file)
    other = {name: torch.zeros(7) for name in weights}
    save_file(other, file)
    require_the_file_to_be_named(place, file)
    (description,) = (p for p in file.parent.glob("*.json") if "weights_sha256" in json.loads(p.read_text()))
    description.write_text(
        json.dumps(json.loads(description.read_text()) | {"weights_sha256": state_sha256(other)})
    )
    require_the_file_to_be_named(place, file)


@pytest.mark.parametrize("task", RESUMING)
def test_states(task: str, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FitRun, "due", lambda _fit: True)
    with patch.object(FitRun, "finish", side_effect=StoppedError), pytest.raises(StoppedError):
        place.evaluate()
    for left in place.root.glob("reports/one/results/*/*.json"):
        left.unlink()
    file = place.file(STATE)
    content, state = file.read_bytes(), load_state(file)
    assert state is not None
    for damaged in damages(content):
        file.write_bytes(damaged)
        require_the_file_to_be_named(place, file)
    weights = next(name for name in ("weights", "model") if name in state)
    for change in (
        {weights: {name: torch.zeros(7) for name in state[weights]}},
        {"optimizer": {}},
        {weights: 3},
    ):
        save_state(file, state | change)
        require_the_file_to_be_named(place, file)
    file.unlink()
    with (
        patch.object(type(task_named(task)), "predict", side_effect=StoppedError),
        pytest.raises(StoppedError),
    ):
        place.evaluate()  # what was named is removed
