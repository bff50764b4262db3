"""The predictions file of localisation: a class activation map and logits per item."""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core import predictions as file
from eval_suite.core.errors import InputError
from eval_suite.core.predictions import About, Array, PredictionFile
from eval_suite.tasks.wsol.geometry import EVALUATION_PAPER, Transform

MapClass = Literal["ground-truth", "predicted"]
_LARGEST_SIDE = 8192

SCHEMA = {
    "maps": Array("items, height, width", required=True),
    "ids": Array("items", "text", required=True),
    "logits": Array("items, outputs", finite=True, single=True),
    "labels": Array("items", "integer"),
    "classes": Array("classes", "text"),
    "input_size": Array("2", "integer"),
    "crop_fraction": Array(),
    "map_class": Array("", "text"),
    "of_outputs": Array("", "integer"),
}


class Predictions(NamedTuple):
    """Maps and logits of n items.

    ``maps`` is (n, h, w), as the method gives them, at any resolution and range: `score_map` brings them to the input's
    size and to [0, 1]. ``logits`` is (n, classes), with no column in a file made by other tools without logits; ``ids`` (n,)
    and ``labels`` (n,) name the items; ``labels`` is empty where the file has none. ``transform`` is how an image became
    the network's input, so that boxes can follow it. ``map_class`` tells whose map it is: the label's or the
    prediction's. ``of_outputs`` is how many outputs the network has, where ``logits`` are those of the data's classes alone.
    """

    maps: NDArray[np.floating]
    logits: NDArray[np.float32]
    ids: list[str]
    labels: NDArray[np.int64]
    classes: list[str]
    transform: Transform
    map_class: MapClass
    about: About
    of_outputs: int | None = None


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write a predictions file (``.npz`` without pickled objects), atomically."""
    file.write_predictions(
        path,
        predictions.about,
        {
            "maps": predictions.maps,
            "logits": predictions.logits,
            "ids": predictions.ids,
            "labels": predictions.labels,
            "classes": predictions.classes,
            "input_size": np.asarray(predictions.transform.size, np.int64),
            "crop_fraction": np.asarray(predictions.transform.crop_fraction, np.float64),
            "map_class": np.asarray(predictions.map_class),
            "of_outputs": None if predictions.of_outputs is None else np.asarray(predictions.of_outputs),
        },
    )


def read_predictions(path: Path) -> Predictions:
    """Read a predictions file; ``maps`` and ``ids`` are required.

    A file made by other tools may lack the rest: ``input_size`` is then 224 x 224 and ``crop_fraction`` 1, as in the
    evaluation paper, and ``map_class`` is ``ground-truth``.

    Raises:
        InputError: if the file cannot be read without running code, or its arrays do not fit together.
    """
    read = file.read_predictions(path, SCHEMA)
    maps, logits, labels = read["maps"], read.get("logits"), read.get("labels")
    return Predictions(
        maps=maps if maps.dtype == np.float64 else maps.astype(np.float32),
        logits=np.zeros((len(maps), 0), np.float32) if logits is None else logits,
        ids=read.texts("ids"),
        labels=np.zeros(0, np.int64) if labels is None else labels,
        classes=read.texts("classes"),
        transform=_transform(read),
        map_class=_map_class(read),
        about=read.about,
        of_outputs=int(read["of_outputs"]) if "of_outputs" in read else None,
    )


def _transform(read: PredictionFile) -> Transform:
    size = read["input_size"].tolist() if "input_size" in read else EVALUATION_PAPER.size
    fraction = float(read["crop_fraction"]) if "crop_fraction" in read else EVALUATION_PAPER.crop_fraction
    if not 1 <= min(size) <= max(size) <= _LARGEST_SIDE:
        raise InputError(
            expected=f"height and width from 1 to {_LARGEST_SIDE} as 'input_size'",
            where=read.path,
            found=str(size),
        )
    if not 0.05 <= fraction <= 1:
        raise InputError(
            expected="a number in [0.05, 1] as 'crop_fraction'", where=read.path, found=f"{fraction:g}"
        )
    return Transform((size[0], size[1]), fraction)


def _map_class(read: PredictionFile) -> MapClass:
    given = str(read["map_class"]) if "map_class" in read else "ground-truth"
    if given == "ground-truth":
        return "ground-truth"
    if given == "predicted":
        return "predicted"
    raise InputError(
        expected="ground-truth or predicted as 'map_class'", where=read.path, found=f"'{given[:40]}'"
    )
