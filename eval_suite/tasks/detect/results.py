"""Detections of other tools: COCO's results in their dialects, and the text files of VOC's development kit."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError, first_line
from eval_suite.core.files import read_file
from eval_suite.data.corners import corner_evidence, look_like_shares, outside
from eval_suite.data.json_files import read_results, result_entries
from eval_suite.data.objects import ObjectIndex
from eval_suite.tasks.detect.matching import Detections

_NAMED = 3
_VOC_FILE = re.compile(r"(?:.*_)?det_[^_]+_(?P<name>.+)|(?P<plain>.+)")


class Results(NamedTuple):
    """Detections that were read, and what was assumed of them."""

    detections: Detections
    notes: list[str]


def read_coco_results(path: Path, index: ObjectIndex, *, own: bool = False) -> Results:
    """Read COCO's results of the images of an index.

    Boxes are x, y, width, height; they are read as x0 y0 x1 y1, with a note, where `corner_evidence` is clear about it.
    Images are known by their ids, their names with and without folder and suffix, and these as numbers where the ground
    truth has no ids of its own; classes by the ground truth's ids, or by name. ``categories`` that come with the
    results tell what its ids are.

    Args:
        path: the JSON file: a list of objects, such a list under any key of an object, or an object on each line.
        index: the ground truth.
        own: whether this suite wrote the file, so that nothing about its boxes has to be guessed.

    Raises:
        InputError: if the file is no such list, or an entry names an unknown image or class or holds no box.
    """
    content = result_entries(read_results(path), "image_id", path)
    image = _places(content.entries, "image_id", _image_names(index), path, f"{index.spec} ({index.split})")
    wanted = f"the classes of {index.spec}, {_range(index.category_ids)}"
    labels = _places(content.entries, "category_id", _class_names(index, content.categories), path, wanted)
    boxes = _numbers(content.entries, "bbox", (4,), path).reshape(-1, 4)
    scores = _numbers(content.entries, "score", (), path)
    sizes = index.sizes[image]
    notes = []
    evidence = corner_evidence(boxes, sizes)
    if not own and evidence.contradictory:
        raise InputError(
            expected="'bbox' as x, y, width, height",
            where=path,
            found=str(evidence),
            remedy="write all as x, y, width, height, clipped to their images",
        )
    if not own and evidence.are_corners:
        notes.append(f"the boxes of {path} are read as x0, y0, x1, y1: {evidence}")
        _require_ordered(boxes[:, 2:] - boxes[:, :2], boxes, "x0, y0, x1, y1", path)
        return Results(Detections(image, labels, _inclusive(boxes, index), scores), notes)
    _require_ordered(boxes[:, 2:], boxes, "x, y, width, height", path)
    if not own and evidence.doubtful:
        notes.append(
            f"the boxes of {path} are read as x, y, width, height, but may be x0, y0, x1, y1: {evidence}; subtract the first "
            "two numbers from the last two if they are"
        )
    corners = np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])
    if look_like_shares(boxes, sizes):
        notes.append(f"the boxes of {path} look like shares of the images' sides; they are read as pixels")
    elif len(corners) and outside(corners, sizes).all():
        notes.append(f"all boxes of {path} lie outside their images")
    return Results(Detections(image, labels, _inclusive(corners, index), scores), notes)


def _require_ordered(sides: NDArray[np.float64], boxes: NDArray[np.float64], wanted: str, path: Path) -> None:
    if len(sides) and sides.min() < 0:
        bad = int(sides.min(axis=1).argmin())
        raise InputError(
            expected=f"'bbox' as {wanted}",
            where=path,
            found=f"a negative side in entry {bad}: {boxes[bad].tolist()}",
        )


def voc_result_files(place: Path, index: ObjectIndex) -> dict[str, Path]:
    """The text files of a folder by the class that their name ends in, such as ``comp4_det_test_dog.txt`` or ``dog.txt``."""
    files = {}
    for file in sorted(place.glob("*.txt")):
        matched = _VOC_FILE.fullmatch(file.stem)
        name = (matched["name"] or matched["plain"]) if matched else ""
        if name in index.classes:
            files[name] = file
    return files


def read_voc_results(place: Path, index: ObjectIndex) -> Results:
    """Read the files of VOC's development kit, one a class, with lines of ``image score xmin ymin xmax ymax``.

    Corners count from pixel 1 and lie inside the box, as in VOC's annotations.

    Args:
        place: the folder with these files.
        index: the ground truth.

    Raises:
        InputError: if there is none, or a line is no such line or of an unknown image.
    """
    files = voc_result_files(place, index)
    if not files:
        raise InputError(
            expected="comp4_det_<split>_<class>.txt with the classes of the ground truth, or a .json of each detector",
            where=place,
            found="neither",
        )
    known = _image_names(index)
    image: list[int] = []
    labels: list[int] = []
    values: list[list[float]] = []
    for name, file in files.items():
        for number, line in enumerate(_lines_of(file), start=1):
            if not line.strip():
                continue
            item, numbers = _voc_line(line, file, number)
            if item not in known:
                raise InputError(
                    expected=f"images of {index.spec} ({index.split})",
                    where=f"line {number} of {file}",
                    found=f"'{item}'",
                )
            image.append(known[item])
            labels.append(index.classes.index(name))
            values.append(numbers)
    found = np.array(values, np.float64).reshape(-1, 5)
    missing = [name for name in index.classes if name not in files]
    notes = [f"{place} has no file of: {', '.join(missing)}; nothing was detected of them"] if missing else []
    detections = Detections(
        np.array(image, np.int64), np.array(labels, np.int64), found[:, 1:] - 1, found[:, 0]
    )
    return Results(detections, notes)


def _lines_of(file: Path) -> list[str]:
    try:
        return read_file(file).decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {file}: {first_line(error)}") from None


def _voc_line(line: str, file: Path, number: int) -> tuple[str, list[float]]:
    fields = line.rsplit(maxsplit=5)
    try:
        values = [float(field) for field in fields[1:]]
    except ValueError:
        values = []
    if len(values) != 5 or not all(map(math.isfinite, values)):
        raise InputError(
            expected="'image score xmin ymin xmax ymax'",
            where=f"line {number} of {file}",
            found=f"'{line[:80]}'",
        )
    return fields[0].strip(), values


def _inclusive(corners: NDArray[np.float64], index: ObjectIndex) -> NDArray[np.float64]:
    """Corners in the convention of the index; a width in files of VOC's images is the difference of VOC's corners."""
    return corners - [0, 0, 1, 1] if index.widths_are_edges else corners


def _image_names(index: ObjectIndex) -> dict[int | str, int]:
    """Every unmistakable way to name an image, with its place."""
    ways: dict[int | str, int] = {item: i for i, item in enumerate(index.ids)}
    if index.image_keys is not None:
        ways |= {str(key): i for i, key in enumerate(index.image_keys)}
        ways |= {key: i for i, key in enumerate(index.image_keys)}
    certain = set(ways)
    ambiguous: set[int | str] = set()
    for i, (item, path) in enumerate(zip(index.ids, index.paths, strict=True)):
        name = item.rpartition("/")[2]
        keys: list[int | str | None] = [name, path.stem, path.name, item.partition("/")[2]]
        # An id of the ground truth's own is no number that a name happens to hold.
        keys += [as_number(name)] if index.image_keys is None else []
        for key in keys:
            if key and key not in certain and ways.setdefault(key, i) != i:
                ambiguous.add(key)
    return {key: i for key, i in ways.items() if key not in ambiguous}


def as_number(name: str) -> int | None:
    """A name such as ``2008_000002`` as a number."""
    digits = name.replace("_", "")
    return int(digits) if digits.isascii() and digits.isdigit() else None


def _class_names(index: ObjectIndex, categories: Iterable[Mapping[str, Any]]) -> dict[int | str, int]:
    """Labels by the ids of the classes, in the order that the results' own categories have, and by name."""
    labels: dict[int | str, int] = {name: label for label, name in enumerate(index.classes)}
    own = {each.get("id"): labels[str(each["name"])] for each in categories if each.get("name") in labels}
    numbers = own or {number: label for label, number in enumerate(index.category_ids)}
    return labels | {key: label for key, label in numbers.items() if isinstance(key, int | str)}


