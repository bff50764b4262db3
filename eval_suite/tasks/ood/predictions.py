"""The predictions file of the ood task: confidences of in-distribution items and of each outlier set.

Arrays: ``known/<score>`` (n,) and ``outliers/<set>/<score>`` (m,), of which at least one score and one set; all else
may be missing in files made by other tools. ``shifted/<set>/<score>`` are covariate-shifted in-distribution items, and
``groups`` holds ``set=group`` texts for the sets of a group, such as near or far. ``ids`` (n,), ``logits`` (n, classes), ``labels`` (n,) and ``classes`` tell of
the in-distribution items; ``outliers/<set>/ids`` and ``outliers/<set>/predicted`` (m,) of outliers and the classes
they were taken for; ``pixels``, ``bytes`` and ``outliers/<set>/pixels``, ``outliers/<set>/bytes`` how large images and their files
are; ``noise`` names the sets that are noise; ``settings`` holds ``key=value`` texts, of
which those keyed by a score say how it was set or fitted; ``warnings`` says what speaks against the numbers.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core import predictions as file
from eval_suite.core.errors import InputError
from eval_suite.core.predictions import About, Array, Kind, PredictionFile, about_in
from eval_suite.tasks.ood.metrics import NON_NOISE
from eval_suite.tasks.ood.scores import MAX_SOFTMAX

FILE_FACTS = {"pixels": "image size", "bytes": "file size"}
"""What files tell of images without a network: the number of pixels and of bytes; and what metrics call them."""
_KNOWN, _OUTLIERS, _SHIFTED = "known/", "outliers/", "shifted/"
_OF_A_SET: Mapping[str, tuple[str, Kind]] = {
    "ids": ("items", "text"),
    "predicted": ("items", "integer"),
    "data": ("facts", "text"),
    "failed": ("failed items", "text"),
    "notes": ("notes", "text"),
    **dict.fromkeys(FILE_FACTS, ("items", "number")),
}

SCHEMA = {
    "ids": Array("items", "text"),
    "logits": Array("items, outputs", single=True),
    "labels": Array("items", "integer"),
    "classes": Array("classes", "text"),
    "noise": Array("noise sets", "text"),
    "groups": Array("grouped sets", "text"),
    **{fact: Array("items") for fact in FILE_FACTS},
    "settings": Array("settings", "text"),
    "warnings": Array("warnings", "text"),
}
"""The arrays of one name; those of scores and sets are added by `schema_of`."""

Scores = Mapping[str, NDArray[np.float64]]
Facts = Mapping[str, NDArray[np.float64]]
"""Of (m,) items, by a name in `FILE_FACTS`; empty where they are in no files."""


class Outliers(NamedTuple):
    """One outlier or shifted set: ids (m,), confidences (m,) by score, class indices it was taken for (m,), whether it is
    noise, where it is from, its group if it has one, and what its files tell.
    """

    ids: list[str]
    scores: Scores
    predicted: NDArray[np.int64] | None
    noise: bool
    about: About
    group: str | None = None
    facts: Facts = {}  # noqa: RUF012 - a default of a NamedTuple, never changed


class Predictions(NamedTuple):
    """In-distribution items, outlier and shifted sets by name; logits, labels and classes where the file has them."""

    ids: list[str]
    scores: Scores
    logits: NDArray[np.float32] | None
    labels: NDArray[np.int64] | None
    classes: list[str]
    about: About
    outliers: dict[str, Outliers]
    settings: dict[str, str]
    warnings: list[str] = []  # noqa: RUF012 - a default of a NamedTuple, never changed
    shifted: dict[str, Outliers] = {}  # noqa: RUF012 - as above
    facts: Facts = {}  # noqa: RUF012 - as above

    def means(self) -> dict[str, list[str]]:
        """The sets that a mean of its own is over: those that are not noise, where there are both sorts, and each group."""
        names = [name for name, each in self.outliers.items() if not each.noise]
        without_noise = {NON_NOISE: names} if 0 < len(names) < len(self.outliers) else {}
        return without_noise | self.groups()

    def groups(self) -> dict[str, list[str]]:
        """The outlier sets of each group, in their order."""
        found: dict[str, list[str]] = {}
        for name, each in self.outliers.items():
            if each.group is not None:
                found.setdefault(each.group, []).append(name)
        return found


def schema_of(names: Iterable[str]) -> dict[str, Array]:
    """`SCHEMA` with the confidences and outlier sets that a file has by its arrays' names."""
    schema = {}
    for name in names:
        if name.startswith(_KNOWN):
            schema[name] = Array("items", finite=True)
        elif name.startswith((_OUTLIERS, _SHIFTED)):
            set_name, _, what = name.partition("/")[2].partition("/")
            axis, kind = _OF_A_SET.get(what, ("items", "number"))
            axis = f"{axis} of '{set_name}'".replace(",", " ") if what else name
            schema[name] = Array(axis, kind, finite=what not in _OF_A_SET)
    return {**schema, **SCHEMA}


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write a predictions file (``.npz`` without pickled objects), atomically."""
    arrays: dict[str, Any] = {
        "classes": predictions.classes,
        "noise": [name for name, each in predictions.outliers.items() if each.noise],
        "groups": {name: each.group for name, each in predictions.outliers.items() if each.group is not None}
        or None,
        "settings": predictions.settings,
        "warnings": predictions.warnings,
        "ids": predictions.ids or None,
        "logits": predictions.logits,
        "labels": predictions.labels,
        **predictions.facts,
    }
    arrays |= {f"{_KNOWN}{name}": values for name, values in predictions.scores.items()}
    of_both = ((_OUTLIERS, predictions.outliers), (_SHIFTED, predictions.shifted))
    for prefix, name, each in (
        (prefix, name, each) for prefix, sets in of_both for name, each in sets.items()
    ):
        of_set = {
            **each.scores,
            **each.about.arrays(),
            **each.facts,
            "ids": each.ids or None,
            "predicted": each.predicted,
        }
        arrays |= {f"{prefix}{name}/{key}": values for key, values in of_set.items()}
    file.write_predictions(path, predictions.about, arrays)


def read_predictions(path: Path) -> Predictions:
    """Read a predictions file.

    Raises:
        InputError: if it cannot be read without running code, its arrays do not fit together, or a confidence is no number.
    """
    read = file.read_predictions(path, schema_of)
    scores = {key.removeprefix(_KNOWN): _confidences(read, key) for key in read if key.startswith(_KNOWN)}
    if not (scores and any(key.startswith(_OUTLIERS) for key in read)):
        raise InputError(
            expected="arrays 'known/<score>' and 'outliers/<set>/<score>'",
            where=path,
            found=str(sorted(read)),
        )
    noise = set(read.texts("noise"))
    groups = _groups(read)
    outliers = _sets(read, _OUTLIERS, sorted(scores))
    for array, named in (("noise", noise), ("groups", groups.keys())):
        if named - outliers.keys():
            raise InputError(
                expected=f"sets of the file in its '{array}'",
                where=path,
                found=f"'{min(named - outliers.keys())}'",
            )
    outliers = {
        name: each._replace(noise=name in noise, group=groups.get(name)) for name, each in outliers.items()
    }
    return Predictions(
        ids=read.texts("ids"),
        scores=scores,
        logits=read.get("logits"),
        labels=read.get("labels"),
        classes=read.texts("classes"),
        about=read.about,
        outliers=outliers,
        settings=read.settings(),
        warnings=read.texts("warnings"),
        shifted=_sets(read, _SHIFTED, sorted(scores)),
        facts={fact: read[fact] for fact in FILE_FACTS if fact in read},
    )


def _groups(read: PredictionFile) -> dict[str, str]:
    found = {}
    for text in read.texts("groups"):
        name, equals, group = text.rpartition("=")
        if not (equals and name and group):
            raise InputError(expected="texts 'set=group' in 'groups'", where=read.path, found=f"'{text}'")
        found[name] = group
    return found


def _sets(read: PredictionFile, prefix: str, scores: list[str]) -> dict[str, Outliers]:
    by_set: dict[str, dict[str, NDArray[Any]]] = {}
    for key in read:
        if key.startswith(prefix):
            name, slash, what = key.removeprefix(prefix).partition("/")
            if not (name and slash and what):
                raise InputError(
                    expected=f"arrays '{prefix}<set>/<score>'", where=read.path, found=f"'{key}'"
                )
            by_set.setdefault(name, {})[what] = read[key]
    sets = {}
    for name, arrays in by_set.items():
        held = sorted(arrays.keys() - _OF_A_SET.keys())
        if held != scores:
            raise InputError(
                expected=f"the scores {scores} of set '{name}'", where=read.path, found=str(held)
            )
        confidences = {score: _confidences(read, f"{prefix}{name}/{score}") for score in scores}
        about = about_in(arrays, read.path, len(confidences[scores[0]]))
        sets[name] = Outliers(
            ids=read.texts(f"{prefix}{name}/ids"),
            scores=confidences,
            predicted=arrays.get("predicted"),
            noise=False,
            about=about if "data" in arrays else about._replace(name=name),
            facts={fact: arrays[fact] for fact in FILE_FACTS if fact in arrays},
        )
    return sets


def _confidences(read: PredictionFile, key: str) -> NDArray[np.float64]:
    values = read[key].astype(np.float64)
    if key.endswith(f"/{MAX_SOFTMAX}") and len(values) and not 0 <= values.min() <= values.max() <= 1:
        raise InputError(
            expected=f"probabilities as '{key}'",
            where=read.path,
            found=f"{values.min():g} to {values.max():g}",
        )
    return values
