"""Detections on disk: COCO's results list, one file per detector, next to a list of the images it was run on."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from eval_suite.core.errors import InputError, first_line
from eval_suite.core.files import read_file
from eval_suite.core.predictions import About
from eval_suite.core.store import atomic_write, write_json
from eval_suite.data.voc import VocIndex
from eval_suite.tasks.detect.matching import Detections

IMAGES = "images.json"
_NAMED = 3
_BOX_DIGITS, _SCORE_DIGITS = 3, 7


class Run(NamedTuple):
    """What a folder of predictions was made on: the whole split it is part of, and the images that were read."""

    about: About
    ids: list[str]


def write_detections(path: Path, index: VocIndex, detections: Detections) -> None:
    """Write COCO's results: ``[{"image_id", "category_id", "bbox": [x, y, width, height], "score"}, ...]``.

    A box's width is x1 - x0 of VOC's corners, as files of detectors trained on VOC's numbers have it. An image's id is its name as a number (``2008_000002`` is 2008000002), or the name itself where the names of the
    split are no different numbers; a category's id is its place among the classes, from 1.
    """
    keys = _written_keys(index)
    x0, y0, x1, y1 = detections.boxes.T
    boxes = np.stack([x0, y0, x1 - x0, y1 - y0], axis=1).round(_BOX_DIGITS).tolist()
    scores = detections.scores.round(_SCORE_DIGITS).tolist()
    places = zip(detections.image.tolist(), detections.labels.tolist(), boxes, scores, strict=True)
    rows = (
        json.dumps(
            {"image_id": keys[i], "category_id": label + 1, "bbox": box, "score": score}, allow_nan=False
        )
        for i, label, box, score in places
    )
    with atomic_write(path) as stream:
        stream.write("[" + ",\n".join(rows) + "]\n")


def write_run(folder: Path, about: About, evaluated: VocIndex, failed: Iterable[str]) -> None:
    """Write which images were predicted on, as COCO lists images without annotations."""
    lost = set(failed)
    keys = _written_keys(evaluated)
    images = [
        {"id": key, "file_name": item, "width": int(width), "height": int(height)}
        for key, item, (width, height) in zip(keys, evaluated.ids, evaluated.sizes, strict=True)
        if item not in lost
    ]
    categories = [{"id": i, "name": name} for i, name in enumerate(evaluated.classes, start=1)]
    write_json(
        folder / IMAGES,
        {
            "info": {"description": "images predicted on", **about._asdict()},
            "images": images,
            "categories": categories,
        },
    )


def read_run(folder: Path) -> Run:
    """Read which images a folder of predictions was made on.

    Raises:
        InputError: if the folder holds no such list.
    """
    content = _read_json(folder / IMAGES)
    try:
        facts = content["info"]
        about = About(**{key: facts[key] for key in About._fields})
        return Run(about, [str(image["file_name"]) for image in content["images"]])
    except (KeyError, TypeError) as error:
        raise InputError(
            f"expected the images that were predicted on in {folder / IMAGES}, found no {first_line(error)}"
        ) from None


def read_detections(path: Path, index: VocIndex) -> Detections:
    """Read COCO's results of the images of an index.

    Args:
        path: the JSON file.
        index: the ground truth; images are known by their names (``000001``, ``VOC2007/000001``) and these as numbers.

    Raises:
        InputError: if the file is no such list, or an entry names an unknown image or class or holds no box.
    """
    content = _read_json(path)
    if not isinstance(content, list) or not all(isinstance(entry, Mapping) for entry in content):
        raise InputError(
            f"expected COCO's results, a list of objects, in {path}, found {type(content).__name__}"
        )
    image = _places(content, "image_id", _known_images(index), path, f"{index.spec} ({index.split})")
    category = {i: i - 1 for i in range(1, len(index.classes) + 1)}
    labels = _places(
        content, "category_id", category, path, f"1..{len(index.classes)}, the classes of {index.spec}"
    )
    boxes = _numbers(content, "bbox", (4,), path)
    scores = _numbers(content, "score", (), path)
    if len(boxes) and boxes[:, 2:].min() < 0:
        bad = int(boxes[:, 2:].min(axis=1).argmin())
        raise InputError(
            f"expected 'bbox' as x, y, width, height in {path}, found a negative side in entry {bad}: "
            f"{boxes[bad].tolist()}"
        )
    boxes = boxes.reshape(-1, 4)
    corners = np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])
    return Detections(image, labels, corners, scores)


def _written_keys(index: VocIndex) -> list[int] | list[str]:
    numbers = [_as_number(name) for name in index.names]
    whole = [number for number in numbers if number is not None]
    if len(set(whole)) == len(index):
        return whole
    return list(index.ids if len(set(index.names)) < len(index) else index.names)


def _known_images(index: VocIndex) -> dict[int | str, int]:
    """Every unmistakable way to name an image, with its place."""
    ways: dict[int | str, int] = {item: i for i, item in enumerate(index.ids)}
    ambiguous: set[int | str] = set()
    for i, name in enumerate(index.names):
        for key in (name, _as_number(name)):
            if key is None:
                continue
            if ways.setdefault(key, i) != i:
                ambiguous.add(key)
    return {key: i for key, i in ways.items() if key not in ambiguous}


def _as_number(name: str) -> int | None:
    digits = name.replace("_", "")
    return int(digits) if digits.isascii() and digits.isdigit() else None


def _read_json(path: Path) -> Any:
    if not path.is_file():
        raise InputError(f"expected a file at {path}, found none")
    try:
        return json.loads(read_file(path))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"expected JSON in {path}, found: {first_line(error)}") from None


def _places(
    content: list[Mapping[str, Any]], key: str, known: Mapping[Any, int], path: Path, where: str
) -> Any:
    found = [entry.get(key) for entry in content]
    usable = [
        value if isinstance(value, int | str) and not isinstance(value, bool) else None for value in found
    ]
    places = [known.get(value, -1) for value in usable]
    unknown = list(dict.fromkeys(repr(v) for v, place in zip(found, places, strict=True) if place < 0))
    if unknown:
        shown = ", ".join(unknown[:_NAMED]) + (", ..." if len(unknown) > _NAMED else "")
        raise InputError(
            f"expected every '{key}' in {path} to be one of {where}, found {len(unknown):,} unknown: {shown}"
        )
    return np.array(places, np.int64)


def _numbers(content: list[Mapping[str, Any]], key: str, shape: tuple[int, ...], path: Path) -> Any:
    try:
        array = np.array([entry[key] for entry in content], dtype=np.float64)
        good = array.shape == (len(content), *shape) or not content
    except (KeyError, TypeError, ValueError):
        array, good = np.zeros(0), False
    if good and np.isfinite(array).all():
        return array
    bad = next(i for i, entry in enumerate(content) if not _is_numbers(entry.get(key), shape))
    wanted = f"{shape[0]} finite numbers" if shape else "a finite number"
    raise InputError(
        f"expected {wanted} as '{key}' in {path}, found {content[bad].get(key)!r} in entry {bad}"
    )


def _is_numbers(value: Any, shape: tuple[int, ...]) -> bool:
    items = value if shape else [value]
    if not isinstance(items, list) or (shape and len(items) != shape[0]):
        return False
    return all(isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x) for x in items)
