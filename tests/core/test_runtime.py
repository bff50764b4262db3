"""Device, seeds, clocks, progress and provenance."""

import shlex
import subprocess
import sys
import time
from datetime import datetime
from importlib import metadata
from itertools import pairwise
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from eval_suite.core import runtime
from eval_suite.core.errors import InputError
from eval_suite.core.records import GitState
from eval_suite.core.runtime import (
    Clock,
    RuntimeOptions,
    command_line,
    derive_seed,
    first_process,
    process_count,
    progress,
    run_info,
)


@pytest.mark.parametrize(
    ("asked", "available", "given"),
    [("auto", False, "cpu"), ("auto", True, "cuda"), ("cpu", True, "cpu"), ("cuda", True, "cuda")],
)
def test_the_device_is_the_one_asked_for(
    asked: Any, available: bool, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert RuntimeOptions(device=asked).resolve_device().type == given


def test_a_device_of_torch_is_one() -> None:
    assert RuntimeOptions.model_validate({"device": torch.device("cpu")}).device == "cpu"
    with pytest.raises(ValidationError):  # which GPU is for CUDA_VISIBLE_DEVICES to say
        RuntimeOptions.model_validate({"device": torch.device("cuda:1")})


def test_asking_for_a_gpu_that_is_not_there_is_wrong_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="finds no usable GPU; use --device cpu or auto"):
        RuntimeOptions(device="cuda").resolve_device()


def test_threads_are_set_only_where_asked_for() -> None:
    before = torch.get_num_threads()
    try:
        RuntimeOptions(device="cpu").resolve_device()
        assert torch.get_num_threads() == before
        RuntimeOptions(device="cpu", threads=before + 1).resolve_device()
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    "options",
    [{"device": "tpu"}, {"batch_size": -1}, {"workers": -1}, {"precision": "fp16"}, {"devise": "cpu"}],
)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RuntimeOptions(**options)


def test_seeds_differ_between_neighbours_and_fit_a_generator() -> None:
    keys = [
        (seed, epoch, step, purpose)
        for seed in range(4)
        for epoch in range(10)
        for step in range(10)
        for purpose in (1, 2)
    ]
    seeds = [derive_seed(*key) for key in keys]
    assert len(set(seeds)) == len(keys)
    assert all(0 <= seed < 2**63 for seed in seeds)
    torch.Generator().manual_seed(max(seeds))
    # Unrelated: half of the bits differ between neighbours. 63 bits * 799 pairs: the mean's 5 sigma are 0.7.
    flips = [(a ^ b).bit_count() for a, b in pairwise(seeds)]
    assert sum(flips) / len(flips) == pytest.approx(31.5, abs=0.7)


def test_a_seed_depends_on_the_order_of_its_keys_and_repeats() -> None:
    assert derive_seed(1, 2, 3) == derive_seed(1, 2, 3)
    assert derive_seed(1, 2, 3) != derive_seed(3, 2, 1)
    here = derive_seed(7, 8)
    code = "from eval_suite.core.runtime import derive_seed; print(derive_seed(7, 8))"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(there) == here


def test_a_clock_adds_up_a_stage_also_when_it_fails() -> None:
    clock = Clock()
    with clock.stage("score"):
        time.sleep(0.01)
    first = clock.seconds["score"]
    assert first >= 0.01

    def fail() -> None:
        with clock.stage("score"):
            time.sleep(0.01)
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        fail()
    assert clock.seconds["score"] >= first + 0.01
    assert datetime.fromisoformat(clock.started).utcoffset() is not None


def test_run_info_tells_where_a_number_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_git_state", lambda: GitState(commit="abc", dirty=True))
    monkeypatch.setattr(sys, "argv", ["/somewhere/eval-suite", "classify", "--data", "folder:my pictures"])
    clock = Clock()
    with clock.stage("fit"):
        pass
    info = run_info(clock, "cpu", "bf16", 5, ("jinja2", "no-such-package"))
    with clock.stage("fit2"):
        pass
    assert (info.device, info.precision, info.seed) == ("cpu", "bf16", 5)
    assert info.started == clock.started
    assert set(info.seconds) == {"fit"}
    assert info.git == GitState(commit="abc", dirty=True)
    assert shlex.split(info.command) == ["eval-suite", "classify", "--data", "folder:my pictures"]
    assert info.command == command_line()
    for package in ("torch", "pillow", "jinja2"):
        assert info.versions[package] == metadata.version(package)
    assert "no-such-package" not in info.versions
    assert info.versions["python"] == ".".join(map(str, sys.version_info[:3]))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that have passed, to be set; lines of progress come every ten."""
    now = [0.0]
    monkeypatch.setattr(runtime, "_LINE_EVERY_SECONDS", 10.0)
    monkeypatch.setattr(runtime.time, "monotonic", lambda: now[0])
    return now


def test_progress_passes_everything_on_and_prints_a_line_every_ten_seconds(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    def items() -> Any:
        for i in range(6):
            clock[0] += 4
            yield i

    assert list(progress(items(), 6, "reading")) == list(range(6))
    captured = capsys.readouterr()
    assert captured.err == "reading: 3 of 6, about 0:00:12 left\nreading: 6 of 6, about 0:00:00 left\n"
    assert captured.out == ""


def test_progress_on_a_terminal_keeps_off_standard_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert list(progress(range(5), 5, "reading")) == list(range(5))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "reading" in captured.err


def test_work_done_before_counts_but_not_for_the_time_left(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    def items() -> Any:
        for i in range(90, 100):
            clock[0] += 11
            yield i

    assert len(list(progress(items(), 100, "fitting", first=90))) == 10
    assert capsys.readouterr().err.startswith("fitting: 91 of 100\nfitting: 92 of 100, about 0:01:28 left\n")


def test_a_slow_first_item_says_nothing_of_the_time_left(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    def items() -> Any:
        for seconds in (60, 5, 5, 5):
            clock[0] += seconds
            yield seconds

    assert len(list(progress(items(), 4, "scoring"))) == 4
    assert capsys.readouterr().err == "scoring: 1 of 4\nscoring: 3 of 4, about 0:00:05 left\n"


@pytest.mark.parametrize(
    ("variables", "first", "count"),
    [
        ({}, True, 1),
        ({"RANK": "0", "WORLD_SIZE": "4"}, True, 4),
        ({"RANK": "3", "WORLD_SIZE": "4"}, False, 4),
    ],
)
def test_the_place_in_a_group_is_read_off_the_environment(
    variables: dict[str, str], first: bool, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (first_process(), process_count()) == (first, count)


def test_seeds_beyond_32_bits_are_their_own() -> None:
    seeds = [0, 1, 2**32, 2**32 + 1, 2**33, 2**64, 2**96]
    assert len({derive_seed(seed, 7) for seed in seeds}) == len(seeds)
    assert derive_seed(2**32, 0, 7) != derive_seed(0, 1, 7)
    assert derive_seed(3, 5, 7) == 301772620091190813  # as ever


def test_an_automatic_batch_size_starts_large_where_memory_can_run_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = RuntimeOptions(device="cpu", batch_size="auto")
    assert options == RuntimeOptions(device="cpu", batch_size=0)
    assert options.sized().batch_size == 128
    assert RuntimeOptions(device="cpu", batch_size=7).sized().batch_size == 7
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert RuntimeOptions(batch_size="auto").sized().batch_size == 1024
