"""The predictions file of classification: logits per item."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError
from eval_suite.core.predictions import About, about_in, read_arrays, require_array, write_arrays


class Predictions(NamedTuple):
    """Logits (n, classes) with the ids of their items; labels (n,) and the rest where the file carries them."""

    logits: NDArray[np.float32]
    ids: list[str]
    labels: NDArray[np.int64] | None
    classes: list[str]
    about: About


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write a predictions file (``.npz`` without pickled objects), atomically."""
    arrays = {
        "logits": predictions.logits,
        "ids": np.asarray(predictions.ids, dtype=str),
        "classes": np.asarray(predictions.classes, dtype=str),
        **predictions.about.arrays(),
    }
    if predictions.labels is not None:
        arrays["labels"] = predictions.labels
    write_arrays(path, arrays)


def read_predictions(path: Path) -> Predictions:
    """Read a predictions file; ``logits`` is required, the rest may be missing in files made by other tools.

    Raises:
        InputError: if the file cannot be read without running code, or its arrays do not fit together.
    """
    arrays = read_arrays(path, lists=("labels", "ids", "classes", "failed", "data"))
    given = require_array(arrays, "logits", path, kinds="fiu", axes="items, classes")
    with np.errstate(over="ignore"):
        logits = given.astype(np.float32)
    if not np.isfinite(logits).all():
        bad = int((~np.isfinite(logits)).any(axis=1).sum())
        raise InputError(
            f"expected finite logits in {path}, found {bad} of {len(logits)} items with NaN or infinity"
        )
    labels = (
        require_array(arrays, "labels", path, kinds="iu", axes="items").astype(np.int64)
        if "labels" in arrays
        else None
    )
    for name in ("ids", "labels"):
        if name in arrays and len(arrays[name]) != len(logits):
            raise InputError(
                f"expected {len(logits)} {name} in {path}, one for each row of logits, found {len(arrays[name])}"
            )
    return Predictions(
        logits=logits,
        ids=[str(item) for item in arrays.get("ids", [])],
        labels=labels,
        classes=[str(item) for item in arrays.get("classes", [])],
        about=about_in(arrays, path, len(logits)),
    )
