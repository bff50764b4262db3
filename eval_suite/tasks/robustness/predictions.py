"""The predictions file of robustness: the predicted class of every item under every perturbation."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError
from eval_suite.core.predictions import About, about_in, read_arrays, require_array, write_arrays

ITEM_FAMILIES = ("fgsm", "pgd", "centre_occlusion", "boundary_occlusion")
PAIR_FAMILIES = ("mixup", "cutmix")
NOTES = ("no_gradient", "saturated")
_LISTS = ("labels", "ids", "classes", "failed", "data", "clean", "corruption_names", "severities", *NOTES)


class Family(NamedTuple):
    """Predicted classes (items or pairs, points) and the (points,) ascending strengths they are of.

    The strength is ε for attacks, λ for Mixup, and the hole's side as a share of the image's for the rest.
    """

    predicted: NDArray[np.integer]
    grid: NDArray[np.float64]


class Corruptions(NamedTuple):
    """Predicted classes (items, corruptions, severities)."""

    predicted: NDArray[np.integer]
    names: list[str]
    severities: list[int]


class Predictions(NamedTuple):
    """Class indices; ``labels`` (n,) where the file carries them, and every part that was run.

    ``notes`` are (n,) booleans: ``no_gradient`` where the input gradient is zero everywhere, ``saturated`` where float32
    rounds the label's probability to 1. ``pairs`` (m, 2) are the items of each in-between sample, ``settings`` tell how
    the attacks went and what covered pixels show.
    """

    ids: list[str]
    labels: NDArray[np.int64] | None
    classes: list[str]
    about: About
    clean: NDArray[np.integer]
    families: dict[str, Family]
    pairs: NDArray[np.int64]
    notes: dict[str, NDArray[np.bool_]]
    corruptions: Corruptions | None
    settings: dict[str, str]


def write_predictions(path: Path, found: Predictions) -> None:
    """Write a predictions file (``.npz`` without pickled objects), atomically."""
    kind = np.int16 if len(found.classes) < 2**15 else np.int32
    arrays: dict[str, NDArray[Any]] = {
        "ids": np.asarray(found.ids, dtype=str),
        "classes": np.asarray(found.classes, dtype=str),
        "clean": found.clean.astype(kind),
        "settings": np.asarray([f"{key}={value}" for key, value in found.settings.items()], dtype=str),
        **found.about.arrays(),
    }
    if found.labels is not None:
        arrays["labels"] = found.labels
    for name, family in found.families.items():
        arrays[name] = family.predicted.astype(kind)
        arrays[f"{name}_grid"] = family.grid
    if any(name in found.families for name in PAIR_FAMILIES):
        arrays["pairs"] = found.pairs
    arrays |= found.notes
    if found.corruptions is not None:
        arrays["corruption"] = found.corruptions.predicted.astype(kind)
        arrays["corruption_names"] = np.asarray(found.corruptions.names, dtype=str)
        arrays["severities"] = np.asarray(found.corruptions.severities, np.int64)
    write_arrays(path, arrays)


def read_predictions(path: Path) -> Predictions:
    """Read a predictions file; ``clean`` is required, every other part may be missing in files made by other tools.

    Raises:
        InputError: if the file cannot be read without running code, or its arrays do not fit together.
    """
    arrays = read_arrays(path, lists=_LISTS)
    clean = require_array(arrays, "clean", path, kinds="iu", axes="items")
    n = len(clean)
    if n == 0:
        raise InputError(f"{path} holds no items")
    for name in ("ids", "labels", *NOTES):
        if name in arrays:
            _require_rows(arrays[name], name, n, path)
    for name in ("clean", "labels", *ITEM_FAMILIES, *PAIR_FAMILIES, "corruption"):
        if name in arrays:
            _require_classes(arrays, name, path)
    labels = (
        require_array(arrays, "labels", path, kinds="iu", axes="items").astype(np.int64)
        if "labels" in arrays
        else None
    )
    families = {name: _family(arrays, name, n, path) for name in ITEM_FAMILIES if name in arrays}
    pairs = np.zeros((0, 2), np.int64)
    if any(name in arrays for name in PAIR_FAMILIES):
        pairs = _pairs(arrays, n, path)
        families |= {
            name: _family(arrays, name, len(pairs), path) for name in PAIR_FAMILIES if name in arrays
        }
    return Predictions(
        ids=[str(item) for item in arrays.get("ids", [])],
        labels=labels,
        classes=[str(item) for item in arrays.get("classes", [])],
        about=about_in(arrays, path, n),
        clean=clean,
        families=families,
        pairs=pairs,
        notes={name: arrays[name].astype(bool) for name in NOTES if name in arrays},
        corruptions=_corruptions(arrays, n, path) if "corruption" in arrays else None,
        settings=dict(str(item).partition("=")[::2] for item in arrays.get("settings", [])),
    )


def _family(arrays: dict[str, NDArray[Any]], name: str, rows: int, path: Path) -> Family:
    predicted = require_array(arrays, name, path, kinds="iu", axes="items, points")
    grid = require_array(arrays, f"{name}_grid", path, kinds="fiu", axes="points").astype(np.float64)
    _require_rows(predicted, name, rows, path)
    if len(grid) != predicted.shape[1] or not len(grid):
        raise InputError(
            f"expected as many strengths in '{name}_grid' as columns in '{name}' of {path}, "
            f"found {len(grid)} and {predicted.shape[1]}"
        )
    if not (np.isfinite(grid).all() and (np.diff(grid) > 0).all() and grid[0] >= 0 and grid[-1] <= 1):
        raise InputError(
            f"expected ascending strengths in [0, 1] as '{name}_grid' in {path}, found {grid.tolist()}"
        )
    return Family(predicted, grid)


def _pairs(arrays: dict[str, NDArray[Any]], n: int, path: Path) -> NDArray[np.int64]:
    pairs = require_array(arrays, "pairs", path, kinds="iu", axes="pairs, 2")
    if pairs.shape[1] != 2 or not len(pairs):
        raise InputError(f"expected an array 'pairs' (pairs, 2) in {path}, found shape {pairs.shape}")
    if pairs.min() < 0 or pairs.max() >= n:
        raise InputError(
            f"expected positions in 0..{n - 1} as 'pairs' in {path}, found {pairs.min()}..{pairs.max()}"
        )
    return pairs.astype(np.int64)


def _corruptions(arrays: dict[str, NDArray[Any]], n: int, path: Path) -> Corruptions:
    predicted = require_array(arrays, "corruption", path, kinds="iu", axes="items, corruptions, severities")
    _require_rows(predicted, "corruption", n, path)
    names = [str(name) for name in arrays.get("corruption_names", [])]
    severities = require_array(arrays, "severities", path, kinds="iu", axes="severities").tolist()
    if predicted.shape[1:] != (len(names), len(severities)) or 0 in predicted.shape:
        raise InputError(
            f"expected 'corruption' (items, {len(names)}, {len(severities)}) in {path} after its 'corruption_names' "
            f"and 'severities', found shape {predicted.shape}"
        )
    return Corruptions(predicted, names, severities)


def _require_rows(array: NDArray[Any], name: str, rows: int, path: Path) -> None:
    if len(array) != rows:
        raise InputError(f"expected {rows} rows in '{name}' of {path}, found {len(array)}")


def _require_classes(arrays: dict[str, NDArray[Any]], name: str, path: Path) -> None:
    held, array = len(arrays.get("classes", [])), arrays[name]
    if held and array.size and array.dtype.kind in "iu" and not (array.min() >= 0 and array.max() < held):
        raise InputError(
            f"expected classes 0..{held - 1} in '{name}' of {path}, found {array.min()}..{array.max()}"
        )
