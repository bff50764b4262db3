"""Which strips of pictures stand beside the numbers, and what the backbone said of their panels."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.records import Example
from eval_suite.data.pictures import picture_name, spread_evenly
from eval_suite.robustness.predictions import Predictions

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
    listed = []

    def add(family: str, row: int, alt: str, caption: str) -> None:
        name = strip_name(family, found.ids[row])
        if name in there:
            listed.append(
                Example(
                    image=f"{folder.name}/examples/{name}", alt=f"{found.ids[row]}: {alt}", caption=caption
                )
            )

    rows = [int(row) for row in shown_items(len(labels))] if there and found.ids else []
    for family in ("fgsm", "centre_occlusion", "boundary_occlusion", "mixup", "cutmix", "corruption"):
        for row in rows:
            own = [int(labels[row])]
            if family == "fgsm" and family in found.families:
                said = [int(found.clean[row]), int(found.families[family].predicted[row, -1])]
                words = _words(said, own, classes)
                add(
                    family,
                    row,
                    "image, perturbation enhanced, image under FGSM",
                    f"{words[0]} → under FGSM {words[1]}",
                )
            elif family == "corruption" and found.corruptions is not None:
                names = found.corruptions.names
                chosen = shown_points(len(names))
                words = _words(found.corruptions.predicted[row, chosen, -1], own, classes)
                told = [
                    f"{names[i].replace('_', ' ')}: {word}" for i, word in zip(chosen, words, strict=True)
                ]
                add(family, row, "corrupted at the highest severity", "; ".join(told))
            elif family in ("mixup", "cutmix") and family in found.families:
                pair = int(np.flatnonzero(found.pairs[:, 0] == row)[0])
                both = [int(labels[item]) for item in found.pairs[pair]]
                title = f"{classes[both[0]]} + {classes[both[1]]}"
                chosen = shown_points(len(found.families[family].grid))
                words = _words(found.families[family].predicted[pair, chosen], both, classes)
                add(family, row, f"in-between samples ({family})", f"{title}: {', '.join(words)}")
            elif family.endswith("_occlusion") and family in found.families:
                chosen = shown_points(len(found.families[family].grid))
                words = _words(found.families[family].predicted[row, chosen], own, classes)
                add(family, row, f"{family.replace('_', ' ')}, three sizes", ", ".join(words))
    return listed


def _words(predicted: Sequence[int] | NDArray[np.integer], right: list[int], classes: list[str]) -> list[str]:
    return [f"{'✓' if int(said) in right else '✗'} {classes[int(said)]}" for said in predicted]
