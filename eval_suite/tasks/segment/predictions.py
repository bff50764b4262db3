"""Predicted masks on disk: a PNG for each image, as VOC's server takes them, next to what they were made on."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eval_suite.core.errors import InputError
from eval_suite.core.predictions import About
from eval_suite.core.store import atomic_write, safe_name, write_json
from eval_suite.data.json_files import read_json
from eval_suite.data.masks import MaskIndex, palette

_RUN = "run.json"


def write_mask(folder: Path, item: str, labels: NDArray[np.uint8]) -> None:
    """Write the classes (H, W) of an image's pixels, atomically."""
    image = Image.fromarray(labels)
    image.putpalette(palette())
    with atomic_write(folder / f"{safe_name(item)}.png", "wb") as stream:
        image.save(stream, "PNG")


def write_run(folder: Path, about: About) -> None:
    """Write what the masks of a folder were made on."""
    write_json(folder / _RUN, about._asdict())


def read_run(folder: Path, index: MaskIndex, evaluated: MaskIndex) -> About:
    """What the masks of a folder were made on; that split itself where another tool made them.

    Raises:
        InputError: if there is no folder, or what it says cannot be read.
    """
    if not folder.is_dir():
        raise InputError(expected=f"a folder of predicted masks at {folder}", found="none")
    if not (folder / _RUN).is_file():
        return index.about(evaluated, [])
    content = read_json(folder / _RUN)
    try:
        return About(**content)
    except TypeError:
        raise InputError(
            expected="what the masks were made on", where=folder / _RUN, found=f"{sorted(content)}"
        ) from None


def mask_of(folder: Path, item: str) -> Path | None:
    """The predicted mask of an item, under its whole name or the image's own; None where there is none."""
    names = (safe_name(item), item.rpartition("/")[2])
    return next((path for name in names if (path := folder / f"{name}.png").is_file()), None)
