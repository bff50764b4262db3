"""Processes that torchrun starts: one learns what the others do, and only the first writes and speaks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FACTORY = """
from eval_suite.backbones.building import build_net

def make():
    return build_net("resnet14_demo", 10, {"blocks": 1, "channels": (4, 8, 16)})
"""
# The command itself, in a process that compares its detectors with the first one's and, unless it is the first, tells
# of every file among the results that it opens for writing.
SCRIPT = """
import os, sys
import torch
from eval_suite.cli.main import main
from eval_suite.tasks.detect.task import DetectTask

first, here = os.environ["RANK"] == "0", os.getcwd()
fit = DetectTask.fit

def watch(event, words):
    if event == "open" and isinstance(words[0], str) and words[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        if os.path.abspath(words[0]).startswith((here + "/checkpoints", here + "/reports")):
            print("WROTE", words[0], flush=True)

def compared(*arguments):
    found = fit(*arguments)
    for detector, model in found.model.models:
        mine = torch.cat([value.detach().flatten() for value in model.parameters()])
        firsts = mine.clone()
        torch.distributed.broadcast(firsts, 0)
        if not torch.equal(mine, firsts):
            print("DIFFERS", detector.name, flush=True)
    return found

DetectTask.fit = compared
if not first:
    sys.addaudithook(watch)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.long
def test_two_processes_fit_together_and_the_first_writes(demo_world: Path, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(FACTORY)
    (tmp_path / "script.py").write_text(SCRIPT)
    words = (
        f"detect --backbone net.py:make --name mine --data voc:{demo_world} --input-size 64 64 --iterations 3 "
        "--device cpu --threads 1 --workers 0 --ssd.input-size 64 64 --ssd.batch-size 4 --ssd.warmup 0 "
        "--faster-rcnn.short-side 64 --faster-rcnn.long-side 86 --faster-rcnn.batch-size 2"
    )
    launch = f"{sys.executable} -m torch.distributed.run --standalone --nproc-per-node 2 script.py {words}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        launch.split(), cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    # One line, the headline: nobody wrote who may not, and nobody's weights differ.
    assert len(done.stdout.splitlines()) == 1, done.stdout
    assert done.stdout.startswith("mine-s0  SSD mAP (VOC07 11-point, no +1)")
    record = json.loads((tmp_path / "reports/single/results/mine-s0/detect.json").read_text())
    assert (record["status"], record["data"]["n_scored"]) == ("complete", 6)
    for detector in ("ssd", "faster-rcnn-c4"):
        left = (tmp_path / "checkpoints/single/mine-s0/detect" / detector).iterdir()
        assert sorted(path.name for path in left) == [
            ".lock",
            "fitted.json",
            "log.jsonl",
            "model.safetensors",
        ]
