"""JSON files that people wrote: what stands in them, or one line of what does not."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from eval_suite.core.errors import InputError, first_line
from eval_suite.core.files import read_file


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        InputError: if it cannot be read.
    """
    try:
        return json.loads(read_file(path))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or first_line(error)}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"expected JSON in {path}, found: {first_line(error)}") from None


class ResultEntries(NamedTuple):
    """The entries of a results file in COCO's form, and the ``categories`` that stand next to them, if any."""

    entries: list[dict[str, Any]]
    categories: list[dict[str, Any]]


def read_results(path: Path) -> Any:
    """The content of a JSON file of results; a list, where it has a JSON value on each line.

    Raises:
        InputError: if it is no JSON.
    """
    try:
        return read_json(path)
    except InputError:
        with suppress(OSError, ValueError, RecursionError):
            return [json.loads(line) for line in read_file(path).splitlines() if line.strip()]
        raise


def result_entries(content: Any, key: str, path: Path) -> ResultEntries:
    """The entries of results: a list of objects, or such a list within an object.

    Args:
        content: what `read_results` found.
        key: what every entry has; of the lists within an object, the one whose entries have it is taken.
        path: the file, for the message.

    Raises:
        InputError: if there is none, or two lists could be meant.
    """
    lists = content if isinstance(content, dict) else {"": content}
    meant = {
        name: entries
        for name, entries in lists.items()
        if isinstance(entries, list)
        and all(isinstance(entry, dict) for entry in entries)
        and (not name or any(key in entry for entry in entries))
    }
    if len(meant) != 1:
        found = f"{len(meant)} of them: {', '.join(meant)}" if meant else str(content)[:80]
        raise InputError(
            expected=f"COCO's results, one list of objects with '{key}'", where=path, found=found
        )
    categories = lists.get("categories")
    return ResultEntries(
        next(iter(meant.values())),
        [each for each in categories if isinstance(each, dict)] if isinstance(categories, list) else [],
    )


def list_of_objects(content: Any, key: str, path: Path) -> list[dict[str, Any]]:
    """The list of objects under a key.

    Args:
        content: what should be an object.
        key: where the list should be.
        path: the file, for the message.

    Raises:
        InputError: if it is not there.
    """
    found = content.get(key) if isinstance(content, dict) else None
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        keys = sorted(content) if isinstance(content, dict) else type(content).__name__
        raise InputError(expected=f"a list of objects '{key}'", where=path, found=f"{str(keys)[:120]}")
    return found


def whole_number(item: dict[str, Any], key: str, where: str, path: Path) -> int:
    """The whole number under a key of an entry of the list ``where``.

    Raises:
        InputError: if it is none.
    """
    value = item.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(
            expected=f"a whole number '{key}' in every entry of '{where}'", where=path, found=f"{value!r}"
        )
    return value


def image_id(item: dict[str, Any], key: str, where: str, path: Path) -> int | str:
    """The id of an image under a key of an entry of the list ``where``: a whole number or a text.

    Raises:
        InputError: if it is neither.
    """
    value = item.get(key)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, int | str) or isinstance(value, bool) or value == "":
        raise InputError(
            expected=f"a whole number or a text '{key}' in every entry of '{where}'",
            where=path,
            found=str(value)[:60],
        )
    return value


def text_of(item: dict[str, Any], key: str, where: str, path: Path) -> str:
    """The text under a key of the entry that ``where`` names.

    Raises:
        InputError: if it is none.
    """
    value = item.get(key)
    if not isinstance(value, str):
        raise InputError(expected=f"a text '{key}' for {where}", where=path, found=f"{str(value)[:60]!r}")
    # JSON can hold halves of characters, which no file of text can.
    return value.encode("utf-8", "replace").decode("utf-8")
