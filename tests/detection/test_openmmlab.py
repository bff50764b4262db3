"""What the fork does wrong; a failing test here says that upstream mended it and the mending can go."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from eval_suite.detection.openmmlab import launcher, load_openmmlab, make_runner


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


@pytest.mark.long
def test_upstream_ssd_head_still_lacks_what_its_predict_reads() -> None:
    done = python(
        "import mmdet.datasets\nfrom mmdet.models.dense_heads import SSDHead, base_dense_head\n"
        "import inspect\n"
        "source = inspect.getsource(base_dense_head)\n"
        "print(not hasattr(SSDHead, 'loss_cls') and 'loss_cls' not in inspect.getsource(SSDHead.__init__)"
        " and \"getattr(self.loss_cls, 'custom_cls_channels'\" in source)"
    )
    assert done.stdout.endswith("True\n"), "upstream mended SSDHead.predict: drop point 1 of openmmlab.py"
    assert "Could not import OneDL" in done.stdout + done.stderr, (
        "upstream is quiet: drop point 2 of openmmlab.py"
    )


@pytest.mark.long
def test_our_import_is_quiet() -> None:
    done = python("from eval_suite.detection.openmmlab import load_openmmlab; load_openmmlab()")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_device_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_openmmlab()
    import mmengine.device.utils

    monkeypatch.setattr(mmengine.device.utils, "DEVICE", "cuda")
    runner = make_runner(tmp_path, torch.device("cpu"), model=torch.nn.Linear(1, 1))
    assert next(runner.model.parameters()).device.type == "cpu"


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [({}, "none"), ({"LOCAL_RANK": "0"}, "pytorch"), ({"SLURM_STEP_NUM_TASKS": "4"}, "slurm")],
)
def test_the_launcher_is_read_off_the_environment(
    variables: dict[str, str], wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOCAL_RANK", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launcher() == wanted


def test_a_missing_mmdetection_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "mmdet.py").write_text("raise ImportError('no operators')")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from eval_suite.core.errors import EvalSuiteError\n"
            "from eval_suite.detection.openmmlab import load_openmmlab\n"
            f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
            "try: load_openmmlab()\n"
            "except EvalSuiteError as error: print(error)",
        ],
        capture_output=True,
        text=True,
    )
    assert "detection needs MMDetection, which cannot be imported (no operators)" in done.stdout
