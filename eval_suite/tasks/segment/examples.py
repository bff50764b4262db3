"""Pictures with the numbers, of the same images for every backbone: the image, its true mask, and the predicted one."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eval_suite.core.records import Example
from eval_suite.data.decoding import open_item, to_rgb
from eval_suite.data.masks import MaskIndex, palette, read_labels
from eval_suite.data.pictures import picture_name, save_pictures, spread_evenly
from eval_suite.tasks.segment.metrics import counts_of, mean_ratio
from eval_suite.tasks.segment.predictions import mask_of

_SHOWN = 6
_HEIGHT = 110
_GAP = 4


def write_examples(
    folder: Path, index: MaskIndex, predictions: Path, confusions: NDArray[np.int64]
) -> list[Example]:
    """Write a few images with both masks as PNG, and name them with each image's own mean IoU.

    Args:
        folder: the task's folder, next to the record; the pictures go to ``examples/`` in it.
        index: the n scored images.
        predictions: folder of the predicted masks.
        confusions: (n, K, K) of each image.
    """
    pictures, found = {}, []
    for i in spread_evenly(len(index), _SHOWN).tolist():
        name = picture_name(index.ids[i])
        path = mask_of(predictions, index.ids[i])
        assert path is not None  # as they were scored
        pictures[name] = _row(
            to_rgb(open_item(index.images(), i)),
            index.labels(i),
            read_labels(path, len(index.classes), None),
        )
        counts = counts_of(confusions[i : i + 1])
        own = (
            f"mean IoU {mean_ratio(counts.both, counts.union):.0%}" if confusions[i].any() else "not counted"
        )
        caption = f"image, true mask, predicted mask ({own})"
        found.append(Example(image=f"{folder.name}/examples/{name}", alt=index.ids[i], caption=caption))
    save_pictures(folder / "examples", pictures, longest_side=4 * _HEIGHT)
    return found


def _row(image: Image.Image, *masks: NDArray[np.uint8]) -> Image.Image:
    width = max(1, round(image.width * _HEIGHT / image.height))
    row = Image.new("RGB", (len([image, *masks]) * (width + _GAP) - _GAP, _HEIGHT), "white")
    row.paste(image.resize((width, _HEIGHT)), (0, 0))
    for place, mask in enumerate(masks, start=1):
        coloured = Image.fromarray(mask)
        coloured.putpalette(palette())
        shown = coloured.resize((width, _HEIGHT), Image.Resampling.NEAREST).convert("RGB")
        row.paste(shown, (place * (width + _GAP), 0))
    return row
