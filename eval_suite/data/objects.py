"""Images with the boxes of their objects, whatever files they were read from."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError
from eval_suite.core.predictions import About
from eval_suite.data.images import ImageIndex, file_mark, spread, unlabelled

Purpose = Literal["train", "evaluate"]


class DefectsError(InputError):
    """Annotations that cannot be used; ``defects`` tells each in a line, of which the message has the first."""

    def __init__(self, defects: list[str], spec: str) -> None:
        """Name the first, and how to see the others."""
        self.defects = defects
        others = len(defects) - 1
        more = f"; {others:,} more: eval-suite data check {spec} lists them" if others else ""
        super().__init__(defects[0] + more)


@dataclass(frozen=True, eq=False)
class ObjectIndex:
    """Images of one or more splits with their objects, before anything is decoded.

    ``ids`` (n) such as ``VOC2007/000001`` are unique; ``sizes`` (n, 2) are width and height in pixels. The m objects
    lie in the order of their images: ``image`` (m,) tells of which, ``boxes`` (m, 4) are x0 y0 x1 y1, counted from
    pixel 0 with both corners inside the object (VOC's own numbers minus one; for COCO the right and lower edge minus
    one), ``labels`` (m,) count into ``classes``. ``difficult`` and ``crowd`` (m,) are objects that neither count nor
    harm; of a crowd, any part.

    ``category_ids`` are the numbers of the classes in results files, and ``image_keys`` those of the images, None
    where only their names tell. ``widths_are_edges`` says what a width is in these files: from edge to edge, as in
    COCO's, or the difference of VOC's corners. ``notes`` tells what was assumed or changed when the files were read.
    """

    name: str
    spec: str
    split: str
    classes: list[str]
    ids: list[str]
    paths: list[Path]
    sizes: NDArray[np.int64]
    image: NDArray[np.int64]
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    difficult: NDArray[np.bool_]
    crowd: NDArray[np.bool_]
    category_ids: list[int]
    image_keys: list[int | str] | None = None
    widths_are_edges: bool = False
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of images."""
        return len(self.ids)

    @property
    def names(self) -> list[str]:
        """The images' names within their folder, such as ``000001``."""
        return [item.rpartition("/")[2] for item in self.ids]

    @property
    def uncounted(self) -> NDArray[np.bool_]:
        """The objects (m,) that need not be found."""
        return self.difficult | self.crowd

    def subset(self, limit: int | None) -> "ObjectIndex":
        """The index of ``limit`` images spread evenly; all of them for None or a larger limit."""
        if limit is None or limit >= len(self):
            return self
        return self.select(spread(len(self), limit))

    def select(self, positions: NDArray[np.integer]) -> "ObjectIndex":
        """The index of the images at some positions, each at most once, in their order here."""
        chosen = np.sort(positions)
        place = np.full(len(self), -1, np.int64)
        place[chosen] = np.arange(len(chosen))
        kept = replace(self, image=place[self.image]).with_objects(place[self.image] >= 0)
        return replace(
            kept,
            ids=[self.ids[i] for i in chosen],
            paths=[self.paths[i] for i in chosen],
            sizes=self.sizes[chosen],
            image_keys=None if self.image_keys is None else [self.image_keys[i] for i in chosen],
        )

    def with_objects(self, kept: NDArray[np.bool_]) -> "ObjectIndex":
        """The same images with some of the objects (m,)."""
        return replace(
            self,
            image=self.image[kept],
            boxes=self.boxes[kept],
            labels=self.labels[kept],
            difficult=self.difficult[kept],
            crowd=self.crowd[kept],
        )

    def images(self) -> ImageIndex:
        """The images alone, as the readers of pictures take them; their labels say nothing."""
        return unlabelled(self.name, self.spec, self.split, self.ids, self.paths)

    def about(self, evaluated: "ObjectIndex", failed: list[str]) -> About:
        """What predictions say of this split when ``evaluated``, all of it or a subset, was predicted on."""
        return About(self.name, self.split, len(self), evaluated.sha256(), list(failed), list(self.notes))

    def sha256(self) -> str:
        """Hash of classes, images, their sizes in pixels, files as `file_mark` has them, and objects."""
        digest = hashlib.sha256()
        for words in (self.classes, self.ids):
            digest.update("\0".join(words).encode("utf-8", "surrogateescape") + b"\1")
        weights = np.array([file_mark(str(path)) for path in self.paths], "<i8")
        for array, kind in ((self.sizes, "<i8"), (weights, "<i8"), (self.image, "<i8"), (self.labels, "<i8")):
            digest.update(array.astype(kind).tobytes())
        digest.update(self.boxes.astype("<f4").tobytes() + self.difficult.tobytes())
        if self.crowd.any():
            digest.update(self.crowd.tobytes())
        return digest.hexdigest()


def counted(happened: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """What happened to items, as pairs of a sentence and the item, in one line for each sentence: how often, and first where."""
    pairs = list(happened)
    first: dict[str, str] = {}
    for sentence, item in pairs:
        first.setdefault(sentence, item)
    counts = Counter(sentence for sentence, _ in pairs)
    return tuple(f"{counts[sentence]:,} {sentence}, first: {item}" for sentence, item in first.items())
