"""Typed options to flags, by tyro, the same way for every verb."""

import io
import re
from contextlib import redirect_stderr
from typing import Any, TypeVar

import tyro
from pydantic import BaseModel, ValidationError

from eval_suite.core.errors import InputError
from eval_suite.core.validation import problems

Options = TypeVar("Options", bound=BaseModel)
_FRAME = re.compile(r"^[\u2500-\u257f ]+|[\u2500-\u257f ]+$")
_ASIDE = re.compile(
    r"For (full|further) |visit https?:|https?://|see eval-suite|run eval-suite|eval-suite .*--help$"
)


def parse(kind: type[Options], verb: str, arguments: list[str], default: Any = None) -> Options:
    """Read a verb's flags into its options.

    Args:
        kind: a pydantic model whose attribute docstrings are the flags' help.
        verb: what stands before the flags.
        arguments: what the user typed after it.
        default: values of flags not given.

    Raises:
        InputError: on wrong usage, in one line.
        SystemExit: after help was asked for and printed.
    """
    extra = {} if default is None else {"default": default}
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            return tyro.cli(
                kind,
                prog=f"eval-suite {verb}",
                args=arguments,
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes),
                **extra,
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise InputError(f"{_one_line(said.getvalue())} (see eval-suite {verb} --help)") from None
    except (
        ValidationError
    ) as error:  # of options as a whole, which tyro does not word where they have no prefix
        raise InputError(f"{'; '.join(problems(error, kind))} (see eval-suite {verb} --help)") from None


def given(arguments: list[str], flag: str) -> str | None:
    """The value of one flag, looked up before the rest is parsed: a suite decides the other flags' defaults."""
    for position, argument in enumerate(arguments):
        if argument == flag and position + 1 < len(arguments):
            return arguments[position + 1]
        if argument.startswith(f"{flag}="):
            return argument.partition("=")[2]
    return None


def _one_line(boxed: str) -> str:
    """The words of tyro's framed message, without frame, headings and pointers elsewhere."""
    lines = [_FRAME.sub("", line).strip() for line in boxed.splitlines()[1:]]
    kept = [line for line in lines if line and not _ASIDE.search(line)]
    text = " ".join(kept)
    text = re.sub(r"Error parsing \w+: \d+ validation errors? for \w+ ", "", text)
    text = re.sub(r"Got errors: .*: input length", "input length", text)
    return re.sub(r"\s*\[type=(.*?input_type=\w+\]|[^\]]*\]?)", "", text).replace("Value error, ", "")
