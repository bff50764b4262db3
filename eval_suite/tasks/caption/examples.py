"""The pictures that say most: those captioned best and worst of all."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.records import Example
from eval_suite.data.coco import CaptionSet
from eval_suite.data.pictures import picture_name, save_pictures

_EACH = 4


def below_picture(caption: str, score: float) -> str:
    """What stands below a picture: the generated caption, and its CIDEr-D in percent."""
    return f"“{caption}” (CIDEr-D {100 * score:.0f}\u00a0%)"


def best_and_worst(scores: NDArray[np.float64], each: int) -> list[int]:
    """Places of the highest scores, highest first, and then of the lowest, lowest first; of equal ones the earlier.

    Args:
        scores: (n,).
        each: how many of either; all n places, best first, where there are no more than twice as many.
    """
    best = np.argsort(-scores, kind="stable")
    if len(scores) <= 2 * each:
        return best.tolist()
    # No place is among both: where many are equal, the best come first and the worst are of the others.
    others = np.sort(best[each:])
    worst = others[np.argsort(scores[others], kind="stable")]
    return [*best[:each].tolist(), *worst[:each].tolist()]


def write_examples(
    folder: Path, captions: CaptionSet, texts: Sequence[str], scores: NDArray[np.float64]
) -> list[Example]:
    """Write the images captioned best and worst as PNG, and name them with what people say of them.

    Args:
        folder: the task's folder, next to the record; the pictures go to ``examples/`` in it.
        captions: the scored images, all of which could be read.
        texts: n texts, one below each picture.
        scores: (n,) CIDEr-D of each image.
    """
    from eval_suite.data.decoding import open_item, to_rgb

    index = captions.images()
    chosen = best_and_worst(scores, _EACH)
    names = {i: picture_name(index.ids[i]) for i in chosen}
    save_pictures(folder / "examples", {names[i]: to_rgb(open_item(index, i)) for i in chosen})
    return [
        Example(
            image=f"{folder.name}/examples/{names[i]}",
            alt=index.ids[i],
            caption=texts[i],
            score=float(scores[i]),
            item=str(captions.image_ids[i]),
            references=captions.captions[i],
        )
        for i in chosen
    ]
