"""A container's narrowness: little shared memory, a home that cannot be written, no terminal, a C locale, another user."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from eval_suite.core.store import read_record

pytestmark = pytest.mark.long

# A mount of its own stands for Docker's /dev/shm of 64 MiB.
NARROW = 'mount -t tmpfs -o size=64m tmpfs /dev/shm && exec "$@"'


def _can_mount() -> bool:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    trial = ["unshare", "--mount", "bash", "-c", NARROW, "bash", "true"]
    return subprocess.run(trial, capture_output=True).returncode == 0


@pytest.mark.skipif(not _can_mount(), reason="needs root and unshare, to mount a small /dev/shm")
def test_an_evaluation_with_workers_ends_in_a_container(demo_world: Path, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\ndef make():\n    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))\n"
    )
    # Batches of some 60 MiB on the way from several processes, which do not fit into the shared memory.
    command = [sys.executable, "-m", "eval_suite", "classify", "--backbone", "net.py:make"]
    command += ["--data", f"folder:{demo_world / 'images'}", "--input-size", "512", "512", "--device", "cpu"]
    command += ["--batch-size", "20", "--workers", "3", "--threads", "1"]
    environment = {"PATH": os.environ["PATH"], "HOME": "/proc", "LANG": "C", "LC_ALL": "C"}
    done = subprocess.run(
        ["unshare", "--mount", "bash", "-c", NARROW, "bash", *command],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    record = read_record(tmp_path / "reports" / "single" / "results" / "make-s0" / "classify.json")
    assert record.status == "complete"
