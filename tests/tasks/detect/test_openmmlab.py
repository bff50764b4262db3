"""What the fork does wrong; a failing test here says that upstream mended it and the mending can go."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from eval_suite.tasks.detect.openmmlab import load_openmmlab, make_runner

# Meets every fault in an interpreter where nothing is mended, and prints what happened.
UNMENDED = """
import contextlib, io, json, os, pathlib, sys, warnings

said = io.StringIO()
with warnings.catch_warnings(record=True) as warned, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
    warnings.simplefilter("always")
    from eval_suite.tasks.detect.operators import register_operators
    register_operators()
    import mmdet.datasets, mmdet.models
import mmengine.device.utils, mmengine.runner.runner, torch
from mmdet.models.dense_heads import SSDHead
from mmdet.structures import DetDataSample

def error_of(call):
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "none"

found = {"import says": said.getvalue(), "import warns": [str(each.message) for each in warned]}

anchors = {"type": "SSDAnchorGenerator", "scale_major": False, "strides": [8], "ratios": [[2]], "min_sizes": [8],
           "max_sizes": [16]}
nms = {"nms_pre": 10, "score_thr": 0.0, "nms": {"type": "nms", "iou_threshold": 0.5}, "max_per_img": 5}
head = SSDHead(num_classes=2, in_channels=[4], anchor_generator=anchors, test_cfg=mmengine.ConfigDict(nms))
image = DetDataSample(metainfo={"img_shape": (8, 8), "scale_factor": (1.0, 1.0)})
found["ssd predicts"] = error_of(lambda: head.predict((torch.zeros(1, 4, 1, 1),), [image]))
SSDHead.loss_cls = None
with torch.autocast("cpu", torch.bfloat16):
    found["boxes in bf16"] = str(head.predict((torch.zeros(1, 4, 1, 1),), [image])[0].bboxes.dtype)
train_step = torch.optim.SGD(head.parameters())
found["bf16 steps"] = error_of(lambda: mmengine.optim.AmpOptimWrapper(optimizer=train_step, dtype="bfloat16"))

described, console = [], io.StringIO()
mmengine.runner.runner.collect_env = lambda: described.append("machine") or {}
mmengine.device.utils.DEVICE = "meta"
with contextlib.redirect_stdout(console), contextlib.redirect_stderr(console):
    runner = mmengine.runner.Runner(model=torch.nn.Linear(1, 1), work_dir=sys.argv[1])
found["device"] = next(runner.model.parameters()).device.type
found["described"], found["console"] = described, console.getvalue()
found["dumped"] = [path.name for path in pathlib.Path(sys.argv[1]).glob("*.py")]

os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "0"}
found["together"] = error_of(lambda: mmengine.dist.init_dist("pytorch", backend="gloo"))
if not torch.distributed.is_initialized():
    torch.distributed.init_process_group("gloo")
mmengine.device.utils.DEVICE, runner._distributed = "cpu", True
found["wrapped"] = error_of(lambda: runner.wrap_model(None, torch.nn.Linear(1, 1)))
print(json.dumps(found))
"""


def python(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-W", "ignore", "-c", code, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    done = python(UNMENDED, str(tmp_path_factory.mktemp("unmended")))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.long
class TestUpstreamStill:
    def test_fails_where_ssd_predicts(self, found: Any) -> None:
        wanted = "AttributeError: 'SSDHead' object has no attribute 'loss_cls'"
        assert found["ssd predicts"] == wanted, "drop point 1 of openmmlab.py"

    def test_makes_noise_when_imported(self, found: Any) -> None:
        assert "Could not import OneDL" in found["import says"], "drop OneDL from point 2 of openmmlab.py"

    def test_takes_the_device_found_at_import(self, found: Any) -> None:
        assert found["device"] == "meta", (
            "the Runner left the model where it was: drop point 3 of openmmlab.py"
        )

    def test_needs_a_gpu_for_several_processes(self, found: Any) -> None:
        assert found["together"] != "none", "drop init_process_group of point 4 of openmmlab.py"
        assert "device_ids" in found["wrapped"], "drop wrap_model of point 4 of openmmlab.py"

    def test_cannot_compute_in_bfloat16_on_a_cpu(self, found: Any) -> None:
        assert found["boxes in bf16"] == "torch.bfloat16", "drop keep_float32_between_parts of openmmlab.py"
        assert found["bf16 steps"].startswith("AssertionError"), "drop optim_wrapper_at of openmmlab.py"

    def test_speaks_describes_and_dumps(self, found: Any) -> None:
        assert "Hooks will be executed" in found["console"], "drop build_logger of point 6 of openmmlab.py"
        assert found["described"], "drop _log_env of point 6 of openmmlab.py"
        assert found["dumped"], "drop dump_config of point 6 of openmmlab.py"


@pytest.mark.long
def test_our_import_is_quiet() -> None:
    done = python("from eval_suite.tasks.detect.openmmlab import load_openmmlab; load_openmmlab()")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_device_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_openmmlab()
    import mmengine.device.utils

    monkeypatch.setattr(mmengine.device.utils, "DEVICE", "cuda")
    runner = make_runner(tmp_path, torch.device("cpu"), model=torch.nn.Linear(1, 1))
    assert next(runner.model.parameters()).device.type == "cpu"


def test_a_missing_mmdetection_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "mmdet.py").write_text("raise ImportError('no operators')")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from eval_suite.core.errors import EvalSuiteError\n"
            "from eval_suite.tasks.detect.openmmlab import load_openmmlab\n"
            f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
            "try: load_openmmlab()\n"
            "except EvalSuiteError as error: print(error)",
        ],
        capture_output=True,
        text=True,
    )
    assert "detection needs MMDetection, which cannot be imported (no operators)" in done.stdout
