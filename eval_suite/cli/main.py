"""The command ``eval-suite``: finds the verb, runs it, and turns errors into one line and an exit code.

Verbs are imported only when they run, so that help answers at once.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from io import TextIOWrapper
from typing import Any

from eval_suite import __version__
from eval_suite.core.errors import EvalSuiteError, InputError, first_line, unknown_name
from eval_suite.core.foreign import foreign_error
from eval_suite.core.logs import log_to_stderr
from eval_suite.core.machine import machine_error
from eval_suite.core.packages import torch_mismatch
from eval_suite.core.parts import is_file_spec, part, parts

VERBS = {
    "quickstart": "two small networks that come with the package, four tasks, one page: half a minute",
    "train": "train a backbone from a recipe, or continue a stopped training",
    "score": "metrics from saved predictions, external ones too",
    "run": "everything of a suite that is missing, in parallel, then its report",
    "show": "what a task sees and predicts on a few images, without measuring",
    "report": "put the records of a folder side by side in one HTML page",
    "data": "make the demo data, fetch a published set, or check one: data demo|prepare|check",
    "list": "what there is: list tasks|regularizers|corruptions|data|architectures|suites|results|...",
}
TRACEBACK_VARIABLE = "EVAL_SUITE_TRACEBACK"


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns 0 when done, 1 when something failed, 2 for wrong usage or input."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"eval-suite {__version__}")
        return 0
    log_to_stderr()
    with _sturdy_streams():
        return _exit_code(arguments)


@contextmanager
def _sturdy_streams() -> Iterator[None]:
    """Neither a sign that a terminal lacks, such as an arrow, nor a network that closes what it prints to may fail a finished result."""
    streams = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, TextIOWrapper)]
    for stream in streams:
        stream.reconfigure(errors="backslashreplace")
        stream.close = lambda: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        for stream in streams:
            del stream.close


def _exit_code(arguments: list[str]) -> int:
    try:
        return _verb(arguments[0])(arguments[1:])
    except EvalSuiteError as error:
        if error.__cause__ is not None and os.environ.get(TRACEBACK_VARIABLE):
            raise
        _complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        _complain("stopped by the user; start the same command again, it keeps what is finished")
        return 130
    except BrokenPipeError:
        # The reader of our output has gone; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        if mismatch := torch_mismatch():
            _complain(mismatch)
            return 2
        if worded := machine_error(error) or foreign_error(error):
            _complain(str(worded))
            return worded.exit_code
        _complain(f"{type(error).__name__}: {first_line(error)} (set {TRACEBACK_VARIABLE}=1 to see where)")
        return 1


def _verb(name: str) -> Callable[[list[str]], int]:
    task = name not in VERBS
    if task and not is_file_spec(name) and name not in parts("task"):
        raise unknown_name("command", name, [*VERBS, *parts("task")])
    from eval_suite.core.processes import end_with_parent
    from eval_suite.core.runtime import process_count

    end_with_parent()
    if process_count() > 1 and not (_runs_together(part("task", name)) if task else name == "train"):
        together = ", ".join(["train", *(key for key, each in parts("task").items() if _runs_together(each))])
        raise InputError(
            f"{name} runs in one process, found {process_count()} (WORLD_SIZE); start it once, "
            f"without torchrun: that is for {together}"
        )
    if task:
        module = import_module("eval_suite.cli.evaluate")
        return lambda arguments: int(module.main(name, arguments))
    run: Callable[[list[str]], int] = import_module(f"eval_suite.cli.{name}").main
    return run


def _runs_together(task: Any) -> bool:
    together: bool = task.fits_together or task.predicts_together
    return together


def _complain(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)


def _help() -> str:
    tasks = {name: first_sentence(task.__doc__) for name, task in parts("task").items()}
    width = max(map(len, [*VERBS, *tasks]))
    verbs, of_tasks = (
        "\n".join(f"  {name:<{width}}  {what}" for name, what in group.items()) for group in (VERBS, tasks)
    )
    return (
        "eval-suite: train image backbones, and measure what the training did to them\n\n"
        "usage: eval-suite COMMAND [options]        eval-suite COMMAND --help\n\n"
        f"{verbs}\n\ntasks, each a command that evaluates a backbone (or path/to/mine.py:MyTask):\n{of_tasks}\n\n"
        "a first look:  eval-suite quickstart\n"
        "a first run:   eval-suite run demo\n"
        "your own:      eval-suite classify --backbone model.py:factory@weights.pth --data cifar10:PATH\n"
        "exit codes:    0 done, 1 something failed, 2 wrong usage or input, 130 stopped by the user"
    )


def first_sentence(doc: str | None) -> str:
    """The first line of a docstring."""
    return (doc or "").strip().partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
