"""A process that dies as by the system's hand, at a moment that no load of the machine moves."""

import faulthandler
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eval_suite.training import fit_run

_DEADLINE = 120  # seconds; what stands still then says where


def killed_after(saves: int, work: Callable[..., object], *arguments: Any) -> int | None:
    """Run work in a fork, which has imported what this process has, until it has saved so many states; its exit code."""

    def run() -> None:
        faulthandler.dump_traceback_later(_DEADLINE, exit=True, file=2)
        real, left = fit_run.save_state, iter(range(saves - 1))

        def save(path: Path, state: Any) -> None:
            real(path, state)
            if next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)

        fit_run.save_state = save
        work(*arguments)

    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    child.join()
    return child.exitcode
