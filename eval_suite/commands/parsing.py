"""Typed options to flags, by tyro, the same way for every verb."""

from typing import Any, TypeVar

import tyro
from pydantic import BaseModel

Options = TypeVar("Options", bound=BaseModel)


def parse(kind: type[Options], verb: str, arguments: list[str], default: Any = None) -> Options:
    """Read a verb's flags into its options; wrong usage ends the process with exit code 2.

    Args:
        kind: a pydantic model whose attribute docstrings are the flags' help.
        verb: what stands before the flags.
        arguments: what the user typed after it.
        default: values of flags not given.
    """
    extra = {} if default is None else {"default": default}
    return tyro.cli(
        kind,
        prog=f"eval-suite {verb}",
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes),
        **extra,
    )


def given(arguments: list[str], flag: str) -> str | None:
    """The value of one flag, looked up before the rest is parsed: a suite decides the other flags' defaults."""
    for position, argument in enumerate(arguments):
        if argument == flag and position + 1 < len(arguments):
            return arguments[position + 1]
        if argument.startswith(f"{flag}="):
            return argument.partition("=")[2]
    return None
