"""Typed words to options, the same way for every verb: argparse sorts the words, pydantic alone judges them.

So a wrong value is worded once, in `eval_suite.core.validation`, whether it comes from a flag or from a suite file.
"""

import argparse
import logging
import shutil
from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from eval_suite.cli.flags import Flag, Place, flags_of, group_of, shown
from eval_suite.core.errors import InputError, unknown_name
from eval_suite.core.validation import problems

log = logging.getLogger(__name__)

Options = TypeVar("Options", bound=BaseModel)
_NARROWEST, _WIDEST = 60, 120
# What most commands are typed with comes first in the help of those with more options than a screen holds.
_FIRST = (
    *("--backbone", "--data", "--outliers", "--suite", "--recipe", "--name", "--out", "--limit"),
    *("--mean", "--std", "--input-size", "--device"),
)
_A_SCREEN = 14
_LONGEST_PLACEHOLDER = 40


def parse(kind: type[Options], verb: str, arguments: list[str], default: Any = None) -> Options:
    """Read a verb's flags into its options.

    Args:
        kind: a pydantic model whose attribute docstrings are the flags' help.
        verb: what stands before the flags.
        arguments: what the user typed after it.
        default: an instance that holds the values of flags not given.

    Raises:
        InputError: on wrong usage, in one line.
        SystemExit: after help was asked for and printed.
    """
    flags = flags_of(kind)
    try:
        typed = _typed(kind, verb, flags, _in_todays_names(kind, arguments), default)
        if default is None:
            _require_all(flags, typed)
        return kind.model_validate(_filled(kind, typed, default))
    except ValidationError as error:
        said: dict[str, str] = {}
        for line in problems(error, kind, name=lambda place: _flag(place, flags)):
            said.setdefault(line.partition(": ")[0], line)
        raise InputError(f"{'; '.join(said.values())} (see eval-suite {verb} --help)") from None
    except InputError as error:
        raise InputError(f"{error} (see eval-suite {verb} --help)") from None


def given(arguments: list[str], flag: str) -> str | None:
    """The value of one flag, looked up before the rest is parsed: a suite decides the other flags' defaults."""
    for position, argument in enumerate(arguments):
        if argument == flag and position + 1 < len(arguments):
            return arguments[position + 1]
        if argument.startswith(f"{flag}="):
            return argument.partition("=")[2]
    return None


def _in_todays_names(kind: type[BaseModel], arguments: list[str]) -> list[str]:
    """The words with their flags spelt with dashes, and those that had another name in the version before by today's."""
    groups = (field.annotation for field in kind.model_fields.values())
    renamed = {
        f"--{old.replace('_', '-')}": f"--{new.replace('_', '-')}"
        for group in groups
        for old, new in getattr(group, "renamed", {}).items()
    }
    words = []
    for word in arguments:
        flag, equals, value = word.partition("=")
        flag = flag.replace("_", "-") if flag.startswith("--") else flag
        if flag in renamed:
            log.info("note: %s is called %s now", flag, renamed[flag])
        words.append(renamed.get(flag, flag) + equals + value)
    return words


def _typed(
    kind: type[BaseModel], verb: str, flags: list[Flag], arguments: list[str], default: Any
) -> dict[Place, Any]:
    """The values of the flags that were given, by their places."""
    parser = argparse.ArgumentParser(
        prog=f"eval-suite {verb}",
        usage=f"eval-suite {' '.join([verb, *(flag.name.upper() for flag in flags if flag.positional)])} [options]",
        description=kind.__doc__,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=28, width=_width()),
        allow_abbrev=False,
        exit_on_error=False,
        add_help=False,
    )
    spelt = {"--help": None}
    for title, members in _by_need(flags):
        group = parser.add_argument_group(title)
        for flag in members:
            spelt |= dict.fromkeys(_spellings(flag))
            _add(parser if flag.positional else group, flag, default)
    group.add_argument("-h", "--help", action="help", help="Show this help and end.")
    for argument in arguments:
        name = argument.partition("=")[0]
        if name.startswith("--") and name not in spelt:
            raise unknown_name("option", name, [flag.name for flag in flags])
    by_key = {flag.key: flag for flag in flags}
    try:
        found, stray = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        flag = next(flag for flag in flags if error.argument_name in (*_spellings(flag), flag.name))
        count = flag.words or 1
        if flag.switch:
            raise InputError(
                expected="words that belong to an option", found=f"a value for {flag.name}"
            ) from None
        raise InputError(
            expected=f"{count} value{'s' * (count != 1)} after {flag.name}", found="fewer"
        ) from None
    if stray:
        raise InputError(expected="words that belong to an option", found=f"also: {' '.join(stray)}")
    typed: dict[Place, Any] = {}
    for key, words in vars(found).items():
        flag = by_key[key]
        typed[flag.place] = words if flag.switch else flag.value([words] if isinstance(words, str) else words)
    return typed


