"""A few test images to show: ground truth next to what a detector found, the same images for every backbone."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from eval_suite.core.records import Example
from eval_suite.data.decoding import open_item, to_rgb
from eval_suite.data.objects import ObjectIndex
from eval_suite.data.pictures import picture_name, save_pictures, spread_evenly
from eval_suite.tasks.detect.matching import Detections, objects_of, rank

SHOWN = 4
SURE = 0.3
_SIDE = 240
_GAP = 6
_MOST = 10
_THERE, _RIGHT, _WRONG = (255, 255, 255), (64, 220, 120), (255, 96, 64)


def write_examples(
    folder: Path, index: ObjectIndex, detections: dict[str, Detections], titles: dict[str, str]
) -> list[Example]:
    """Write pictures, on the left the objects and on the right the detections with a score of 0.3 or more.

    Args:
        folder: the task's folder; the pictures go to ``examples/`` in it.
        index: the images that were predicted on.
        detections: by detector.
        titles: by detector, for the captions.
    """
    pictures: dict[str, Image.Image] = {}
    examples = []
    chosen = spread_evenly(len(index), SHOWN)
    opened = {int(i): _opened(index, int(i)) for i in chosen}
    for detector, found in detections.items():
        kept = found.select(found.scores >= SURE)
        for i, image in opened.items():
            if image is None:
                continue
            name = picture_name(f"{detector}-{index.ids[i]}")
            pictures[name], said = _pair(image, index, i, kept)
            examples.append(
                Example(
                    image=f"{folder.name}/examples/{name}",
                    alt=f"{titles[detector]}: {index.ids[i]}",
                    caption=f"{titles[detector]}: {said}",
                )
            )
    save_pictures(folder / "examples", pictures, longest_side=2 * _SIDE + _GAP)
    return examples


def _opened(index: ObjectIndex, position: int) -> Image.Image | None:
    try:
        return to_rgb(open_item(index.images(), position))
    except Exception:  # noqa: BLE001 - counted as unreadable where it was predicted on
        return None


def _pair(image: Image.Image, index: ObjectIndex, position: int, sure: Detections) -> tuple[Image.Image, str]:
    """The two halves, and in words how many objects were found."""
    only = index.select(np.array([position]))
    here = sure.select(sure.image == position)
    here = here.select(np.lexsort((-here.scores, here.labels)))  # the order `rank` puts them in
    here = here._replace(image=np.zeros_like(here.image))
    ranking = rank(
        here,
        objects_of(only)._replace(difficult=np.zeros(len(only.boxes), bool)),
        1,
        len(index.classes),
        plus_one=True,
    )
    scale = _SIDE / max(image.size)
    size = (round(image.width * scale), round(image.height * scale))
    left, right = (image.resize(size, Image.Resampling.BICUBIC) for _ in range(2))
    pen = ImageDraw.Draw(left)
    for box, label in zip(only.boxes, only.labels, strict=True):
        _draw(pen, box * scale, _THERE, index.classes[label])
    pen = ImageDraw.Draw(right)
    for place in np.argsort(-here.scores)[:_MOST][::-1]:
        words = f"{index.classes[here.labels[place]]} {here.scores[place]:.2f}"
        _draw(pen, here.boxes[place] * scale, _RIGHT if ranking.hit[place] else _WRONG, words)
    both = Image.new("RGB", (2 * size[0] + _GAP, size[1]), (127, 127, 127))
    both.paste(left, (0, 0))
    both.paste(right, (size[0] + _GAP, 0))
    wrong = int((~ranking.hit).sum())
    return both, f"{int(ranking.hit.sum())} of {len(only.boxes)} found, {wrong} wrong"


def _draw(pen: ImageDraw.ImageDraw, box: np.ndarray, colour: tuple[int, int, int], words: str) -> None:
    x0, y0, x1, y1 = (float(value) for value in box)
    pen.rectangle((x0, y0, max(x0, x1), max(y0, y1)), outline=colour, width=2)
    spot = pen.textbbox((x0 + 2, max(0.0, y0 - 11)), words)
    pen.rectangle(spot, fill=(0, 0, 0))
    pen.text(spot[:2], words, fill=colour)
