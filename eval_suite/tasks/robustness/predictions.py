"""The predictions file of robustness: the predicted class of every item under every perturbation."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core import predictions as file
from eval_suite.core.errors import InputError
from eval_suite.core.predictions import About, Array, PredictionFile
from eval_suite.tasks.robustness.options import ATTACKS

ATTACK_FAMILIES = {name: name.replace("-", "_") for name in ATTACKS}
ITEM_FAMILIES = (
    "fgsm",
    "pgd",
    *ATTACK_FAMILIES.values(),
    "centre_occlusion",
    "boundary_occlusion",
    "patch_drop",
    "patch_shuffle",
)
PAIR_FAMILIES = ("mixup", "cutmix")
NOTES = ("no_gradient", "saturated")

_OF_CLASSES = {
    "clean": Array("items", "integer", required=True, below="classes"),
    "ids": Array("items", "text"),
    "labels": Array("items", "integer", below="classes"),
    "classes": Array("classes", "text"),
    "pairs": Array("pairs, 2", "integer", below="items"),
    "corruption": Array("items, corruptions, severities", "integer", below="classes"),
    "corruption_names": Array("corruptions", "text"),
    "severities": Array("severities", "integer"),
    "published": Array("published items, corruptions, severities", "integer", below="classes"),
    "published_labels": Array("published items", "integer", below="classes"),
    "published_ids": Array("published items", "text"),
    "shifted_sets": Array("shifted sets", "text"),
    "shifted_outputs": Array("shifted sets", "integer"),
    "shifted": Array("shifted items", "integer", below="classes"),
    "shifted_labels": Array("shifted items", "integer", below="classes"),
    "shifted_set": Array("shifted items", "integer", below="shifted sets"),
    "reference": Array("reference items", "integer", below="classes"),
    "reference_labels": Array("reference items", "integer", below="classes"),
    "reference_set": Array("reference items", "integer", below="shifted sets"),
    "settings": Array("settings", "text"),
    **{name: Array("items", "boolean") for name in NOTES},
    **{name: Array(f"items, strengths of {name}", "integer", below="classes") for name in ITEM_FAMILIES},
    **{name: Array(f"pairs, strengths of {name}", "integer", below="classes") for name in PAIR_FAMILIES},
    **{f"{name}_grid": Array(f"strengths of {name}") for name in (*ITEM_FAMILIES, *PAIR_FAMILIES)},
}
_ALL = "all_"
SCHEMA = _OF_CLASSES | {
    f"{_ALL}{name}": replace(
        array,
        axes="outputs" if name == "classes" else array.axes,
        below="outputs" if array.below == "classes" else array.below,
        required=False,
    )
    for name, array in _OF_CLASSES.items()
}


class Family(NamedTuple):
    """Predicted classes (items or pairs, points) and the (points,) ascending strengths they are of.

    The strength is ε for attacks, λ for Mixup, the share of dropped patches, the number of shuffled parts along a side,
    and the hole's side as a share of the image's for the rest.
    """

    predicted: NDArray[np.integer]
    grid: NDArray[np.float64]


class Corruptions(NamedTuple):
    """Predicted classes (items, corruptions, severities).

    ``labels`` (items,) and ``ids`` are those of a published set; None where the clean images were corrupted here.
    """

    predicted: NDArray[np.integer]
    names: list[str]
    severities: list[int]
    labels: NDArray[np.int64] | None = None
    ids: list[str] | None = None


class Shifted(NamedTuple):
    """Answers (m,) and labels (m,) on a set of a natural shift, ``outputs`` classes being let answer.

    Where these are some of the classes, ``reference`` (r,) and ``reference_labels`` (r,) are of the evaluated images of
    these classes; else None, and the clean answers serve.
    """

    name: str
    outputs: int
    predicted: NDArray[np.integer]
    labels: NDArray[np.int64]
    reference: NDArray[np.integer] | None = None
    reference_labels: NDArray[np.int64] | None = None


class Predictions(NamedTuple):
    """Class indices; ``labels`` (n,) where the file carries them, and every part that was run.

    ``notes`` are (n,) booleans: ``no_gradient`` where the input gradient is zero everywhere, ``saturated`` where float32
    rounds the label's probability to 1. ``pairs`` (m, 2) are the items of each in-between sample, ``settings`` tell how
    the attacks went and what covered pixels show. Where only some outputs stand for classes of the data, the predictions
    are those among them, and ``among_all`` holds what the same items give where every output may answer.
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
    shifted: tuple[Shifted, ...] = ()
    among_all: "Predictions | None" = None


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write a predictions file (``.npz`` without pickled objects), atomically."""
    arrays = _arrays(predictions)
    if predictions.among_all is not None:
        arrays |= {f"{_ALL}{name}": array for name, array in _arrays(predictions.among_all).items()}
        del arrays[f"{_ALL}ids"]
    file.write_predictions(path, predictions.about, arrays)


def _arrays(predictions: Predictions) -> dict[str, Any]:
    # Class indices are most of the file.
    kind = np.int16 if len(predictions.classes) < 2**15 else np.int32
    arrays: dict[str, Any] = {
        "ids": predictions.ids,
        "classes": predictions.classes,
        "clean": predictions.clean.astype(kind),
        "settings": predictions.settings,
        "labels": predictions.labels,
        **predictions.notes,
    }
    for name, family in predictions.families.items():
        arrays |= {name: family.predicted.astype(kind), f"{name}_grid": family.grid}
    if any(name in predictions.families for name in PAIR_FAMILIES):
        arrays["pairs"] = predictions.pairs
    if predictions.corruptions is not None:
        arrays["corruption" if predictions.corruptions.labels is None else "published"] = (
            predictions.corruptions.predicted.astype(kind)
        )
        arrays["published_labels"] = predictions.corruptions.labels
        arrays["published_ids"] = predictions.corruptions.ids
        arrays["corruption_names"] = predictions.corruptions.names
        arrays["severities"] = np.asarray(predictions.corruptions.severities, np.int64)
    return arrays | _shifted_arrays(predictions.shifted)


def read_predictions(path: Path) -> Predictions:
    """Read a predictions file; ``clean`` is required, every other part may be missing in files made by other tools.

    Raises:
        InputError: if the file cannot be read without running code, or its arrays do not fit together.
    """
    read = file.read_predictions(path, SCHEMA)
    found = _predictions(read)
    if f"{_ALL}clean" in read:
        arrays = {name.removeprefix(_ALL): array for name, array in read.items() if name.startswith(_ALL)}
        among_all = _predictions(PredictionFile(path, {"ids": read["ids"], **arrays}, read.about))
        found = found._replace(among_all=among_all)
    return found


def _predictions(read: PredictionFile) -> Predictions:
    families = {name: _family(read, name) for name in (*ITEM_FAMILIES, *PAIR_FAMILIES) if name in read}
    in_pairs = any(name in families for name in PAIR_FAMILIES)
    corruptions = None
    if "corruption" in read or "published" in read:
        names, severities = _required(read, "corruption_names"), _required(read, "severities")
        published = "corruption" not in read
        corruptions = Corruptions(
            read["published" if published else "corruption"],
            [str(name) for name in names],
            severities.tolist(),
            _required(read, "published_labels") if published else None,
            read.texts("published_ids") if published else None,
        )
    return Predictions(
        ids=read.texts("ids"),
        labels=read.get("labels"),
        classes=read.texts("classes"),
        about=read.about,
        clean=read["clean"],
        families=families,
        pairs=_required(read, "pairs") if in_pairs else np.zeros((0, 2), np.int64),
        notes={name: read[name] for name in NOTES if name in read},
        corruptions=corruptions,
        settings=read.settings(),
        shifted=_shifted(read) if "shifted" in read else (),
    )


def _shifted_arrays(sets: tuple[Shifted, ...]) -> dict[str, Any]:
    """All sets one after the other, each item with the number of its set."""
    if not sets:
        return {}
    arrays = {
        "shifted_sets": [each.name for each in sets],
        "shifted_outputs": np.array([each.outputs for each in sets]),
        **_one_after_the_other("shifted", [(each.predicted, each.labels) for each in sets], range(len(sets))),
    }
    some = [
        (number, each.reference, each.reference_labels)
        for number, each in enumerate(sets)
        if each.reference is not None and each.reference_labels is not None
    ]
    if some:
        pairs = [(predicted, labels) for _, predicted, labels in some]
        arrays |= _one_after_the_other("reference", pairs, [number for number, _, _ in some])
    return arrays


def _one_after_the_other(
    name: str, pairs: list[tuple[NDArray[np.integer], NDArray[np.int64]]], numbers: Sequence[int]
) -> dict[str, Any]:
    """Answers and labels of several sets, and the number of each item's set."""
    return {
        name: np.concatenate([predicted for predicted, _ in pairs]),
        f"{name}_labels": np.concatenate([labels for _, labels in pairs]),
        f"{name}_set": np.repeat(np.array(numbers), [len(labels) for _, labels in pairs]),
    }


