"""A whole suite through the command line: everything once, nothing twice, and what a failure leaves."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from eval_suite.suite.file import bundled_suites

pytestmark = pytest.mark.long

SMOKE: dict[str, Any] = yaml.safe_load(bundled_suites()["smoke"].read_text())
RECIPE, BACKBONES, TASKS = SMOKE["recipe"], SMOKE["backbones"], list(SMOKE["tasks"])
JOBS = 1 + len(BACKBONES) * (1 + len(TASKS))
CLASSIFY = {"classify": SMOKE["tasks"]["classify"]}


def write_suite(folder: Path, **changes: Any) -> None:
    (folder / "mine.yaml").write_text(yaml.safe_dump({**SMOKE, **changes}, sort_keys=False))


def jobs_of(cell: str) -> set[str]:
    """The training of a backbone and its tasks."""
    return {f"train {cell}", *(f"{task} {cell}" for task in TASKS)}


def start(folder: Path, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "eval_suite", "run", "mine.yaml", "--jobs", "2", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(folder: Path, *words: str) -> tuple[int, str]:
    process = start(folder, *words)
    out = process.communicate(timeout=900)[0]
    return process.returncode, out


def planned(folder: Path, *words: str) -> set[str]:
    code, out = run(folder, "--dry-run", *words)
    assert code == 0
    return {line.removeprefix("to run").strip() for line in out.splitlines() if line.startswith("to run")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    write_suite(folder)
    code, out = run(folder)
    assert code == 0, out
    assert "report: reports/smoke/index.html" in out.splitlines()[-1]
    return folder


@pytest.fixture
def done(finished: Path, tmp_path: Path) -> Path:
    """A finished suite of one's own; file times, on which the graph hangs, are kept."""
    return Path(shutil.copytree(finished, tmp_path / "copy", copy_function=shutil.copy2))


def test_everything_a_user_expects_is_there(finished: Path) -> None:
    for backbone in BACKBONES:
        for task in TASKS:
            record = json.loads((finished / f"reports/smoke/results/{backbone}-s0/{task}.json").read_text())
            assert record["status"] == "complete"
            assert record["data"]["n_scored"] == record["data"]["n_available"]
        assert (finished / f"checkpoints/smoke/{backbone}-s0/model.safetensors").is_file()
    page = (finished / "reports/smoke/index.html").read_text()
    assert "cutmix" in page
    assert "Top-1 error" in page


def test_a_second_run_does_nothing(finished: Path) -> None:
    index = finished / "reports/smoke/index.html"
    before = index.stat().st_mtime_ns
    code, out = run(finished)
    assert code == 0
    assert f"0 done, {JOBS} were up to date" in out
    assert index.stat().st_mtime_ns == before
    assert planned(finished) == set()


def test_changing_one_recipe_runs_only_what_hangs_on_it(done: Path) -> None:
    altered = {**BACKBONES, "cutmix": {"regularizers": [{"cutmix": {"prob": 0.5}}]}}
    write_suite(done, backbones=altered)
    assert planned(done, "--overwrite") == jobs_of("cutmix-s0")
    # From here on with one task alone, as each of the others hangs on the training in the same way.
    write_suite(done, backbones=altered, tasks=CLASSIFY)
    assert planned(done, "--overwrite") == {"train cutmix-s0", "classify cutmix-s0"}
    finished_cutmix = done / "checkpoints/smoke/cutmix-s0/card.json"
    card = finished_cutmix.read_bytes()
    code, out = run(done)
    assert code == 2
    assert (
        "checkpoints/smoke/cutmix-s0, found a finished one of another recipe, with other regularizers" in out
    )
    assert finished_cutmix.read_bytes() == card
    other = done / "checkpoints/smoke/baseline-s0/model.safetensors"
    before = other.stat().st_mtime_ns
    code, out = run(done, "--overwrite")
    assert code == 0, out
    assert f"2 done, {1 + len(BACKBONES)} were up to date" in out
    assert other.stat().st_mtime_ns == before


def test_removing_a_record_makes_it_again(done: Path) -> None:
    (done / "reports/smoke/results/cutmix-s0/classify.json").unlink()
    assert planned(done) == {"classify cutmix-s0"}


def test_a_failed_cell_leaves_a_record_and_the_others_go_on(tmp_path: Path) -> None:
    write_suite(tmp_path, backbones={"baseline": {}, "wild": {"lr": 1e30}}, tasks=CLASSIFY)
    code, out = run(tmp_path)
    assert code == 1
    assert "failed: train wild-s0: error: the loss stopped being finite" in out
    record = json.loads((tmp_path / "reports/smoke/results/wild-s0/classify.json").read_text())
    assert record["status"] == "failed"
    assert record["error"]["type"] == "DivergenceError"
    assert (
        json.loads((tmp_path / "reports/smoke/results/baseline-s0/classify.json").read_text())["status"]
        == "complete"
    )
    page = (tmp_path / "reports/smoke/index.html").read_text()
    assert "the loss stopped being finite" in page
    assert planned(tmp_path) == {"train wild-s0", "classify wild-s0"}


def test_a_killed_run_continues_without_unlocking_and_leaves_no_worker(tmp_path: Path) -> None:
    recipe = {**RECIPE, "epochs": 12}
    write_suite(tmp_path, recipe=recipe, tasks=CLASSIFY)
    process = start(tmp_path)
    log = tmp_path / "checkpoints/smoke/baseline-s0/log.jsonl"
    deadline = time.monotonic() + 300
    while not (log.is_file() and log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    # It waits meanwhile, or would have finished on a fast machine.
    send(signal.SIGSTOP, workers(tmp_path))
    second, out = run(tmp_path)
    assert second == 1
    assert "is in use" in out
    send(signal.SIGCONT, workers(tmp_path))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 60
    while workers(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not workers(tmp_path)
    epochs = len(log.read_text().splitlines())
    assert 0 < epochs < recipe["epochs"]
    write_suite(
        tmp_path,
        recipe=recipe,
        backbones={"baseline": {}},
        tasks={"classify": {"data": "folder:data/smoke/images", "limit": 10}},
    )
    code, out = run(tmp_path)
    assert code == 0, out
    assert "continuing after" in (tmp_path / "reports/smoke/logs/train-baseline-s0.log").read_text()


def send(number: signal.Signals, processes: dict[int, str]) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)


def workers(folder: Path) -> dict[int, str]:
    """Numbers and command lines of processes at work in this folder."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.readlink(entry / "cwd").startswith(str(folder)):
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found
