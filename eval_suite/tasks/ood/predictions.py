"""The predictions file of the ood task: confidences of in-distribution items and of each outlier set.

Arrays: ``known/<score>`` (n,) and ``outliers/<set>/<score>`` (m,), of which at least one score and one set; all else
may be missing in files made by other tools. ``ids`` (n,), ``logits`` (n, classes), ``labels`` (n,) and ``classes`` tell of
the in-distribution items; ``outliers/<set>/ids`` and ``outliers/<set>/predicted`` (m,) of outliers and the classes
they were taken for; ``noise`` names the sets that are noise; ``settings`` holds ``key=value`` texts, of
which those keyed by a score say how it was set or fitted.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError
from eval_suite.core.predictions import About, about_in, read_arrays, require_array, write_arrays
from eval_suite.tasks.ood.scores import MAX_SOFTMAX

_KNOWN, _OUTLIERS = "known/", "outliers/"
_ABOUT_A_SET = ("ids", "predicted", "data", "failed")

Scores = Mapping[str, NDArray[np.float64]]


class Outliers(NamedTuple):
    """One outlier set: ids (m,), confidences (m,) by score, class indices it was taken for (m,), and where it is from."""

    ids: list[str]
    scores: Scores
    predicted: NDArray[np.int64] | None
    noise: bool
    about: About


class Predictions(NamedTuple):
    """In-distribution items and outlier sets by name; logits, labels and classes where the file has them."""

    ids: list[str]
    scores: Scores
    logits: NDArray[np.float32] | None
    labels: NDArray[np.int64] | None
    classes: list[str]
    about: About
    outliers: dict[str, Outliers]
    settings: dict[str, str]


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write a predictions file (``.npz`` without pickled objects), atomically."""
    arrays: dict[str, NDArray[Any]] = {
        "classes": np.asarray(predictions.classes, dtype=str),
        "noise": np.asarray([name for name, each in predictions.outliers.items() if each.noise], dtype=str),
        "settings": np.asarray([f"{key}={value}" for key, value in predictions.settings.items()], dtype=str),
        **predictions.about.arrays(),
    }
    if predictions.ids:
        arrays["ids"] = np.asarray(predictions.ids, dtype=str)
    for key, values in (("logits", predictions.logits), ("labels", predictions.labels)):
        if values is not None:
            arrays[key] = values
    arrays |= {f"{_KNOWN}{name}": values for name, values in predictions.scores.items()}
    for name, each in predictions.outliers.items():
        prefix = f"{_OUTLIERS}{name}/"
        arrays |= {f"{prefix}{score}": values for score, values in each.scores.items()}
        arrays |= {f"{prefix}{key}": values for key, values in each.about.arrays().items()}
        if each.ids:
            arrays[f"{prefix}ids"] = np.asarray(each.ids, dtype=str)
        if each.predicted is not None:
            arrays[f"{prefix}predicted"] = each.predicted
    write_arrays(path, arrays)


def read_predictions(path: Path) -> Predictions:
    """Read a predictions file.

    Raises:
        InputError: if it cannot be read without running code, its arrays do not fit together, or a confidence is no number.
    """
    arrays = read_arrays(path, lists=("ids", "labels", "classes", "noise", "settings", "failed", "data"))
    scores = {
        key.removeprefix(_KNOWN): _confidences(arrays, key, path) for key in arrays if key.startswith(_KNOWN)
    }
    if not scores:
        raise InputError(
            f"expected arrays 'known/<score>' and 'outliers/<set>/<score>' in {path}, found {sorted(arrays)}"
        )
    n = len(next(iter(scores.values())))
    logits = None
    if "logits" in arrays:
        logits = require_array(arrays, "logits", path, kinds="fiu", axes="items, classes").astype(np.float32)
    labels = None
    if "labels" in arrays:
        labels = require_array(arrays, "labels", path, kinds="iu", axes="items").astype(np.int64)
    own = {f"{_KNOWN}{name}": values for name, values in scores.items()}
    own |= {key: arrays[key] for key in ("ids", "logits", "labels") if key in arrays}
    _require_as_long(own, n, path)
    noise = {str(name) for name in arrays.get("noise", [])}
    found = _outlier_sets(arrays, list(scores), noise, path)
    if noise - found.keys():
        raise InputError(f"expected sets of {path} in its 'noise', found '{min(noise - found.keys())}'")
    return Predictions(
        ids=[str(item) for item in arrays.get("ids", [])],
        scores=scores,
        logits=logits,
        labels=labels,
        classes=[str(item) for item in arrays.get("classes", [])],
        about=about_in(arrays, path, n),
        outliers=found,
        settings=dict(str(item).partition("=")[::2] for item in arrays.get("settings", [])),
    )


def _outlier_sets(
    arrays: Mapping[str, NDArray[Any]], scores: list[str], noise: set[str], path: Path
) -> dict[str, Outliers]:
    by_set: dict[str, dict[str, NDArray[Any]]] = {}
    for key, values in arrays.items():
        if key.startswith(_OUTLIERS):
            name, slash, what = key.removeprefix(_OUTLIERS).partition("/")
            if not (name and slash and what):
                raise InputError(f"expected arrays 'outliers/<set>/<score>' in {path}, found '{key}'")
            by_set.setdefault(name, {})[what] = values
    if not by_set:
        raise InputError(f"expected arrays 'outliers/<set>/<score>' in {path}, found {sorted(arrays)}")
    found = {}
    for name, own in by_set.items():
        prefix = f"{_OUTLIERS}{name}/"
        if set(own) - set(_ABOUT_A_SET) != set(scores):
            held = sorted(set(own) - set(_ABOUT_A_SET))
            raise InputError(f"expected the scores {sorted(scores)} of set '{name}' in {path}, found {held}")
        confidences = {score: _confidences(arrays, f"{prefix}{score}", path) for score in scores}
        m = len(confidences[scores[0]])
        predicted = None
        if "predicted" in own:
            predicted = require_array(arrays, f"{prefix}predicted", path, kinds="iu", axes="items")
        given = {f"{prefix}{key}": own[key] for key in (*scores, "ids", "predicted") if key in own}
        _require_as_long(given, m, path)
        about = about_in(own, path, m)
        found[name] = Outliers(
            ids=[str(item) for item in own.get("ids", [])],
            scores=confidences,
            predicted=predicted,
            noise=name in noise,
            about=about if "data" in own else about._replace(name=name),
        )
    return found


def _confidences(arrays: Mapping[str, NDArray[Any]], key: str, path: Path) -> NDArray[np.float64]:
    values = require_array(arrays, key, path, kinds="fiu", axes="items").astype(np.float64)
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise InputError(
            f"expected finite confidences in {path}, found {bad} of {len(values)} with NaN or infinity in '{key}'"
        )
    if key.endswith(f"/{MAX_SOFTMAX}") and len(values) and not 0 <= values.min() <= values.max() <= 1:
        raise InputError(
            f"expected probabilities as '{key}' in {path}, found {values.min():g} to {values.max():g}"
        )
    return values


def _require_as_long(arrays: Mapping[str, NDArray[Any]], items: int, path: Path) -> None:
    for key, values in arrays.items():
        if len(values) != items:
            raise InputError(
                f"expected {items} items in '{key}' of {path}, as in the others, found {len(values)}"
            )
