"""Errors a user can act on: one line of what was expected, what was found, and what to do."""

import difflib
import re
from collections.abc import Iterable

_LISTED = 12
_NEAR = 0.6
_BEGINNING = 4  # letters that make a name the beginning of another rather than chance


class EvalSuiteError(Exception):
    """Something failed while running; the command ends with exit code 1.

    Args:
        message: the whole sentence, where it is not made from the parts.
        expected: what was asked for.
        where: the file, folder or option that it was expected in.
        found: what is there instead.
        remedy: what to do.
    """

    exit_code = 1

    def __init__(
        self,
        message: str = "",
        *,
        expected: str = "",
        where: object = "",
        found: str = "",
        remedy: str = "",
    ) -> None:
        self.expected, self.where, self.found, self.remedy = expected, str(where), found, remedy
        place = f" in {self.where}" if self.where else ""
        parts = [f"expected {expected}{place}, found {found}" if expected else message, remedy]
        super().__init__("; ".join(part for part in parts if part))


class InputError(EvalSuiteError):
    """The request cannot be served as it stands; the command ends with exit code 2."""

    exit_code = 2


class AmbiguousError(InputError):
    """Two readings of the request fit, and only the user knows which is meant; another kind or name is no way out."""


class DivergenceError(EvalSuiteError):
    """Training met a non-finite loss; the last good state is still on disk."""


class BusyError(EvalSuiteError):
    """Another process is writing to the same folder."""


def unknown_name(kind: str, name: str, choices: Iterable[str], *, listed_by: str = "") -> InputError:
    """An error for a wrong name that says what exists, the nearest first.

    Args:
        kind: what the name stands for, e.g. ``"task"``.
        name: the name as given.
        choices: every valid name.
        listed_by: the command that lists them, said where they are too many for one line.
    """
    known = _nearest_first(name, choices)
    near = [choice for choice in known[:1] if _closeness(name, choice) >= _NEAR]
    hint = f" Did you mean '{near[0]}'?" if near else ""
    see = f"; see {listed_by}" if listed_by and len(known) > _LISTED else ""
    if near and len(known) > _LISTED:
        others = [choice for choice in known[1:4] if _closeness(name, choice) >= _NEAR]
        also = f" Near it: {', '.join(others)}." if others else ""
        return InputError(f"unknown {kind} '{name}'.{hint}{also} There are {len(known):,} in all{see}")
    listed = ", ".join(known[:_LISTED]) + (f", ... ({len(known):,} in all)" if len(known) > _LISTED else "")
    return InputError(f"unknown {kind} '{name}'.{hint} Known: {listed or 'none'}{see}")


def _nearest_first(name: str, choices: Iterable[str]) -> list[str]:
    """The choices by how near they are to a name, and those that are far from it by the alphabet."""
    rated = []
    for choice in choices:
        near = _closeness(name, choice)
        as_written = difflib.SequenceMatcher(None, choice, name).ratio() if near >= _NEAR else 0.0
        rated.append((-near if near >= _NEAR else 0.0, -as_written, choice))
    return [choice for _, _, choice in sorted(rated)]


def _closeness(name: str, choice: str) -> float:
    """From 0 to 1, and above 1 for names that go on where this one ends; case and separators, often mixed up, do not count."""
    wanted, other = _plain(name), _plain(choice)
    matcher = difflib.SequenceMatcher(None, other, wanted)
    if len(wanted) >= _BEGINNING and other.startswith(wanted):
        return 1 + matcher.ratio()
    if matcher.real_quick_ratio() < _NEAR or matcher.quick_ratio() < _NEAR:
        return 0.0
    return matcher.ratio()


def _plain(name: str) -> str:
    return re.sub(r"[\s_./-]", "", name).casefold()


def first_line(error: BaseException) -> str:
    """The message of any exception as one line, with its type when the message is empty."""
    text = " ".join(str(error).split())
    return text or type(error).__name__
