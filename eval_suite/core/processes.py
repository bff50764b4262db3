"""Which process a number stood for, and whose end ends this one.

Numbers are used again, and a process that has ended keeps its own until it is reaped.
"""

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path

_PARENT_VARIABLE = "EVAL_SUITE_PARENT"


def identity(pid: int | None = None) -> str:
    """A process, by default this one, as its number and the moment it started at; empty where it has ended."""
    number = os.getpid() if pid is None else pid
    try:
        # The name in brackets may hold anything; state and start time, in ticks since boot, stand behind it.
        fields = Path(f"/proc/{number}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else f"{number}-{fields[19]}"


def is_running(process: str) -> bool:
    """Whether the process that `identity` described still runs."""
    number = process.partition("-")[0]
    return number.isascii() and number.isdecimal() and identity(int(number)) == process


def end_with_parent() -> None:
    """End this process when the `run` that started it is gone, so that a killed run leaves no worker behind."""
    parent = os.environ.get(_PARENT_VARIABLE)
    if not parent:
        return

    def watch() -> None:
        while is_running(parent):
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def child_environment(given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """An environment, by default this process's, for processes that shall end with this one."""
    return {**given, _PARENT_VARIABLE: identity()}
