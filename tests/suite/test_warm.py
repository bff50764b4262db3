"""Jobs that one process starts are processes of their own: streams, exit codes, signals and ends as if started alone."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from eval_suite.core.processes import child_environment, identity, is_running
from eval_suite.suite import warm

# A server that imports nothing, whose jobs run the code that they are given.
_SERVER = """
import sys
from eval_suite.suite import warm
warm._import = lambda verbs: None
warm.serve(*sys.argv[1:])
exec(sys.argv[1])
"""
_COMMAND = (
    "import sys; from eval_suite.suite.warm import run_from_server; sys.exit(run_from_server(sys.argv))"
)
_DEADLINE = 20.0


@pytest.fixture
def served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[dict[str, str], AbstractContextManager[Any]]]:
    monkeypatch.setattr(warm, "_PROGRAM", ("-c", _SERVER))
    with (tmp_path / "server.log").open("w") as log:
        context = warm.server(["train", "classify"], child_environment(), log)
        yield context.__enter__(), context
        context.__exit__(None, None, None)
    assert (tmp_path / "server.log").read_text() == ""


def command(environment: dict[str, str], code: str, **options: Any) -> "subprocess.Popen[str]":
    call = [sys.executable, "-c", _COMMAND, code]
    return subprocess.Popen(
        call, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )


def test_a_job_has_the_folder_environment_streams_and_exit_code_of_its_command(
    served: Any, tmp_path: Path
) -> None:
    environment, _ = served
    code = "import os, sys; print(os.getcwd(), os.environ['MINE'], input()); sys.stderr.write(os.environ.get('EVAL_SUITE_SERVER', 'none')); sys.exit(3)"
    started = command({**environment, "MINE": "ü"}, code, cwd=tmp_path, stdin=subprocess.PIPE)
    out, err = started.communicate("given", timeout=_DEADLINE)
    assert (out, err, started.returncode) == (f"{tmp_path} ü given\n", "none", 3)


def test_jobs_run_side_by_side_and_share_no_memory(served: Any) -> None:
    environment, _ = served
    codes = [
        f"import builtins, time; time.sleep(0.2); print(getattr(builtins, 'mark', None)); builtins.mark = {i}"
        for i in range(3)
    ]
    assert [
        each.communicate(timeout=_DEADLINE)[0] for each in [command(environment, code) for code in codes]
    ] == ["None\n"] * 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_the_job(served: Any, number: signal.Signals) -> None:
    environment, _ = served
    code = f"import signal, sys, time; signal.signal({number:d}, lambda *_: sys.exit(7)); print('ready', flush=True); time.sleep(60)"
    started = command(environment, code)
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    started.send_signal(number)
    started.communicate(timeout=_DEADLINE)
    assert started.returncode == 7


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_command_dies_of_the_signal_that_ends_its_job(served: Any, number: signal.Signals) -> None:
    started = command(served[0], f"import os; os.kill(os.getpid(), {number:d})")
    started.communicate(timeout=_DEADLINE)
    assert started.returncode == -number


def test_a_command_that_is_killed_takes_its_job_along(served: Any) -> None:
    started = command(served[0], "import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    assert started.stdout is not None
    job = identity(int(started.stdout.readline()))
    assert is_running(job)
    started.kill()
    started.communicate()
    assert ended(job)


def test_the_end_of_the_run_ends_jobs_and_their_commands(served: Any) -> None:
    environment, context = served
    code = "import os, time; from eval_suite.core.processes import end_with_parent; end_with_parent(); print(os.getpid(), flush=True); time.sleep(60)"
    started = command(environment, code)
    assert started.stdout is not None
    job = identity(int(started.stdout.readline()))
    context.__exit__(None, None, None)
    _, err = started.communicate(timeout=_DEADLINE)
    assert started.returncode == 1
    assert "has ended" in err
    assert ended(job)


def test_without_a_server_a_command_runs_where_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    assert warm.run_from_server(["eval-suite", "classify"]) is None
    monkeypatch.setenv("EVAL_SUITE_SERVER", "eval-suite-gone")
    assert warm.run_from_server(["eval-suite", "classify"]) is None
    assert "EVAL_SUITE_SERVER" not in os.environ


@pytest.mark.parametrize("verbs", [[], ["train"], ["data", "classify"]])
def test_a_single_network_needs_no_server(verbs: list[str], tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log, warm.server(verbs, {"A": "b"}, log) as environment:
        assert environment == {"A": "b"}


def ended(process: str) -> bool:
    """Whether a process ends within a while."""
    until = time.monotonic() + _DEADLINE
    while is_running(process) and time.monotonic() < until:
        time.sleep(0.05)
    return not is_running(process)


_ASKED = """
import torch

def asked(*_arguments):
    raise SystemExit("CUDA was asked for")

torch.cuda.is_available = torch.cuda.device_count = torch.cuda.current_device = torch.cuda._lazy_init = asked
from eval_suite.core.parts import parts
from eval_suite.suite import warm
from eval_suite.tasks.detect import task
task.has_gpu = lambda: True
warm._import(["train", *parts("task")])
"""


@pytest.mark.long  # imports all that there is, in a process of its own
def test_nothing_that_jobs_share_asks_for_a_gpu() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", _ASKED], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
