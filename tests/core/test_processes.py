"""A process is its number and its start: neither a zombie nor a number used again counts as running."""

import os
import subprocess
import sys

from eval_suite.core.processes import identity, is_running


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
