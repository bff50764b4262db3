"""Saying what is wrong with a file of options: all problems at once, each with the path of its key."""

import dataclasses
import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from eval_suite.core.errors import InputError
from eval_suite.core.parts import part_spec
from eval_suite.core.yaml_files import read_yaml_file

_Options = TypeVar("_Options", bound=BaseModel)
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


def as_yaml(model: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """Options as Python may have them in the form that files have: paths as texts, classes of parts by what names them, and
    a list where one text stands for it.

    Args:
        model: whose fields say what is expected.
        given: options by name.

    Raises:
        ValueError: if a class is no part, or lies in no file.
    """
    found = dict(given)
    for name, value in given.items():
        field = model.model_fields.get(name)
        wanted = None if field is None else field.annotation
        if isinstance(value, PurePath) and wanted in (str, str | None):
            found[name] = str(value)
        elif get_origin(wanted) is list or (get_origin(wanted) is tuple and ... in get_args(wanted)):
            listed = [value] if isinstance(value, str | type) else value
            if isinstance(listed, list | tuple):
                found[name] = [_named(each) if isinstance(each, type) else each for each in listed]
    return found


def _named(own: type) -> str:
    if own.__module__ == "__main__":  # importing its file, if there is one, would run the script anew
        raise ValueError(
            f"expected the class {own.__name__} in a file of its own, found it in the running script or notebook; "
            f"write it into mine.py, and give 'mine.py:{own.__name__}' or what is imported from there"
        )
    try:
        return part_spec(own)
    except InputError as error:
        raise ValueError(str(error)) from None


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


def validated(what: str, model: type[_Options], given: Mapping[str, Any]) -> _Options:
    """Options from a mapping.

    Args:
        what: they are of, for the message.
        model: what they make.
        given: the options by name.

    Raises:
        InputError: if one is unknown or has a value that it cannot have.
    """
    try:
        return model.model_validate(given)
    except ValidationError as error:
        require_no_problems(what, problems(error, model))
        raise


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
