"""Start-up: what a command costs before it does anything, against a bare interpreter.

Byte code is cached in a temporary folder by the warm-up rounds, so that the figures do not hang on how the packages
were installed. Where the working directory holds reports/demo, planning its next run is measured as well.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from timing import options, ratios, spread, take_turns

AIM_SECONDS = 0.5
HELP = ("", "train", "classify", "score", "run", "report")


def main() -> None:
    arguments = options(__doc__, repeats=7, device=False).parse_args()
    with tempfile.TemporaryDirectory() as cache:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        start = partial(_start, {**environment, "PYTHONPYCACHEPREFIX": cache})
        contestants: dict[str, Callable[[], None]] = {"python -c pass": partial(start, "-c", "pass")}
        for verb in HELP:
            words = [verb] if verb else []
            contestants[" ".join(["eval-suite", *words, "--help"])] = partial(
                start, "-m", "eval_suite", *words, "--help"
            )
        seconds = take_turns(contestants, arguments.repeats, warm_up=1)
        _print("help", seconds)
        if Path("reports/demo").is_dir():
            again: dict[str, Callable[[], None]] = {
                "python -c pass": contestants["python -c pass"],
                "eval-suite run demo --dry-run": partial(
                    start, "-m", "eval_suite", "run", "demo", "--dry-run"
                ),
            }
            _print("planning a suite", take_turns(again, arguments.repeats, warm_up=1), aim=False)


def _start(environment: dict[str, str], *arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, env=environment, stdout=subprocess.DEVNULL)


def _print(title: str, seconds: dict[str, list[float]], aim: bool = True) -> None:
    print(f"{title}, {len(next(iter(seconds.values())))} rounds")
    bare = seconds["python -c pass"]
    for name, found in seconds.items():
        line = f"  {name:<30} {spread(found).text('s', 3)}"
        if found is not bare:
            line += f"   {ratios(found, bare).median:.1f} x a bare start"
            line += f", aim < {AIM_SECONDS} s" if aim else ""
        print(line)


if __name__ == "__main__":
    main()
