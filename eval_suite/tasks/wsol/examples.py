"""Pictures with the numbers, of the same images for every backbone: maps with boxes, and maps of mixed images.

The first are those of the CutMix paper's Figure 4, the second those of its Figure 1: two images, mixed as Mixup, Cutout
and CutMix do, and where the network sees the class of each.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from eval_suite.core.records import Example
from eval_suite.data.boxes import LocalisationIndex
from eval_suite.data.decoding import open_item, pixel_array, to_rgb
from eval_suite.data.pictures import picture_name, save_pictures, spread_evenly
from eval_suite.tasks.wsol.box_accuracy import best_iou
from eval_suite.tasks.wsol.components import box_at, to_8bit
from eval_suite.tasks.wsol.geometry import Transform, boxes_through, score_map
from eval_suite.tasks.wsol.maps import Extractor
from eval_suite.tasks.wsol.predictions import Predictions
from eval_suite.training.regularizers.boxes import cutmix_box

SHOWN = 8
_TILE = 160
_ROW_TILE = 120
_GAP = 4
_COLOURS = 96
_RED, _GREEN, _WHITE = (230, 20, 20), (30, 220, 60), (255, 255, 255)
_CUTMIX_LAM = 0.5
_MIXED = {
    "originals": "both images and their own class",
    "mixup": "Mixup (half of each)",
    "cutout": "Cutout of the first image",
    "cutmix": "CutMix (a part of the second image in the first)",
}


class Pair(NamedTuple):
    """Places of two items of different classes."""

    first: int
    second: int


def write_pictures(
    extract: Extractor,
    found: Predictions,
    truth: LocalisationIndex,
    sigma: float,
    fill: tuple[float, float, float],
    device: torch.device,
    folder: Path,
) -> None:
    """Write the pictures of a few items, and those of two items mixed.

    Args:
        extract: how maps are read, for the mixed images.
        found: maps of the items.
        truth: the items' images and boxes.
        sigma: threshold of the predicted box.
        fill: mean colour in [0, 1], which Cutout writes.
        device: where the network lies.
        folder: the task's folder, in which ``examples/`` goes.
    """
    place = {name: i for i, name in enumerate(truth.images.ids)}
    pictures = {}
    for i in spread_evenly(len(found.ids), SHOWN):
        at = place[found.ids[i]]
        image = found.transform.of_images.apply(to_rgb(open_item(truth.images, at)))
        score = score_map(found.maps[i], found.transform.size)
        boxes = boxes_through(truth.boxes[at], tuple(truth.sizes[at]), found.transform)
        pictures[picture_name(found.ids[i])] = with_boxes(
            overlay(image, score), boxes, box_at(to_8bit(score), sigma)
        )
    pair = choose_pair(found.labels)
    if pair is not None:
        images = [
            found.transform.of_images.apply(to_rgb(open_item(truth.images, place[found.ids[i]])))
            for i in pair
        ]
        pictures.update(_mixed_rows(extract, images, found.labels[list(pair)], found.transform, fill, device))
    # A palette keeps the report small; the colours of a map are few.
    reduced = {
        name: picture.quantize(_COLOURS, dither=Image.Dither.NONE) for name, picture in pictures.items()
    }
    save_pictures(folder / "examples", reduced, longest_side=4 * (_ROW_TILE + _GAP))


def examples(folder: Path, found: Predictions, truth: LocalisationIndex, sigma: float) -> list[Example]:
    """The pictures that lie in a task's folder, each with what is to be seen."""
    there = {path.name for path in (folder / "examples").glob("*.png")}
    place = {name: i for i, name in enumerate(truth.images.ids)}
    shown = []
    for i, item in enumerate(found.ids if there else []):
        if (name := picture_name(item)) in there:
            fit = None if truth.masks is not None else _fit(found, i, truth, place[item], sigma)
            shown.append(
                Example(image=f"{folder.name}/examples/{name}", alt=item, caption=_said(found, i, fit))
            )
    pair = choose_pair(found.labels) if len(found.labels) else None
    if pair is not None and found.classes:
        one, other = (found.classes[found.labels[i]] for i in pair)
        for kind, what in _MIXED.items():
            if _row_name(kind) in there:
                caption = f"{what}: input, map of {one}, map of {other}"
                if kind == "originals":
                    caption = f"{one} with its map, {other} with its map"
                shown.append(
                    Example(image=f"{folder.name}/examples/{_row_name(kind)}", alt=what, caption=caption)
                )
    return shown