def _shifted(read: PredictionFile) -> tuple[Shifted, ...]:
    names, outputs = read.texts("shifted_sets"), _required(read, "shifted_outputs")
    labels, of_set = _required(read, "shifted_labels"), _required(read, "shifted_set")
    found = []
    for number, name in enumerate(names):
        rows = of_set == number
        reference = (None, None)
        if "reference" in read and (own := _required(read, "reference_set") == number).any():
            reference = (read["reference"][own], _required(read, "reference_labels")[own])
        found.append(Shifted(name, int(outputs[number]), read["shifted"][rows], labels[rows], *reference))
    return tuple(found)


def _family(read: PredictionFile, name: str) -> Family:
    grid = _required(read, f"{name}_grid").astype(np.float64)
    largest = np.inf if name == "patch_shuffle" else 1
    if not (np.isfinite(grid).all() and (np.diff(grid) > 0).all() and grid[0] >= 0 and grid[-1] <= largest):
        raise InputError(
            expected=f"ascending strengths in [0, {largest}] as '{name}_grid'",
            where=read.path,
            found=str(grid.tolist()),
        )
    return Family(read[name], grid)


def _required(read: PredictionFile, name: str) -> NDArray[Any]:
    """An array without which another one says nothing."""
    array = read.get(name)
    if array is None or not array.size:
        raise InputError(
            expected=f"an array '{name}' ({SCHEMA[name].axes})",
            where=read.path,
            found="none" if array is None else f"shape {array.shape}",
        )
    return array
