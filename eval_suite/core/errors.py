"""Errors a user can act on: one line of what was expected, what was found, and what to do."""

import difflib
from collections.abc import Iterable

_LISTED = 12


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


class DivergenceError(EvalSuiteError):
    """Training met a non-finite loss; the last good state is still on disk."""


class BusyError(EvalSuiteError):
    """Another process is writing to the same folder."""


def unknown_name(kind: str, name: str, choices: Iterable[str], *, listed_by: str = "") -> InputError:
    """An error for a wrong name that says what exists and which one is nearest.

    Args:
        kind: what the name stands for, e.g. ``"task"``.
        name: the name as given.
        choices: every valid name.
        listed_by: the command that lists them, said where they are too many for one line.
    """
    known = sorted(choices)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    see = f"; see {listed_by}" if listed_by and len(known) > _LISTED else ""
    if near and len(known) > _LISTED:
        return InputError(f"unknown {kind} '{name}'.{hint} There are {len(known):,} in all{see}")
    listed = ", ".join(known[:_LISTED]) + (f", ... ({len(known):,} in all)" if len(known) > _LISTED else "")
    return InputError(f"unknown {kind} '{name}'.{hint} Known: {listed or 'none'}{see}")


def first_line(error: BaseException) -> str:
    """The message of any exception as one line, with its type when the message is empty."""
    text = " ".join(str(error).split())
    return text or type(error).__name__
