"""What a run stands on: device, threads, seeds, progress, and the facts a record keeps of them."""

import logging
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from eval_suite.core.errors import InputError
from eval_suite.core.packages import DISTRIBUTION
from eval_suite.core.records import GitState, RunInfo

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Reader = Literal["torchvision", "pillow"]
_RECORDED_PACKAGES = (DISTRIBUTION, "torch", "torchvision", "timm", "accelerate", "numpy", "scipy", "pillow")
_LINE_EVERY_SECONDS = 10.0


AUTO, ON, OFF = "auto", "on", "off"
_LARGEST_BATCH = {"cpu": 128, "cuda": 1024}


def _batch_size(given: Any) -> Any:
    return 0 if given == AUTO else given


class RuntimeOptions(BaseModel):
    """How to compute: the flags every command shares."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    device: Annotated[Literal["auto", "cpu", "cuda"], BeforeValidator(str)] = "auto"
    """Where to compute; auto takes the GPU when there is one."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the network; bf16 uses autocast."""
    compile: bool = False
    """Compile the network with torch.compile, in classify and robustness: minutes first, faster passes then."""
    batch_size: Annotated[int, BeforeValidator(_batch_size)] = Field(default=128, ge=0)
    """Images per forward pass in evaluation; auto, or 0, starts at 1024 on a GPU, 128 on a CPU, and halves it where memory ends."""
    workers: int = Field(default=2, ge=0)
    """Processes that read and decode images of large data sets."""
    reader: Reader = "torchvision"
    """What decodes JPEG files; the pixels are equal, and pillow is slower."""
    cache: str = OFF
    """Keep decoded pixels for further passes: on, for the user's cache (~/.cache/eval-suite/pixels), a folder, or off."""
    threads: int = Field(default=0, ge=0)
    """CPU threads of the arithmetic; 0 leaves it to torch."""
    measure_cost: bool = False
    """Time the backbone's forward pass on this machine, for the record: a few seconds more."""

    def sized(self) -> "RuntimeOptions":
        """These options with a number of images in a batch: the first one to try where it is automatic."""
        largest = _LARGEST_BATCH[self.resolve_device().type]
        return self if self.batch_size else self.model_copy(update={"batch_size": largest})

    def resolve_device(self) -> "torch.device":
        """The torch device, after setting the number of threads.

        Raises:
            InputError: if a GPU is asked for and none can be used.
        """
        import torch

        if self.threads:
            torch.set_num_threads(self.threads)
        available = torch.cuda.is_available()
        if self.device == "cuda" and not available:
            raise InputError(
                "--device cuda was asked for, but torch finds no usable GPU; use --device cpu or auto"
            )
        use_cuda = available if self.device == "auto" else self.device == "cuda"
        if use_cuda and process_count() > 1:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        return torch.device("cuda" if use_cuda else "cpu")


@contextmanager
def ordinary_arithmetic() -> Iterator[None]:
    """Arithmetic as a command begins with it: gradients, and neither autocast nor inference mode of whoever calls from Python."""
    if "torch" not in sys.modules:
        yield
        return
    import torch

    with ExitStack() as kept:
        kept.enter_context(torch.inference_mode(False))
        kept.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                kept.enter_context(torch.autocast(kind, enabled=False))
        yield


def has_gpu() -> bool:
    """Whether this machine has an NVIDIA GPU, as far as its driver's files say: nothing of CUDA is started."""
    return Path("/proc/driver/nvidia/version").exists()


def first_process() -> bool:
    """Whether this is the first, or the only, of the processes that torchrun starts: the one that writes and speaks."""
    return process_number() == 0


def process_number() -> int:
    """Which of the processes that torchrun started together this is; 0 for one alone."""
    return int(os.environ.get("RANK", "0"))


def process_count() -> int:
    """How many processes torchrun started together; 1 for one alone."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def derive_seed(*keys: int) -> int:
    """A 63-bit seed from a tuple of whole numbers; tuples of one length give unrelated seeds.

    The last number names the purpose and is not 0, since trailing zeros would not count.

    Every random decision of a run is drawn from a generator seeded by where it is made (seed, epoch, step,
    purpose), so a resumed run needs no generator state to continue as the uninterrupted one would.
    """
    entropy = [key & 0xFFFFFFFF for key in keys]
    if any(key >> 32 for key in keys):  # behind the others, so that seeds of 32 bits keep their draws
        entropy += [*(abs(key) >> 32 for key in keys), len(keys)]
    words = np.random.SeedSequence(entropy).generate_state(2, np.uint32)
    return (int(words[0]) << 31) ^ int(words[1])


class Clock:
    """Start time and the seconds each stage took."""

    def __init__(self) -> None:
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent inside to ``seconds[name]``."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - begin
            self.seconds[name] = round(self.seconds.get(name, 0.0) + spent, 3)


def run_info(clock: Clock, device: str, precision: str, seed: int, packages: tuple[str, ...] = ()) -> RunInfo:
    """Provenance of the running command, with the versions of what every task needs and of further ``packages``."""
    return RunInfo(
        started=clock.started,
        seconds=dict(clock.seconds),
        device=device,
        precision=precision,
        seed=seed,
        command=command_line(),
        git=_git_state(),
        versions=_versions(_RECORDED_PACKAGES + packages),
    )


def command_line() -> str:
    """The command as a user would type it again."""
    arguments = sys.argv[1:]
    return shlex.join(["eval-suite", *arguments])


def progress(items: Iterable[Item], total: int, label: str, *, first: int = 0) -> Iterator[Item]:
    """Pass the items on: a bar on a terminal, elsewhere a line every ten seconds; both tell the time left.

    Args:
        items: what to pass on.
        total: their number, with those done before.
        label: what the work is called.
        first: how many were done before.
    """
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track

        console = Console(stderr=True)
        yield from track(
            items, description=label, total=total, completed=first, transient=True, console=console
        )
        return
    begin = last = time.monotonic()
    for done, item in enumerate(items):  # before this one
        yield item
        now, count, left = time.monotonic(), first + done + 1, ""
        if done:
            left = f", about {timedelta(seconds=round((now - begin) / done * (total - count)))} left"
        else:
            begin = now  # the first waits for workers, imports and compilers, and says nothing of the others
        if now - last >= _LINE_EVERY_SECONDS:
            last = now
            log.info("%s: %d of %d%s", label, count, total, left)


@cache
def _git_state() -> GitState:
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return GitState(commit=None, dirty=None)

    def git(*arguments: str) -> str | None:
        # Without optional locks, so that runs in parallel never hinder a commit.
        command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        commit, status = git("rev-parse", "HEAD"), git("status", "--porcelain", "--untracked-files=no")
    except OSError:
        return GitState(commit=None, dirty=None)
    return GitState(commit=commit, dirty=None if status is None else bool(status))


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
