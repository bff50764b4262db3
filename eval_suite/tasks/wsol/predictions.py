"""The predictions file of localisation: a class activation map and logits per item."""

from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError
from eval_suite.core.predictions import About, about_in, read_arrays, require_array, write_arrays
from eval_suite.tasks.wsol.geometry import EVALUATION_PAPER, Transform

MapClass = Literal["ground-truth", "predicted"]
_LARGEST_SIDE = 8192


class Predictions(NamedTuple):
    """Maps and logits of n items.

    ``maps`` is (n, h, w), as the method gives them, at any resolution and range: `score_map` brings them to the input's
    size and to [0, 1]. ``logits`` is (n, classes), with no column in a file made by other tools without logits; ``ids`` (n,)
    and ``labels`` (n,) name the items; ``labels`` is empty where the file has none. ``transform`` is how an image became
    the network's input, so that boxes can follow it. ``map_class`` tells whose map it is: the label's or the
    prediction's.
    """

    maps: NDArray[np.floating]
    logits: NDArray[np.float32]
    ids: list[str]
    labels: NDArray[np.int64]
    classes: list[str]
    transform: Transform
    map_class: MapClass
    about: About


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write a predictions file (``.npz`` without pickled objects), atomically."""
    write_arrays(
        path,
        {
            "maps": predictions.maps,
            "logits": predictions.logits,
            "ids": np.asarray(predictions.ids, dtype=str),
            "labels": predictions.labels,
            "classes": np.asarray(predictions.classes, dtype=str),
            "input_size": np.asarray(predictions.transform.size, np.int64),
            "crop_fraction": np.asarray(predictions.transform.crop_fraction, np.float64),
            "map_class": np.asarray(predictions.map_class),
            **predictions.about.arrays(),
        },
    )


def read_predictions(path: Path) -> Predictions:
    """Read a predictions file; ``maps`` and ``ids`` are required.

    A file made by other tools may lack the rest: ``input_size`` is then 224 x 224 and ``crop_fraction`` 1, as in the
    evaluation paper, and ``map_class`` is ``ground-truth``.

    Raises:
        InputError: if the file cannot be read without running code, or its arrays do not fit together.
    """
    lists = ("ids", "labels", "classes", "failed", "data", "input_size")
    arrays = read_arrays(path, lists=lists)
    maps = require_array(arrays, "maps", path, kinds="fiu", axes="items, height, width")
    items = len(maps)
    if not items or 0 in maps.shape:
        raise InputError(f"expected maps in {path}, found an array of shape {maps.shape}")
    require_array(arrays, "ids", path, kinds="U", axes="items")
    logits = np.zeros((items, 0), np.float32)
    if "logits" in arrays:
        given = require_array(arrays, "logits", path, kinds="fiu", axes="items, classes")
        with np.errstate(over="ignore"):
            logits = given.astype(np.float32)
        if not np.isfinite(logits).all():
            bad = int((~np.isfinite(logits)).any(axis=1).sum())
            raise InputError(
                f"expected finite logits in {path}, found {bad} of {len(logits)} items with NaN or infinity"
            )
    labels = np.zeros(0, np.int64)
    if "labels" in arrays:
        labels = require_array(arrays, "labels", path, kinds="iu", axes="items").astype(np.int64)
    for name in ("ids", "logits", "labels"):
        if name in arrays and len(arrays[name]) != items:
            raise InputError(
                f"expected {items} {name} in {path}, one for each map, found {len(arrays[name])}"
            )
    return Predictions(
        maps=maps if maps.dtype == np.float64 else maps.astype(np.float32),
        logits=logits,
        ids=[str(item) for item in arrays["ids"]],
        labels=labels,
        classes=[str(item) for item in arrays.get("classes", [])],
        transform=_transform(arrays, path),
        map_class=_map_class(arrays, path),
        about=about_in(arrays, path, items),
    )


def _transform(arrays: dict[str, NDArray[Any]], path: Path) -> Transform:
    size = arrays.get("input_size", np.asarray(EVALUATION_PAPER.size))
    fraction = arrays.get("crop_fraction", np.asarray(EVALUATION_PAPER.crop_fraction))
    if (
        size.dtype.kind not in "iu"
        or size.shape != (2,)
        or not (1 <= size.min() <= size.max() <= _LARGEST_SIDE)
    ):
        raise InputError(f"expected 'input_size' as height and width in {path}, found {size.tolist()}")
    if fraction.dtype.kind not in "fiu" or fraction.shape != () or not 0.05 <= float(fraction) <= 1:
        raise InputError(
            f"expected 'crop_fraction' as one number in [0.05, 1] in {path}, found {fraction.tolist()}"
        )
    return Transform((int(size[0]), int(size[1])), float(fraction))


def _map_class(arrays: dict[str, NDArray[Any]], path: Path) -> MapClass:
    found = str(arrays.get("map_class", "ground-truth"))
    if found == "ground-truth":
        return "ground-truth"
    if found == "predicted":
        return "predicted"
    raise InputError(f"expected 'map_class' ground-truth or predicted in {path}, found '{found[:40]}'")
