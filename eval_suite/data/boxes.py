"""Where the objects are: the boxes, and masks where there are any, of one split of an image set."""

import hashlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError
from eval_suite.core.parts import parts
from eval_suite.data.images import ImageIndex, did_you_mean, file_mark, parse_spec, read_split, readable
from eval_suite.data.layouts.base import Located, MaskFiles

log = logging.getLogger(__name__)


def with_boxes() -> tuple[str, ...]:
    """The kinds of images with classes that say where the objects are."""
    return tuple(name for name, layout in parts("data").items() if layout.boxes)


@dataclass(frozen=True, eq=False)
class LocalisationIndex:
    """A split with the place of its objects, item by item in the order of ``images``.

    ``sizes`` is (n, 2) width and height of the images that the boxes are given in, zeros where an image cannot be read.
    ``boxes`` holds (k, 4) x0 y0 x1 y1 in pixels of the original image, at least one for each item, unless ``masks``
    takes their place. Both corners belong to a box, so x0 = x1 is a column of pixels.
    """

    images: ImageIndex
    sizes: NDArray[np.int64]
    boxes: list[NDArray[np.float64]]
    masks: list[MaskFiles] | None = None

    def __len__(self) -> int:
        """Number of items."""
        return len(self.images)

    def sha256(self) -> str:
        """Hash of the images, and of the boxes or of names and sizes of the mask files."""
        digest = hashlib.sha256(self.images.sha256().encode())
        for boxes in self.boxes:
            digest.update(f"{len(boxes)} ".encode() + boxes.astype("<f4").tobytes())
        for item in self.masks or ():
            for path in (*item.instances, *([item.ignore] if item.ignore else [])):
                digest.update(f"{path.name} {file_mark(str(path))} ".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def subset(self, limit: int | None) -> "LocalisationIndex":
        """The items that `ImageIndex.subset` takes, with their boxes."""
        images = self.images.subset(limit)
        if images is self.images:
            return self
        place = {name: i for i, name in enumerate(self.images.ids)}
        chosen = [place[name] for name in images.ids]
        return LocalisationIndex(
            images,
            self.sizes[chosen],
            [self.boxes[i] for i in chosen],
            None if self.masks is None else [self.masks[i] for i in chosen],
        )


def open_localisation(
    spec: str,
    split: str | None = None,
    *,
    warn: Callable[[str], None] = log.warning,
) -> LocalisationIndex:
    """Index one split of an image set with the boxes of its objects.

    A box without area (x1 < x0) or wholly outside its image is left out, and one that reaches outside kept as it is;
    either is said in one line.

    Args:
        spec: ``KIND:PATH``.
        split: an existing split; None takes the one that `open_images` evaluates on.
        warn: receives the lines.

    Raises:
        InputError: if the kind has no boxes, an item has none, or a file does not hold its layout.
    """
    found = read_split(spec, split)
    if found.layout.locate is None:
        kind, path = parse_spec(spec)
        raise InputError(
            f"'{kind}' sets have no boxes; expected one of {', '.join(with_boxes())} as KIND:PATH"
            f"{did_you_mean(path, boxes=True)}"
        )
    index = found.images
    with readable(index.root):
        located = found.layout.locate(index.split, found.content)
    sizes = _image_sizes(index) if located.sizes is None else located.sizes
    boxes = located.boxes if located.masks is not None else _sound_boxes(index, located, sizes, warn)
    return LocalisationIndex(index, sizes, boxes, located.masks)


def _sound_boxes(
    index: ImageIndex, located: Located, sizes: NDArray[np.int64], warn: Callable[[str], None]
) -> list[NDArray[np.float64]]:
    counts = [len(boxes) for boxes in located.boxes]
    owner = np.repeat(np.arange(len(index)), counts)
    every = np.concatenate([*located.boxes, np.zeros((0, 4))])
    x0, y0, x1, y1 = every.T
    width, height = sizes[owner].T
    unread = width == 0
    flat = (x1 < x0) | (y1 < y0)
    outside = ~unread & ((x0 >= width) | (y0 >= height) | (x1 < 0) | (y1 < 0))
    over = ~unread & ~flat & ~outside & ((x0 < 0) | (y0 < 0) | (x1 > width) | (y1 > height))
    for wrong, what in (
        (flat, "have no area and are left out"),
        (outside & ~flat, "lie outside their image and are left out"),
        (over, "reach outside their image and are kept as they are"),
    ):
        if wrong.any():
            first = index.ids[owner[wrong.argmax()]]
            warn(f"{int(wrong.sum()):,} boxes of {located.source} {what}, first that of '{first}'")
    kept = ~flat & ~outside
    without = np.flatnonzero(np.bincount(owner[kept], minlength=len(index)) == 0)
    if len(without):
        raise InputError(
            expected=f"a box for every image of '{index.split}'",
            where=located.source,
            found=f"none for {len(without):,}, first '{index.ids[without[0]]}'",
            remedy="add boxes or take these images out",
        )
    pieces = np.split(kept, np.cumsum(counts)[:-1])
    return [boxes[keep] for boxes, keep in zip(located.boxes, pieces, strict=True)]


def _image_sizes(index: ImageIndex) -> NDArray[np.int64]:
    from eval_suite.data.decoding import size_of_item

    def size(position: int) -> tuple[int, int]:
        try:
            return size_of_item(index, position)
        except Exception:  # noqa: BLE001 - named when the image is decoded
            return 0, 0

    with ThreadPoolExecutor() as pool:
        return np.array(list(pool.map(size, range(len(index)))), np.int64).reshape(-1, 2)
