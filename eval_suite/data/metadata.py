"""Reading the plain text files that name a set's images: fields by line, paths that stay inside, files that exist."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from eval_suite.core.errors import InputError, first_line
from eval_suite.core.files import require_regular


class Row(NamedTuple):
    """One line of a text file: its number from 1, and its fields."""

    number: int
    fields: list[str]


def read_rows(path: Path, fields: int, form: str, *, separator: str | None = None) -> Iterator[Row]:
    """The lines of a text file that are not empty, taken apart.

    Args:
        path: the file, UTF-8.
        fields: how many fields a line has; the last takes what remains.
        form: a line in words, for the message.
        separator: between fields; None is any white space.

    Raises:
        InputError: if there is no such file, it is no text, or a line has another number of fields.
    """
    if not path.is_file():
        raise InputError(expected=f"a file {path} with lines of '{form}'", found="none")
    try:
        lines = require_regular(path).read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InputError(expected="text (UTF-8)", where=path, found="other bytes") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        found = line.strip().split(separator, fields - 1)
        if len(found) != fields:
            raise InputError(expected=f"'{form}' in line {number} of {path}", found=f"'{line[:80]}'")
        yield Row(number, found)


def read_csv(path: Path) -> list[list[str]]:
    """The rows of a CSV file.

    Raises:
        InputError: if it is no text, or no CSV.
        OSError: if it cannot be read.
    """
    try:
        with require_regular(path).open(newline="", encoding="utf-8-sig") as stream:
            return list(csv.reader(stream))
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(expected="CSV in UTF-8", where=path, found=first_line(error)) from None


def numbers(row: Row, path: Path, values: list[str]) -> list[float]:
    """Some fields of a line as numbers.

    Raises:
        InputError: if one is none, or not finite.
    """
    try:
        found = [float(value) for value in values]
    except ValueError:
        found = [float("nan")]
    if not all(abs(value) < 1e9 for value in found):
        raise InputError(
            expected=f"numbers in line {row.number} of {path}", found=f"'{' '.join(values)[:80]}'"
        )
    return found


def inside(name: str, source: Path) -> str:
    """A path named by metadata, relative to the set's folder.

    Raises:
        InputError: if it leads out of that folder.
    """
    normal = os.path.normpath(name)
    if not name or os.path.isabs(name) or normal == ".." or normal.startswith("../"):
        raise InputError(expected="paths inside the data folder", where=source, found=f"'{name}'")
    return name


def require_files(root: Path, files: list[str], source: Path) -> None:
    """Check that every file named by metadata is there.

    Raises:
        InputError: if one is not; the message counts them and names the first.
    """
    missing = [name for name in files if not os.path.isfile(root / name)]
    if missing:
        raise InputError(
            f"{source} names {len(files):,} files below {root}, of which {len(missing):,} are missing, first "
            f"'{missing[0]}'; complete the folder or take their lines out"
        )
