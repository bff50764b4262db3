"""Saying what is wrong with a file of options: all problems at once, each with the path of its key."""

import dataclasses
import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from eval_suite.core.errors import InputError
from eval_suite.core.yaml_files import read_yaml_file

_WORDINGS = (
    (r"^Value error, ", ""),
    (r", unable to (parse|interpret) .*", ""),
    (r"^Input should be (less|greater) than", r"expected a number \1 than"),
    (r"^Input should be", "expected"),
    (r"\ba valid dictionary\b", "keys with values"),
    (r"\ba valid integer\b", "a whole number"),
    (r"\ba valid number\b", "a number"),
    (r"\ba valid boolean\b", "True or False"),
)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        InputError: if the file is missing, no YAML, or no mapping.
    """
    content = read_yaml_file(path)
    if not isinstance(content, Mapping):
        raise InputError(expected="a mapping of keys", where=path, found=f"{type(content).__name__}")
    return dict(content)


def problems(
    error: ValidationError,
    model: type[BaseModel],
    prefix: Iterable[str] = (),
    name: Callable[[tuple[int | str, ...]], str] = lambda place: ".".join(map(str, place)),
) -> list[str]:
    """Every problem as ``path.of.key: what is wrong``, with the nearest known key for an unknown one.

    Args:
        error: what pydantic found.
        model: of what.
        prefix: keys that stand before.
        name: how the place of a value is called; by default by its keys.
    """
    lines = []
    for fault in error.errors():
        place = (*prefix, *fault["loc"])
        if fault["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            known = _keys_beside(model, fault["loc"])
            near = difflib.get_close_matches(str(place[-1]), known, n=1, cutoff=0.5)
            hint = f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(sorted(known))}"
            message = f"unknown key{hint if known else ''}"
        else:
            told = fault["type"] == "missing" or re.match(r"Value error, (unknown|.*\bfound\b)", fault["msg"])
            found = "" if told else f", found {_short(fault['input'])}"
            message = _worded(fault["msg"]) + found
        where = name(place)
        lines.append(f"{where}: {message}" if where else message)
    return lines


def require_no_problems(what: str, lines: list[str]) -> None:
    """Raise one error that lists all problems.

    Raises:
        InputError: if there are any.
    """
    if lines:
        count = f"{len(lines)} problems" if len(lines) > 1 else "1 problem"
        raise InputError(f"{what} has {count}:\n" + "\n".join(f"  {line}" for line in lines))


def _worded(message: str) -> str:
    """Pydantic's message in the form of ours."""
    for pattern, ours in _WORDINGS:
        message = re.sub(pattern, ours, message)
    return message


def _keys_beside(model: Any, location: tuple[int | str, ...]) -> list[str]:
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        fields = getattr(model, "model_fields", {})
        if part not in fields:
            return []
        model = _innermost(fields[part].annotation)
    if dataclasses.is_dataclass(model):
        return [field.name for field in dataclasses.fields(model)]
    return list(getattr(model, "model_fields", {}))


def _innermost(annotation: Any) -> Any:
    """The model or dataclass inside ``list[X]``, ``X | None`` and the like."""
    for inner in get_args(annotation):
        if inner is not type(None):
            return _innermost(inner)
    return annotation


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
