"""Pictures with the numbers: the images whose class their neighbours know least, each with the training images nearest to it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from eval_suite.core.records import Example
from eval_suite.data.decoding import open_item, to_rgb
from eval_suite.data.images import ImageIndex
from eval_suite.data.pictures import picture_name, save_pictures
from eval_suite.tasks.probe.knn import nearest_of

_SHOWN, _NEIGHBOURS = 4, 4
_TILE, _GAP = 90, 4


class Learnt(NamedTuple):
    """The training images, those of them (n,) that have features, and these (n, D)."""

    images: ImageIndex
    positions: NDArray[np.int64]
    features: NDArray[np.float32]


def write_pictures(
    index: ImageIndex,
    positions: NDArray[np.int64],
    features: NDArray[np.float32],
    of_true: NDArray[np.floating],
    learnt: Learnt,
    folder: Path,
) -> dict[str, str]:
    """Write a row for each of a few images, itself first; gives what stands below each by the image's id.

    Args:
        index: the evaluated images.
        positions: (m,) those with features.
        features: (m, D).
        of_true: (m,) share of the votes for the true class; the lowest are shown, of equals the first.
        learnt: among which the nearest are.
        folder: where ``examples/`` goes.
    """
    worst = np.argsort(of_true, kind="stable")[:_SHOWN]
    count = min(_NEIGHBOURS, len(learnt.features))
    similar, nearest = nearest_of(
        learnt.features, np.ascontiguousarray(features[worst]), count, torch.device("cpu")
    )
    pictures, captions = {}, {}
    for row, item in enumerate(worst):
        place = int(positions[item])
        known = learnt.positions[nearest[row]]
        shown = [to_rgb(open_item(index, place)), *(to_rgb(open_item(learnt.images, int(i))) for i in known)]
        names = [learnt.images.classes[learnt.images.labels[i]] for i in known]
        pictures[picture_name(index.ids[place])] = _row(shown)
        captions[index.ids[place]] = (
            f"{index.classes[index.labels[place]]}, then the training images nearest to it: "
            + ", ".join(f"{name} ({value:.2f})" for name, value in zip(names, similar[row], strict=True))
        )
    save_pictures(folder / "examples", pictures, longest_side=(1 + _NEIGHBOURS) * (_TILE + _GAP))
    return captions


def examples(folder: Path, captions: dict[str, str]) -> list[Example]:
    """The pictures that lie in a task's folder, by what `write_pictures` gave."""
    return [
        Example(image=f"{folder.name}/examples/{name}", alt=item, caption=text)
        for item, text in captions.items()
        if (folder / "examples" / (name := picture_name(item))).is_file()
    ]


def _row(images: list[Image.Image]) -> Image.Image:
    row = Image.new("RGB", (len(images) * (_TILE + _GAP) - _GAP, _TILE), "white")
    for place, image in enumerate(images):
        factor = _TILE / max(image.size)
        size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
        row.paste(image.resize(size), (place * (_TILE + _GAP), 0))
    return row
