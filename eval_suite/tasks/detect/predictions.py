"""Detections on disk: COCO's results list, one file per detector, next to a list of the images it was run on."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eval_suite.core.errors import InputError, first_line
from eval_suite.core.predictions import About
from eval_suite.core.store import atomic_write, write_json
from eval_suite.data.json_files import read_json
from eval_suite.data.objects import ObjectIndex
from eval_suite.tasks.detect.matching import Detections
from eval_suite.tasks.detect.results import as_number

IMAGES = "images.json"
_BOX_DIGITS, _SCORE_DIGITS = 3, 7


class Run(NamedTuple):
    """What a folder of predictions was made on: the whole split it is part of, and the images that were read."""

    about: About
    ids: list[str]


def write_detections(path: Path, index: ObjectIndex, detections: Detections) -> None:
    """Write COCO's results: ``[{"image_id", "category_id", "bbox": [x, y, width, height], "score"}, ...]``.

    Of VOC's images, a box's width is x1 - x0 of VOC's corners, as files of detectors trained on VOC's numbers have it. An image's id is its name as a number (``2008_000002`` is 2008000002), or the name itself where the names of the
    split are no different numbers; a category's id is its place among the classes, from 1.
    """
    keys = written_keys(index)
    x0, y0, x1, y1 = detections.boxes.T
    extra = 1 if index.widths_are_edges else 0
    boxes = np.stack([x0, y0, x1 - x0 + extra, y1 - y0 + extra], axis=1).round(_BOX_DIGITS).tolist()
    scores = detections.scores.round(_SCORE_DIGITS).tolist()
    places = zip(detections.image.tolist(), detections.labels.tolist(), boxes, scores, strict=True)
    numbers = index.category_ids
    rows = (
        json.dumps(
            {"image_id": keys[i], "category_id": numbers[label], "bbox": box, "score": score}, allow_nan=False
        )
        for i, label, box, score in places
    )
    with atomic_write(path) as stream:
        stream.write("[" + ",\n".join(rows) + "]\n")


def write_run(folder: Path, about: About, evaluated: ObjectIndex, failed: Iterable[str]) -> None:
    """Write which images were predicted on, as COCO lists images without annotations."""
    lost = set(failed)
    keys = written_keys(evaluated)
    images = [
        {"id": key, "file_name": item, "width": int(width), "height": int(height)}
        for key, item, (width, height) in zip(keys, evaluated.ids, evaluated.sizes, strict=True)
        if item not in lost
    ]
    pairs = zip(evaluated.category_ids, evaluated.classes, strict=True)
    categories = [{"id": number, "name": name} for number, name in pairs]
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
    content = read_json(folder / IMAGES)
    try:
        facts = content["info"]
        # Lists of the version before have no notes.
        about = About(**{key: facts[key] for key in About._fields if key != "notes" or key in facts})
        return Run(about, [str(image["file_name"]) for image in content["images"]])
    except (KeyError, TypeError) as error:
        raise InputError(
            expected="the images that were predicted on",
            where=folder / IMAGES,
            found=f"no {first_line(error)}",
        ) from None


def written_keys(index: ObjectIndex) -> list[int | str]:
    """The ids of an index's images in files of results, see `write_detections`."""
    if index.image_keys is not None:
        return index.image_keys
    numbers = [as_number(name) for name in index.names]
    whole = [number for number in numbers if number is not None]
    if len(set(whole)) == len(index):
        return list(whole)
    return list(index.ids if len(set(index.names)) < len(index) else index.names)
