"""Which process a number stood for: numbers are used again, and a process that has ended keeps its own until it is reaped."""

import os
from pathlib import Path


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
