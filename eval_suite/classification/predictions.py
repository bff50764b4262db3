"""The predictions file of classification: logits per item, readable by anyone with numpy."""

import zipfile
import zlib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError, first_line
from eval_suite.core.store import atomic_write


class Predictions(NamedTuple):
    """Logits (n, classes) with the ids of their items; labels (n,) and the rest where the file carries them."""

    logits: NDArray[np.float32]
    ids: list[str]
    labels: NDArray[np.int64] | None
    classes: list[str]
    failed: list[str]
    data: dict[str, str]


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write a predictions file (``.npz`` without pickled objects), atomically."""
    arrays = {
        "logits": predictions.logits,
        "ids": np.asarray(predictions.ids, dtype=str),
        "classes": np.asarray(predictions.classes, dtype=str),
        "failed": np.asarray(predictions.failed, dtype=str),
        "data": np.asarray([f"{key}={value}" for key, value in predictions.data.items()], dtype=str),
    }
    if predictions.labels is not None:
        arrays["labels"] = predictions.labels
    with atomic_write(path, "wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]


def read_predictions(path: Path) -> Predictions:
    """Read a predictions file; ``logits`` is required, the rest may be missing in files made elsewhere.

    Raises:
        InputError: if the file cannot be read without running code, or its arrays do not fit together.
    """
    if not path.is_file():
        raise InputError(f"expected a predictions file at {path}, found none")
    try:
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as archive:
            arrays = {key: np.asarray(archive[key]) for key in archive.files}
    except (ValueError, OSError, zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
        raise InputError(
            f"expected an .npz file without objects at {path}, found: {first_line(error)}"
        ) from None
    if "logits" not in arrays or arrays["logits"].ndim != 2:
        raise InputError(f"expected an array 'logits' (items, classes) in {path}, found {sorted(arrays)}")
    for name, kinds, wanted in (("logits", "fiu", "numbers"), ("labels", "iu", "whole numbers")):
        if name in arrays and arrays[name].dtype.kind not in kinds:
            raise InputError(f"expected {wanted} as '{name}' in {path}, found {arrays[name].dtype}")
    for name in ("labels", "ids", "classes", "failed", "data"):
        if name in arrays and arrays[name].ndim != 1:
            shape = arrays[name].shape
            raise InputError(f"expected a list '{name}' in {path}, found an array of shape {shape}")
    with np.errstate(over="ignore"):
        logits = arrays["logits"].astype(np.float32)
    if not np.isfinite(logits).all():
        bad = int((~np.isfinite(logits)).any(axis=1).sum())
        raise InputError(
            f"expected finite logits in {path}, found {bad} of {len(logits)} items with NaN or infinity"
        )
    labels = arrays.get("labels")
    ids = [str(item) for item in arrays["ids"]] if "ids" in arrays else []
    if len(set(ids)) != len(ids):
        twice = next(item for item, count in Counter(ids).items() if count > 1)
        raise InputError(f"expected each id once in {path}, found '{twice}' more than once")
    for name, found in (
        ("ids", len(ids) if "ids" in arrays else None),
        ("labels", None if labels is None else len(labels)),
    ):
        if found is not None and found != len(logits):
            raise InputError(
                f"expected {len(logits)} {name} in {path}, one for each row of logits, found {found}"
            )
    data = dict(str(item).partition("=")[::2] for item in arrays.get("data", []))
    return Predictions(
        logits=logits,
        ids=ids,
        labels=None if labels is None else labels.astype(np.int64),
        classes=[str(item) for item in arrays.get("classes", [])],
        failed=[str(item) for item in arrays.get("failed", [])],
        data=data,
    )
