"""The predictions file of the probe task: each probe's scores of every class.

Arrays: ``scores/<probe>`` (n, classes), of which at least one, with a probe's name such as ``knn``, ``linear`` or, fitted to a
share of the training images, ``linear@0.1``; ``ids`` (n,), ``labels`` (n,) and ``classes`` may be missing in files made by
other tools. ``settings`` holds ``key=value`` texts, of which those keyed by a probe say how it was made, and ``knn_k`` how
many neighbours voted; ``warnings`` says what speaks against the numbers.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core import predictions as file
from eval_suite.core.errors import InputError
from eval_suite.core.predictions import About, Array

_SCORES = "scores/"
SCHEMA = {
    "ids": Array("items", "text"),
    "labels": Array("items", "integer", below="classes"),
    "classes": Array("classes", "text"),
    "settings": Array("settings", "text"),
    "warnings": Array("warnings", "text"),
    "shown": Array("pictures", "text"),
}


class Predictions(NamedTuple):
    """Scores (n, classes) by probe, with ids, labels and the names of classes where the file has them."""

    scores: dict[str, NDArray[np.float32]]
    ids: list[str]
    labels: NDArray[np.int64] | None
    classes: list[str]
    about: About
    settings: dict[str, str]
    warnings: list[str] = []  # noqa: RUF012 - a default of a NamedTuple, never changed
    shown: dict[str, str] = {}  # noqa: RUF012
    """What stands below the pictures next to the file, by the image's id."""


def probe_name(probe: str, fraction: float) -> str:
    """The name of a probe fitted to a share of the training images.

    Example:
        >>> probe_name("knn", 1.0), probe_name("linear", 0.1)
        ('knn', 'linear@0.1')
    """
    return probe if fraction == 1 else f"{probe}@{fraction:g}"


def schema_of(names: Iterable[str]) -> dict[str, Array]:
    """`SCHEMA` with the probes that a file has by its arrays' names."""
    scores = {
        name: Array("items, classes", finite=True, single=True) for name in names if name.startswith(_SCORES)
    }
    return {**scores, **SCHEMA}


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write a predictions file (``.npz`` without pickled objects), atomically."""
    arrays: dict[str, Any] = predictions._asdict()
    about, scores = arrays.pop("about"), arrays.pop("scores")
    arrays["shown"] = [f"{item}\t{text}" for item, text in arrays["shown"].items()]
    file.write_predictions(path, about, {**arrays, **{f"{_SCORES}{name}": of for name, of in scores.items()}})


def read_predictions(path: Path) -> Predictions:
    """Read a predictions file.

    Raises:
        InputError: if it cannot be read without running code, holds no scores, or its arrays do not fit together.
    """
    read = file.read_predictions(path, schema_of)
    scores = {name.removeprefix(_SCORES): of for name, of in read.items() if name.startswith(_SCORES)}
    if not scores or not all(map(len, scores.values())):
        raise InputError(
            expected="arrays 'scores/<probe>' (items, classes)", where=path, found=str(sorted(read))
        )
    for name in scores:
        _, at, fraction = name.partition("@")
        if at and not _is_share(fraction):
            raise InputError(
                expected="a share of the training images in (0, 1] after the '@' of a probe's name",
                where=path,
                found=f"'{name}'",
            )
    return Predictions(
        scores,
        read.texts("ids"),
        read.get("labels"),
        read.texts("classes"),
        read.about,
        read.settings(),
        read.texts("warnings"),
        dict(text.partition("\t")[::2] for text in read.texts("shown")),
    )


def _is_share(text: str) -> bool:
    try:
        return 0 < float(text) <= 1
    except ValueError:
        return False