def choose_pair(labels: NDArray[np.integer]) -> Pair | None:
    """Two items of different classes, a quarter and about three quarters through; None where there is one class."""
    n = len(labels)
    first = n // 4
    others = np.flatnonzero(labels != labels[first]) if n else np.zeros(0, int)
    if not len(others):
        return None
    return Pair(first, int(others[np.abs(others - 3 * n // 4).argmin()]))


def mixed_images(first: Tensor, second: Tensor, fill: tuple[float, float, float]) -> dict[str, Tensor]:
    """Two images (3, H, W) in [0, 1] mixed by the arithmetic of each regularizer, with fixed shares and places."""
    _, height, width = first.shape
    box = cutmix_box(height, width, _CUTMIX_LAM, 3 * width // 4, height // 2)
    inside = (slice(None), slice(box.y0, box.y1), slice(box.x0, box.x1))
    cutmix, cutout = first.clone(), first.clone()
    cutmix[inside] = second[inside]
    hole = (slice(None), slice(height // 4, 3 * height // 4), slice(width // 4, 3 * width // 4))
    cutout[hole] = torch.tensor(fill).view(3, 1, 1)
    return {"mixup": second.lerp(first, 0.5), "cutout": cutout, "cutmix": cutmix}


def overlay(image: Image.Image, score: NDArray[np.floating]) -> Image.Image:
    """An image under the colours of its score map (H, W) in [0, 1], blue to red."""
    import cv2

    heat = cv2.cvtColor(cv2.applyColorMap(to_8bit(score), cv2.COLORMAP_JET), cv2.COLOR_BGR2RGB)
    return Image.blend(image, Image.fromarray(heat), 0.45)


def with_boxes(
    image: Image.Image, truth: NDArray[np.int64], predicted: tuple[int, int, int, int]
) -> Image.Image:
    """An image brought to the size of a tile, the boxes of the truth in red and the predicted one in green."""
    width, height = image.size
    scale = _TILE / max(width, height)
    tile = image.resize((round(width * scale), round(height * scale)), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(tile)
    for box, colour in [*((box, _RED) for box in truth.tolist()), (predicted, _GREEN)]:
        x0, y0, x1, y1 = (scale * value for value in box)
        # A box of one pixel, drawn smaller, would end before it begins.
        right, below = max(x0, x1 + scale - 1), max(y0, y1 + scale - 1)
        draw.rectangle((x0, y0, right, below), outline=colour, width=2)
    return tile


def _mixed_rows(
    extract: Extractor,
    images: list[Image.Image],
    labels: NDArray[np.integer],
    transform: Transform,
    fill: tuple[float, float, float],
    device: torch.device,
) -> Mapping[str, Image.Image]:
    """A row of tiles for each way of mixing, by file name."""
    first, second = (torch.from_numpy(pixel_array(image).copy()).float() / 255 for image in images)
    mixed = mixed_images(first, second, fill)
    one, other = (int(label) for label in labels)
    # Each mixed image twice: once for each class.
    batch = torch.stack([first, second, *(image for image in mixed.values() for _ in range(2))])
    wanted = torch.tensor([one, other] * (1 + len(mixed)))
    maps = extract(batch.to(device), wanted.to(device)).maps.cpu().numpy()
    seen = [overlay(_picture(x), score_map(raw, transform.size)) for x, raw in zip(batch, maps, strict=True)]
    rows = {_row_name("originals"): _row([images[0], seen[0], images[1], seen[1]])}
    for number, (kind, image) in enumerate(mixed.items(), start=1):
        rows[_row_name(kind)] = _row([_picture(image), seen[2 * number], seen[2 * number + 1]])
    return rows


def _row_name(kind: str) -> str:
    return f"mixed-{kind}.png"


def _picture(image: Tensor) -> Image.Image:
    return Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy())


def _row(tiles: list[Image.Image]) -> Image.Image:
    row = Image.new("RGB", (len(tiles) * (_ROW_TILE + _GAP) - _GAP, _ROW_TILE), _WHITE)
    for number, tile in enumerate(tiles):
        row.paste(
            tile.resize((_ROW_TILE, _ROW_TILE), Image.Resampling.BICUBIC), (number * (_ROW_TILE + _GAP), 0)
        )
    return row


def _fit(found: Predictions, i: int, truth: LocalisationIndex, at: int, sigma: float) -> float:
    """IoU of an item's box at a threshold with the ground truth it fits best."""
    map8 = to_8bit(score_map(found.maps[i], found.transform.size))
    boxes = boxes_through(truth.boxes[at], tuple(truth.sizes[at]), found.transform)
    return float(best_iou(np.array([box_at(map8, sigma)]), boxes)[0])


def _said(found: Predictions, i: int, fit: float | None) -> str:
    text = [] if fit is None else [f"IoU {fit:.2f}"]
    if found.classes and found.logits.shape[1] and len(found.labels):
        predicted, label = int(found.logits[i].argmax()), int(found.labels[i])
        own = found.classes[label]
        text.insert(0, f"✓ {own}" if predicted == label else f"✗ {found.classes[predicted]}, not {own}")
    return ", ".join(text)
