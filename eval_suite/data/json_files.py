"""JSON files that people wrote: what stands in them, or one line of what does not."""

import json
from pathlib import Path
from typing import Any

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
        raise InputError(f"expected a list of objects '{key}' in {path}, found {str(keys)[:120]}")
    return found


def whole_number(item: dict[str, Any], key: str, where: str, path: Path) -> int:
    """The whole number under a key of an entry of the list ``where``.

    Raises:
        InputError: if it is none.
    """
    value = item.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(
            f"expected a whole number '{key}' in every entry of '{where}' in {path}, found {value!r}"
        )
    return value


def text_of(item: dict[str, Any], key: str, where: str, path: Path) -> str:
    """The text under a key of the entry that ``where`` names.

    Raises:
        InputError: if it is none.
    """
    value = item.get(key)
    if not isinstance(value, str):
        raise InputError(f"expected a text '{key}' for {where} in {path}, found {str(value)[:60]!r}")
    # JSON can hold halves of characters, which no file of text can.
    return value.encode("utf-8", "replace").decode("utf-8")
