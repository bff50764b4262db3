"""Lists of images as OpenOOD publishes them: a path and a label on each line."""

import re
from pathlib import Path
from typing import NamedTuple

from eval_suite.core.errors import InputError
from eval_suite.core.files import read_file
from eval_suite.data.layouts.base import SUFFIXES

_LINE = re.compile(r"(?P<name>.+?)(?:[ \t]+(?P<label>-?\d+))?")
_FOLDERS = (
    "",
    "images_classic",
    "images_largescale",
    "images",
    "data/images_classic",
    "data/images_largescale",
    "data",
)
_NAMED = 5


class ImageList(NamedTuple):
    """Images below ``root`` by their ``names``, each with its label, None where its line has none."""

    names: list[str]
    labels: list[int | None]
    root: Path


def read_lines(path: Path) -> list[tuple[str, int | None]]:
    """The path and the label of every line; whether the images are there is not looked at.

    Raises:
        InputError: if it names no images.
    """
    try:
        lines = read_file(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InputError(expected="text (UTF-8)", where=path, found="other bytes") from None
    found = [
        (match["name"], None if match["label"] is None else int(match["label"]))
        for line in lines
        if (match := _LINE.fullmatch(line.strip()))
    ]
    wrong = next((name for name, _ in found if Path(name).suffix.lower() not in SUFFIXES), None)
    if not found or wrong is not None or any(".." in Path(name).parts for name, _ in found):
        raise InputError(
            expected="paths of images, with or without a label, one a line",
            where=path,
            found=f"'{wrong}'" if wrong is not None else "none" if not found else "a path with '..'",
        )
    return found


def read_image_list(path: Path) -> ImageList:
    """A list whose images lie in a folder ``images_...`` next to that of the lists, or in one above.

    Raises:
        InputError: if it names no images, or they are in no folder above.
    """
    lines = read_lines(path)
    names = [name for name, _ in lines]
    above = list(path.resolve().parents)[:_NAMED]
    # Every file has to be there: the first alone may lie in the folder of another list too.
    missing: tuple[int, Path, str] | None = None
    for base in (base / inner for base in above for inner in _FOLDERS):
        if not (base / names[0]).is_file():
            continue
        absent = [name for name in names if not (base / name).is_file()]
        if not absent:
            return ImageList(names, [label for _, label in lines], base)
        missing = missing or (len(absent), base, absent[0])
    found = (
        f"{missing[0]:,} of {len(names):,} missing below {missing[1]}, first '{missing[2]}'"
        if missing
        else f"no '{names[0]}' in any of the folders above"
    )
    raise InputError(
        expected="the images that the list names",
        where=path,
        found=found,
        remedy="put them next to the list, or a folder above",
    )
