"""The predictions file of classification: logits per item, or what other tools leave instead of them."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core import predictions as file
from eval_suite.core.errors import InputError
from eval_suite.core.predictions import About, Array

SCHEMA = {
    "logits": Array("items, outputs", finite=True, single=True),
    "probabilities": Array("items, outputs", finite=True),
    "predicted": Array("items", "integer"),
    "ids": Array("items", "text"),
    "labels": Array("items", "integer"),
    "classes": Array("classes", "text"),
    "subset": Array("classes of the data", "integer", below="outputs"),
    "temperature": Array(),
    "temperature_from": Array("lines", "text"),
    "calibration_logits": Array("calibration items, outputs of calibration", finite=True, single=True),
    "calibration_labels": Array("calibration items", "integer", below="outputs of calibration"),
}
_ROUNDING = 0.01  # half precision rounds the sum of a thousand probabilities by about so much


class Predictions(NamedTuple):
    """Logits with the ids of their items; labels and the rest where the file carries them.

    Attributes:
        logits: (n, outputs), the logarithms of a file that holds probabilities, -inf of 0; None where it holds classes only.
        ids: of the items.
        labels: (n,) the outputs of the true classes.
        classes: names of the outputs.
        about: which items were predicted on.
        subset: (k,) the outputs that stand for classes of the data, where others do not.
        predicted: (n,) outputs, where there are no logits.
        temperature: () that other items chose to divide the logits by, where they did.
        temperature_from: which items, in words.
        calibration_logits: (m, k) of those items, of the outputs that stand for classes of the data, in their order.
        calibration_labels: (m,) places among these k outputs.
    """

    logits: NDArray[np.float32] | None
    ids: list[str]
    labels: NDArray[np.int64] | None
    classes: list[str]
    about: About
    subset: NDArray[np.int64] | None = None
    predicted: NDArray[np.int64] | None = None
    temperature: NDArray[np.float64] | None = None
    temperature_from: list[str] = []  # noqa: RUF012 - a default of a NamedTuple, never changed
    calibration_logits: NDArray[np.float32] | None = None
    calibration_labels: NDArray[np.int64] | None = None

    @property
    def chosen(self) -> NDArray[np.int64]:
        """(n,) the output that is predicted, the first of tied ones."""
        if self.logits is None:
            assert self.predicted is not None
            return self.predicted
        return self.logits.argmax(axis=1)


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write a predictions file (``.npz`` without pickled objects), atomically."""
    arrays = predictions._asdict()
    file.write_predictions(path, arrays.pop("about"), arrays)


def read_predictions(path: Path) -> Predictions:
    """Read a predictions file, ``.npz`` or ``.npy``.

    One of ``logits``, ``probabilities`` and ``predicted`` is required, the rest may be missing in files made by other
    tools. The array of an ``.npy`` file is ``predicted`` where it has one axis, and else ``probabilities`` where all
    rows are such.

    Raises:
        InputError: if the file cannot be read without running code, or its arrays do not fit together.
    """
    read = file.read_predictions(path, SCHEMA, _single)
    logits = read.get("logits")
    if logits is None and "probabilities" in read:
        if not are_probabilities(read["probabilities"]):
            raise InputError(
                expected="rows in [0, 1] with sum 1 as 'probabilities'",
                where=path,
                found=f"{read['probabilities'].min():g} to {read['probabilities'].max():g}, sums from "
                f"{read['probabilities'].sum(axis=1).min():g}",
            )
        with np.errstate(divide="ignore"):
            logits = np.log(read["probabilities"].astype(np.float64)).astype(np.float32)
    predicted = read.get("predicted") if logits is None else None
    rows = predicted if logits is None else logits
    if rows is not None and not len(rows):
        raise InputError(expected="items", where=path, found="none")
    if rows is None:
        raise InputError(
            expected="an array 'logits' (items, outputs), 'probabilities' (items, outputs) or 'predicted' (items)",
            where=path,
            found="none of them",
        )
    return Predictions(
        logits,
        read.texts("ids"),
        read.get("labels"),
        read.texts("classes"),
        read.about,
        read.get("subset"),
        predicted,
        _temperature(read),
        read.texts("temperature_from"),
        *_calibration(read, logits),
    )


def _temperature(read: file.PredictionFile) -> NDArray[np.float64] | None:
    temperature = read.get("temperature")
    if temperature is not None and not 0 < float(temperature) < np.inf:
        raise InputError(expected="a finite 'temperature' above 0", where=read.path, found=f"{temperature:g}")
    return temperature


def _calibration(
    read: file.PredictionFile, logits: NDArray[np.float32] | None
) -> tuple[NDArray[np.float32] | None, NDArray[np.int64] | None]:
    found, labels = read.get("calibration_logits"), read.get("calibration_labels")
    if (found is None) != (labels is None):
        missing = "calibration_labels" if labels is None else "calibration_logits"
        raise InputError(
            expected=f"an array '{missing}' with the other of calibration", where=read.path, found="none"
        )
    if found is None or logits is None:
        return None, None
    subset = read.get("subset")
    outputs = logits.shape[1] if subset is None else len(subset)
    if found.shape[1] != outputs or not len(found):
        raise InputError(
            expected=f"'calibration_logits' (items, {outputs})", where=read.path, found=f"shape {found.shape}"
        )
    return found, labels


def are_probabilities(values: NDArray[Any]) -> bool:
    """Whether every row of (n, outputs) numbers lies in [0, 1] and adds up to 1."""
    inside = values.size > 0 and values.min() >= 0 and values.max() <= 1 + _ROUNDING
    return bool(inside and np.allclose(values.sum(axis=1, dtype=np.float64), 1, atol=_ROUNDING))


def _single(array: NDArray[Any]) -> str:
    if array.ndim == 1:
        return "predicted"
    return (
        "probabilities"
        if array.ndim == 2 and array.dtype.kind == "f" and are_probabilities(array)
        else "logits"
    )
