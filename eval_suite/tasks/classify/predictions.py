"""The predictions file of classification: logits per item."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core import predictions as file
from eval_suite.core.predictions import About, Array

SCHEMA = {
    "logits": Array("items, outputs", required=True, finite=True, single=True),
    "ids": Array("items", "text"),
    "labels": Array("items", "integer"),
    "classes": Array("classes", "text"),
}


class Predictions(NamedTuple):
    """Logits (n, classes) with the ids of their items; labels (n,) and the rest where the file carries them."""

    logits: NDArray[np.float32]
    ids: list[str]
    labels: NDArray[np.int64] | None
    classes: list[str]
    about: About


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write a predictions file (``.npz`` without pickled objects), atomically."""
    arrays = predictions._asdict()
    file.write_predictions(path, arrays.pop("about"), arrays)


def read_predictions(path: Path) -> Predictions:
    """Read a predictions file; ``logits`` is required, the rest may be missing in files made by other tools.

    Raises:
        InputError: if the file cannot be read without running code, or its arrays do not fit together.
    """
    read = file.read_predictions(path, SCHEMA)
    return Predictions(
        read["logits"], read.texts("ids"), read.get("labels"), read.texts("classes"), read.about
    )
