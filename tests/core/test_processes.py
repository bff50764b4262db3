"""A process is its number and its start: neither a zombie nor a number used again counts as running."""

import os
import subprocess
import sys
import time

import pytest

from eval_suite.core.processes import child_environment, identity, is_running


def test_this_process_runs_and_one_of_its_number_but_another_start_does_not() -> None:
    assert is_running(identity())
    assert not is_running(f"{os.getpid()}-1")
    assert not is_running("")
    assert not is_running("²-1")


def test_a_process_that_ended_does_not_run_though_nobody_has_reaped_it() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    known = identity(child.pid)
    assert is_running(known)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not is_running(known)
    child.wait()
    assert child.stdin is not None
    child.stdin.close()
    assert identity(child.pid) == ""


_CHILD = """
import time
from eval_suite.core.processes import end_with_parent
end_with_parent()
print("ready", flush=True)
time.sleep(60)
"""


def test_a_process_ends_when_the_run_that_started_it_is_gone() -> None:
    parent = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    environment = {**child_environment(), "EVAL_SUITE_PARENT": identity(parent.pid)}
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.7)
        assert child.poll() is None
        parent.kill()
        assert child.wait(timeout=5) == 1  # though nobody has reaped the parent
    finally:
        for process in (parent, child):
            process.kill()
            process.communicate()


def test_children_are_told_their_parent_and_keep_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_VARIABLE", "kept")
    environment = child_environment()
    assert environment["EVAL_SUITE_PARENT"] == identity()
    assert environment["SOME_VARIABLE"] == "kept"
