"""Pictures with what was said of them: the same ones for every backbone on the same data."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.records import Example
from eval_suite.data.coco import CaptionSet
from eval_suite.data.pictures import picture_name, save_pictures, spread_evenly

# More than a report shows: it picks those the baseline does worst and best on.
KEPT = 24


def write_pictures(captions: CaptionSet, folder: Path) -> None:
    """Write some images as PNG, spread evenly over a set.

    Args:
        captions: images that could be read.
        folder: where ``examples/`` goes.
    """
    from eval_suite.data.decoding import open_item, to_rgb

    index = captions.images()
    chosen = spread_evenly(len(index), KEPT).tolist()
    pictures = {picture_name(index.ids[i]): to_rgb(open_item(index, i)) for i in chosen}
    save_pictures(folder / "examples", pictures)


def examples(
    folder: Path, captions: CaptionSet, said: Mapping[int, str], scores: NDArray[np.float64]
) -> list[Example]:
    """The pictures that lie in a task's folder, each with the generated caption and a person's.

    Args:
        folder: the task's folder, beside the record.
        captions: the scored images.
        said: generated captions by image id.
        scores: (n,) CIDEr-D of each image.
    """
    there = {path.name for path in (folder / "examples").glob("*.png")}
    found = []
    for image_id, file, references, score in zip(
        captions.image_ids, captions.files, captions.captions, scores, strict=True
    ):
        name = picture_name(file)
        if file and name in there:
            caption = f"“{said[image_id]}” (CIDEr-D {100 * score:.0f}\u00a0%), a person: “{references[0]}”"
            found.append(
                Example(image=f"{folder.name}/examples/{name}", alt=file, caption=caption, score=float(score))
            )
    return found
