"""A few images to show with the numbers: the same ones for every backbone on the same data."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.records import Example
from eval_suite.data.images import ImageIndex
from eval_suite.data.pictures import picture_name, save_pictures, spread_evenly

SHOWN = 8


def write_pictures(index: ImageIndex, positions: NDArray[np.int64], folder: Path) -> None:
    """Write a few images as PNG, spread evenly over the readable items.

    Args:
        index: the image set.
        positions: (n,) places in it that could be read.
        folder: where ``examples/`` goes.
    """
    from eval_suite.data.decoding import open_item, to_rgb

    chosen = positions[spread_evenly(len(positions), SHOWN)]
    pictures = {picture_name(index.ids[i]): to_rgb(open_item(index, int(i))) for i in chosen}
    save_pictures(folder / "examples", pictures)


def examples(
    folder: Path,
    ids: list[str],
    labels: NDArray[np.integer],
    predicted: NDArray[np.integer],
    confidence: NDArray[np.floating],
    classes: list[str],
) -> list[Example]:
    """The pictures that lie in a task's folder, each with what the backbone said of it.

    Args:
        folder: the task's folder, next to the record.
        ids: (n,) items.
        labels: (n,) class indices.
        predicted: (n,) class indices.
        confidence: (n,) probability of the predicted class.
        classes: class names.
    """
    there = {path.name for path in (folder / "examples").glob("*.png")}
    found = []
    for i, item in enumerate(ids if there else []):
        name = picture_name(item)
        if name in there:
            said = f"{classes[predicted[i]]} ({confidence[i]:.0%})"
            right = predicted[i] == labels[i]
            caption = f"✓ {said}" if right else f"✗ {said}, not {classes[labels[i]]}"
            found.append(Example(image=f"{folder.name}/examples/{name}", alt=item, caption=caption))
    return found