def _range(numbers: list[int]) -> str:
    consecutive = numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    return (
        f"{numbers[0]}..{numbers[-1]}"
        if consecutive
        else ", ".join(map(str, numbers[:10])) + (", ..." if len(numbers) > 10 else "")
    )


def _places(
    entries: Sequence[Mapping[str, Any]], key: str, known: Mapping[int | str, int], path: Path, where: str
) -> NDArray[np.int64]:
    found = [entry.get(key) for entry in entries]
    usable = [
        value if isinstance(value, int | str) and not isinstance(value, bool) else None for value in found
    ]
    places = [known.get(value, -1) if value is not None else -1 for value in usable]
    unknown = list(dict.fromkeys(repr(v) for v, place in zip(found, places, strict=True) if place < 0))
    if unknown:
        shown = ", ".join(unknown[:_NAMED]) + (", ..." if len(unknown) > _NAMED else "")
        raise InputError(
            expected=f"every '{key}' in {path} to be one of {where}",
            found=f"{len(unknown):,} unknown: {shown}",
        )
    return np.array(places, np.int64)


def _numbers(
    entries: Sequence[Mapping[str, Any]], key: str, shape: tuple[int, ...], path: Path
) -> NDArray[np.float64]:
    try:
        array = np.array([entry[key] for entry in entries], dtype=np.float64)
        good = array.shape == (len(entries), *shape) or not entries
    except (KeyError, TypeError, ValueError):
        array, good = np.zeros(0), False
    if good and np.isfinite(array).all():
        return array
    bad = next(i for i, entry in enumerate(entries) if not _is_numbers(entry.get(key), shape))
    wanted = f"{shape[0]} finite numbers" if shape else "a finite number"
    raise InputError(
        expected=f"{wanted} as '{key}'", where=path, found=f"{entries[bad].get(key)!r} in entry {bad}"
    )


def _is_numbers(value: Any, shape: tuple[int, ...]) -> bool:
    items = value if shape else [value]
    if not isinstance(items, list) or (shape and len(items) != shape[0]):
        return False
    return all(isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x) for x in items)
