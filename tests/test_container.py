"""A container's narrowness: little shared memory, a home that cannot be written, no terminal, a C locale, a user who is not root."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from eval_suite.core.store import read_record

pytestmark = pytest.mark.long

NOBODY = 65534
# A mount of its own stands for Docker's /dev/shm of 64 MiB.
NARROW = 'mount -t tmpfs -o size=64m,mode=1777 tmpfs /dev/shm && exec "$@"'
NETWORK = """
import torch
from torch import nn
def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))
"""
# What the process found, so that the test says whether it was as narrow as it should be.
FACTS = """
import os, sys
shm = os.statvfs("/dev/shm")
print(os.geteuid(), shm.f_blocks * shm.f_frsize >> 20, os.access(os.environ["HOME"], os.W_OK), sys.stdin.isatty(), sys.stdout.encoding)
"""
WORDS = {
    # Batches of 60 MiB from three processes.
    "classify": "--data folder:world/images --input-size 512 512 --batch-size 20 --workers 3",
    "ood": "--data folder:world/images --outliers folder:world/ood/textures --input-size 64 64",
    "wsol": "--data cub:world/images --input-size 64 64",
    "probe": "--data folder:world/images --input-size 64 64 --knn-k 3",
}
# In one process, since each would import for ten seconds.
COMMANDS = "import sys; from eval_suite.cli.main import main; sys.exit(max(main(words.split()) for words in sys.argv[1:]))"


def _within(*command: str) -> list[str]:
    """A command as nobody, with a /dev/shm of 64 MiB."""
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"]
    # The interpreter may lie in a folder that root alone may enter; nobody may read it, and write no more than before.
    read = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return ["unshare", "--mount", "bash", "-c", NARROW, "bash", *user, *read, *command]


def _environment(home: Path | str) -> dict[str, str]:
    # Or Python would take UTF-8 for the C locale's encoding.
    plain = {"LANG": "C", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    return {"PATH": os.environ["PATH"], "HOME": str(home), **plain}


def _why_not() -> str:
    """Why such a process cannot be had here; empty where it can."""
    if os.geteuid() != 0:
        return "only root may mount a small /dev/shm and become another user"
    lacking = [name for name in ("unshare", "setpriv", "mount") if shutil.which(name) is None]
    if lacking:
        return f"there is no {', '.join(lacking)}"
    trial = subprocess.run(
        _within(sys.executable, "-c", "import eval_suite"),
        capture_output=True,
        env=_environment("/proc"),
        cwd="/",
    )
    return trial.stderr.decode().strip()


@pytest.fixture(scope="module")
def place(demo_world: Path) -> Iterator[Path]:
    """A folder that is nobody's, with a copy of the demo world and a network."""
    if reason := _why_not():
        pytest.skip(reason)
    # Not below pytest's folders, which their owner alone may enter.
    folder = Path(mkdtemp(prefix="container-"))
    (folder / "work").mkdir()
    shutil.copytree(demo_world, folder / "work" / "world")
    (folder / "work" / "net.py").write_text(NETWORK)
    (folder / "home").mkdir(mode=0o555)
    folder.chmod(0o755)
    subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", folder / "work"], check=True)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def inside(place: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command there."""

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            _within(sys.executable, *command),
            cwd=place / "work",
            env=_environment(place / "home"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="ascii",  # what is printed has to be plain
            errors="strict",
            timeout=300,
        )

    return run


def test_it_is_narrow(inside: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    assert inside("-c", FACTS).stdout.split() == [str(NOBODY), "64", "False", "False", "ascii"]


def test_torchs_own_loader_would_not_end_well_there(
    inside: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """Batches of 60 MiB from three processes do not fit: the test below would fail without the loader's pipes."""
    script = (
        "import torch\n"
        "from torch.utils.data import DataLoader, Dataset\n"
        "class Large(Dataset):\n"
        "    def __len__(self): return 12\n"
        "    def __getitem__(self, _): return torch.ones(60 << 20, dtype=torch.uint8)\n"
        "for batch in DataLoader(Large(), num_workers=3, batch_size=None, timeout=8): pass\n"
    )
    assert inside("-c", script).returncode != 0


def test_evaluations_and_their_report_end_in_a_container(
    inside: Callable[..., subprocess.CompletedProcess[str]], place: Path
) -> None:
    """Matplotlib and numba would keep their caches in the home."""
    (place / "work" / "commands.py").write_text(COMMANDS)
    calls = [
        f"{task} --backbone net.py:make {words} --device cpu --threads 1 --out reports/narrow"
        for task, words in WORDS.items()
    ]
    for words in (["commands.py", *calls], ["-m", "eval_suite", "report", "reports/narrow"]):
        done = inside(*words)
        assert done.returncode == 0, done.stderr[-2000:]
        assert "Traceback" not in done.stderr
    reports = place / "work" / "reports" / "narrow"
    for task in WORDS:
        assert read_record(reports / "results" / "make-s0" / f"{task}.json").status == "complete"
    assert "<svg" in (reports / "index.html").read_text("utf-8")
    assert not list((place / "home").iterdir())
