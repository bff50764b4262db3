"""Which strips of pictures stand with the numbers, and what the backbone said of their panels."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.records import Example
from eval_suite.data.pictures import picture_name, spread_evenly
from eval_suite.tasks.robustness.options import epsilon_name
from eval_suite.tasks.robustness.predictions import ITEM_FAMILIES, PAIR_FAMILIES, Predictions

CORRUPTION = "corruption"
SHOWN = 2
PANELS = 3


def strip_name(family: str, item: str) -> str:
    """File name of an item's strip; equal for every backbone."""
    return f"{family}-{picture_name(item)}"


def shown_items(n: int) -> NDArray[np.int64]:
    """The few of n items that are shown."""
    return spread_evenly(n, SHOWN + 2)[1:-1] if n > SHOWN + 1 else np.arange(n)


def shown_points(points: int) -> NDArray[np.int64]:
    """The few points of a grid that are shown: spread evenly, without its ends where there are enough."""
    return spread_evenly(points, PANELS + 2)[1:-1] if points >= PANELS + 2 else np.arange(points)[:PANELS]


def examples(
    folder: Path, found: Predictions, labels: NDArray[np.int64], classes: list[str]
) -> list[Example]:
    """The strips that lie in a task's folder, each with what the backbone said of its panels."""
    there = {path.name for path in (folder / "examples").glob("*.png")}
    rows = [int(row) for row in shown_items(len(labels))] if there and found.ids else []
    listed = []
    for family in (*ITEM_FAMILIES, *PAIR_FAMILIES, CORRUPTION):
        for row in rows:
            name = strip_name(family, found.ids[row])
            if name in there:
                alt, caption = _told(family, found, row, labels, classes)
                listed.append(
                    Example(
                        image=f"{folder.name}/examples/{name}",
                        alt=f"{found.ids[row]}: {alt}",
                        caption=caption,
                    )
                )
    return listed


def _told(
    family: str, found: Predictions, row: int, labels: NDArray[np.int64], classes: list[str]
) -> tuple[str, str]:
    """What a strip shows, and what was predicted for it."""
    own = [int(labels[row])]
    if family == CORRUPTION and found.corruptions is not None:
        kinds = shown_points(len(found.corruptions.names))
        words = _words(found.corruptions.predicted[row, kinds, -1], own, classes)
        names = [found.corruptions.names[kind].replace("_", " ") for kind in kinds]
        pairs = zip(names, words, strict=True)
        return "corrupted at the highest severity", "; ".join(f"{name}: {word}" for name, word in pairs)
    predicted, grid = found.families[family]
    if family == "fgsm":
        before, after = _words([found.clean[row], predicted[row, -1]], own, classes)
        caption = f"{before} → {after} under FGSM (ε={epsilon_name(grid[-1])})"
        return "image, perturbation enhanced, image under FGSM", caption
    points = shown_points(len(grid))
    if family in PAIR_FAMILIES:
        pair = int(np.flatnonzero(found.pairs[:, 0] == row)[0])
        both = [int(labels[item]) for item in found.pairs[pair]]
        title = " + ".join(classes[label] for label in both)
        words = _words(predicted[pair, points], both, classes)
        return f"in-between samples ({family})", f"{title}: {', '.join(words)}"
    return f"{family.replace('_', ' ')}", ", ".join(_words(predicted[row, points], own, classes))


def _words(predicted: Sequence[int] | NDArray[np.integer], right: list[int], classes: list[str]) -> list[str]:
    return [f"{'✓' if int(said) in right else '✗'} {classes[int(said)]}" for said in predicted]
