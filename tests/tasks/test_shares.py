"""Processes that torchrun starts evaluate one backbone in shares: the record is that of one process, to the last bit."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from eval_suite.core.store import read_record

FACTORY = """
import torch
from eval_suite.backbones.building import build_net

def make():
    torch.manual_seed(3)
    return build_net("resnet14_demo", 10, {"blocks": 1, "channels": (4, 8, 16)})
"""
WORDS = {
    "classify": "",
    "ood": "--outliers uniform gaussian --noise-items 7 --skip-first 2 --scores max-softmax energy knn odin",
    "robustness": "--fgsm-epsilons 8/255 --pgd-epsilons 4/255 --pgd-steps 2 --occlusion-sizes 3 --pairs-per-image 1 "
    "--mixup-lambdas 0.5 --cutmix-sizes 2 --corruptions fog --severities 2",
}


# As a script of one's own would, which torchrun starts.
COMMANDS = "import sys; from eval_suite.cli.main import main; sys.exit(max(main(words.split()) for words in sys.argv[1:]))"


@pytest.mark.long
def test_two_processes_evaluate_as_one(demo_world: Path, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(FACTORY)
    (tmp_path / "commands.py").write_text(COMMANDS)
    shutil.copytree(demo_world / "images", tmp_path / "images")
    for unreadable in sorted((tmp_path / "images").glob("val/*/*"))[3:30:13]:
        unreadable.write_bytes(b"no image")
    # Seven batches of images and one of noise for two processes: shares are uneven, and one may be empty.
    calls = [
        f"{task} --backbone net.py:make --name mine --data folder:images --input-size 48 48 --limit 41 --device cpu --threads 1 "
        f"--workers 0 --batch-size 8 {words} --out reports/"
        for task, words in WORDS.items()
    ]
    for name, launch in (
        ("one", []),
        ("two", ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]),
    ):
        done = subprocess.run(
            [sys.executable, *launch, "commands.py", *(call + name for call in calls)],
            check=False,
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("→") == len(calls), "only the first process has closing lines"
    for task in WORDS:
        _require_the_same(tmp_path / "reports", task)


def _require_the_same(reports: Path, task: str) -> None:
    results = [reports / name / "results" / "mine-s0" for name in ("one", "two")]
    one, two = (read_record(folder / f"{task}.json") for folder in results)
    for part in ("status", "backbone", "data", "metrics", "curves", "warnings", "files", "examples"):
        assert getattr(one, part) == getattr(two, part), (task, part)
    assert one.data is not None, task
    assert one.data.n_failed >= 1, task
    for file in ("predictions.npz", "outcomes.npz"):
        first, second = (np.load(folder / task / file) for folder in results)
        assert set(first) == set(second), (task, file)
        assert all(np.array_equal(first[key], second[key]) for key in first), (task, file)
