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


@pytest.mark.long
@pytest.mark.parametrize("task", WORDS)
def test_two_processes_evaluate_as_one(task: str, demo_world: Path, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(FACTORY)
    shutil.copytree(demo_world / "images", tmp_path / "images")
    for unreadable in sorted((tmp_path / "images").glob("val/*/*"))[3:30:13]:
        unreadable.write_bytes(b"no image")
    words = (
        f"{task} --backbone net.py:make --name mine --data folder:images --input-size 48 48 --limit 41 --device cpu --threads 1 "
        f"--workers 0 --batch-size 8 {WORDS[task]}"
    )
    # Seven batches of images and one of noise for two processes: shares are uneven, and one may be empty.
    results = {}
    for name, launch in (
        ("one", f"{sys.executable} -m eval_suite"),
        ("two", f"{sys.executable} -m torch.distributed.run --standalone --nproc-per-node 2 -m eval_suite"),
    ):
        done = subprocess.run(
            f"{launch} {words} --out reports/{name}",
            shell=True,
            check=False,
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("→") == 1, "only the first process has a closing line"
        results[name] = tmp_path / "reports" / name / "results" / "mine-s0"
    one, two = (read_record(folder / f"{task}.json") for folder in results.values())
    for part in ("status", "backbone", "data", "metrics", "curves", "warnings", "files", "examples"):
        assert getattr(one, part) == getattr(two, part), part
    assert one.data is not None
    assert one.data.n_failed >= 1
    for file in ("predictions.npz", "outcomes.npz"):
        first, second = (np.load(folder / task / file) for folder in results.values())
        assert set(first) == set(second)
        assert all(np.array_equal(first[key], second[key]) for key in first), file