def _by_need(flags: list[Flag]) -> list[tuple[str, list[Flag]]]:
    """Headings with the flags below them: where there are many, those needed most often first and the command's others last."""
    groups: dict[type[BaseModel] | None, list[Flag]] = {}
    first = [flag for name in _FIRST for flag in flags if flag.name == name] if len(flags) > _A_SCREEN else []
    for flag in flags:
        if flag not in first:
            groups.setdefault(flag.group, []).append(flag)
    others = groups.pop(None, [])
    titled = [
        ((group.__doc__ or "").strip().partition("\n")[0].rstrip("."), members)
        for group, members in groups.items()
        if group is not None
    ]
    return (
        [("needed most often", first)] * bool(first)
        + titled
        + [("further options" if titled else "options", others)]
    )


def _add(parser: Any, flag: Flag, default: Any) -> None:
    required = flag.field.is_required()
    value = _at(default, flag) if default is not None else flag.field.get_default(call_default_factory=True)
    standing = "" if value is None else f" (default: {shown(value)})"
    ending = " (required)" if required and default is None else standing
    turned = "Turn off: " if flag.switch and flag.field.get_default() is True else ""
    about = _escaped(f"{turned}{flag.field.description or ''}{_choices(flag)}{ending}")
    settings: dict[str, Any] = {"dest": flag.key, "default": argparse.SUPPRESS, "help": about}
    if flag.switch:
        parser.add_argument(
            *_spellings(flag), action="store_const", const=not flag.field.get_default(), **settings
        )
        return
    settings["nargs"] = "*" if flag.words is None else flag.words if flag.words > 1 else None
    if flag.several:
        settings["action"] = "extend"  # argparse else keeps what was typed last, without a word
    words = tuple("NAME" if len(word) > _LONGEST_PLACEHOLDER else word for word in flag.placeholders)
    settings["metavar"] = words if (flag.words or 1) > 1 else words[0]
    if flag.positional:
        settings["nargs"] = "?"
        settings["metavar"] = flag.name.upper()
        parser.add_argument(settings.pop("dest"), **settings)
    else:
        parser.add_argument(flag.name, **settings)


def _choices(flag: Flag) -> str:
    """The values of a flag that are too many to stand behind its name."""
    names = flag.placeholders[0]
    return f" One of {names.replace('|', ', ')}." if len(names) > _LONGEST_PLACEHOLDER else ""


def _spellings(flag: Flag) -> list[str]:
    """How a flag is typed; a switch that is on is turned off by its ``no-`` form."""
    if flag.switch and flag.field.get_default() is True:
        start, dot, name = flag.name.rpartition(".")
        return [f"{start}.no-{name}" if dot else f"--no-{flag.name[2:]}"]
    return [flag.name]


def _filled(kind: type[BaseModel], typed: dict[Place, Any], default: Any, at: Place = ()) -> dict[str, Any]:
    """The options as a mapping: what was typed, else what the default holds, else what the fields say."""
    values: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        place, held = (*at, name), None if default is None else getattr(default, name)
        group = group_of(field)
        if group is not None:
            values[name] = _filled(group, typed, held, place)
        elif place in typed:
            values[name] = typed[place]
        else:
            values[name] = field.get_default(call_default_factory=True) if default is None else held
    return values


def _require_all(flags: list[Flag], typed: dict[Place, Any]) -> None:
    missing = [
        flag.name.upper() if flag.positional else f"{flag.name} {' '.join(flag.placeholders)}"
        for flag in flags
        if flag.field.is_required() and flag.place not in typed
    ]
    if missing:
        raise InputError(expected=f"{' and '.join(missing)}", found="none")


def _at(options: Any, flag: Flag) -> Any:
    for name in flag.place:
        options = getattr(options, str(name))
    return options


def _flag(place: Place, flags: Iterable[Flag]) -> str:
    """The flag that a fault is in, with where in its value."""
    known = {flag.place: flag.name for flag in flags}
    for depth in range(len(place), 0, -1):
        if place[:depth] in known:
            inside = [str(part) for part in place[depth:] if isinstance(part, str)]
            return ": ".join([known[place[:depth]], *([".".join(inside)] if inside else [])])
    below = [flag for at, flag in known.items() if at[: len(place)] == place and len(place) > 1]
    return f"{below[0].rpartition('.')[0]}.*" if below else ""


def _width() -> int:
    return max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size().columns))


def _escaped(text: str) -> str:
    return text.replace("%", "%%")
