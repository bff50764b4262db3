"""Typed options to flags, by tyro, the same way for every verb."""

import io
import logging
import re
from contextlib import redirect_stderr
from typing import Any, TypeVar

import tyro
from pydantic import BaseModel, ValidationError

from eval_suite.cli.types import REGISTRY, Place, flags
from eval_suite.core.errors import InputError, unknown_name
from eval_suite.core.validation import problems

log = logging.getLogger(__name__)

Options = TypeVar("Options", bound=BaseModel)
_RULE = "-\u2500"
_FRAME = "\u2500\u2502\u256d\u256e\u256f\u2570 "
_REQUIRED = re.compile(r" {4}(\S.*)")


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
    known = flags(kind)
    arguments = _with_new_names(kind, arguments)
    try:
        _require_known(arguments, list(known.values()))
        values = _sorted(kind, verb, arguments, {} if default is None else {"default": default})
        return kind.model_validate(values)
    except ValidationError as error:
        said: dict[str, str] = {}
        for line in problems(error, kind, name=lambda place: _flag(place, known)):
            said.setdefault(line.partition(": ")[0], line)
        raise InputError(f"{'; '.join(said.values())} (see eval-suite {verb} --help)") from None
    except InputError as error:
        raise InputError(f"{error} (see eval-suite {verb} --help)") from None


def _with_new_names(kind: type[BaseModel], arguments: list[str]) -> list[str]:
    """Flags that had another name in the version before, by their name of today."""
    groups = (field.annotation for field in kind.model_fields.values())
    renamed = {
        f"--{old.replace('_', '-')}": f"--{new.replace('_', '-')}"
        for group in groups
        for old, new in getattr(group, "renamed", {}).items()
    }
    words = [word.partition("=") for word in arguments]
    for old in sorted({flag for flag, _, _ in words} & renamed.keys()):
        log.info("note: %s is called %s now", old, renamed[old])
    return [renamed.get(flag, flag) + equals + value for flag, equals, value in words]


def given(arguments: list[str], flag: str) -> str | None:
    """The value of one flag, looked up before the rest is parsed: a suite decides the other flags' defaults."""
    for position, argument in enumerate(arguments):
        if argument == flag and position + 1 < len(arguments):
            return arguments[position + 1]
        if argument.startswith(f"{flag}="):
            return argument.partition("=")[2]
    return None


def _require_known(arguments: list[str], known: list[str]) -> None:
    every = {*known, "--help"}
    for argument in arguments:
        flag = argument.partition("=")[0].replace("_", "-")
        # A switch that is on is turned off by no-NAME.
        if flag.startswith("--") and not {flag, flag.replace("no-", "", 1)} & every:
            raise unknown_name("option", flag, known)


def _sorted(kind: type[BaseModel], verb: str, arguments: list[str], extra: dict[str, Any]) -> Any:
    """The words of each option, as a mapping in the options' shape."""
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            return tyro.cli(
                kind,
                prog=f"eval-suite {verb}",
                args=arguments,
                config=(
                    tyro.conf.FlagCreatePairsOff,
                    tyro.conf.OmitSubcommandPrefixes,
                    tyro.conf.PositionalMetavarFromFieldName,
                ),
                registry=REGISTRY,
                **extra,
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise InputError(_one_line(said.getvalue())) from None


def _flag(place: Place, known: dict[Place, str]) -> str:
    """The flag that a fault is in, with where in its value."""
    for depth in range(len(place), 0, -1):
        if place[:depth] in known:
            inside = [str(part) for part in place[depth:] if isinstance(part, str)]
            return ": ".join([known[place[:depth]], *([".".join(inside)] if inside else [])])
    below = [flag for at, flag in known.items() if at[: len(place)] == place and len(place) > 1]
    return f"{below[0].rpartition('.')[0]}.*" if below else ""


def _one_line(boxed: str) -> str:
    """What tyro says of words that it cannot sort, without its frame, heading and pointers elsewhere.

    The frame is two columns wide and of lines, or of spaces and dashes where the output cannot show them.
    """
    lines = [line[2:].rstrip(_FRAME) for line in boxed.splitlines()[1:]]
    text = next((line.strip() for line in lines if line.strip(_RULE)), boxed)
    if text.startswith("Missing from"):
        wanted = [
            found[1] for line in lines if (found := _REQUIRED.fullmatch(line)) and "--help" not in found[1]
        ]
        return f"expected {' and '.join(wanted)}, found none"
    if few := re.search(r"Missing value for argument '(.*)'. Expected (\d+) value", " ".join(lines)):
        return f"expected {few[2]} value{'s' * (few[2] != '1')} after {few[1]}, found fewer"
    if stray := re.match(r"Unrecognized options: (.*)", text):
        return f"expected words that belong to an option, found also: {stray[1]}"
    return text
