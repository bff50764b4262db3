"""Images with boxes as MMDetection's models take them, each random draw decided by where it is made."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from eval_suite.core.errors import InputError
from eval_suite.core.runtime import derive_seed
from eval_suite.data.corners import Boxes
from eval_suite.data.decoding import open_item, to_rgb, why_unreadable
from eval_suite.data.objects import ObjectIndex
from eval_suite.data.workers import WorkerLoader

_ORDER, _DRAW = 0xDE7E01, 0xDE7E02


def without_difficult(index: ObjectIndex) -> ObjectIndex:
    """What detectors learn from: objects that are not difficult and have an area, in images that show one.

    Raises:
        InputError: if there is none.
    """
    edges = Boxes(index.boxes, inclusive=True).as_edges()
    easy = index.with_objects(~index.uncounted & (edges[:, 2:] > edges[:, :2]).all(axis=1))
    shown = np.unique(easy.image)
    if not len(shown):
        raise InputError(expected=f"objects to learn from in {index.split} of {index.spec}", found="none")
    return easy.select(shown)


class BoxData(Dataset[Any]):
    """Items of an index through a pipeline; an unreadable image gives the reason as a text.

    With a ``seed``, an item's number counts draws without end: every pass over the images has an order of its own, and
    the transforms draw from generators seeded by the number, whichever process or run they work in.
    """

    def __init__(self, index: ObjectIndex, transforms: list[dict[str, Any]], seed: int | None = None) -> None:
        from mmengine.dataset import Compose
        from mmengine.registry import TRANSFORMS  # noqa: F401 - names are looked up there

        self.index = index
        self.metainfo = {"classes": tuple(index.classes)}
        self._seed = seed
        self._images = index.images()
        self._transforms = Compose(transforms)
        self._rows = np.searchsorted(index.image, np.arange(len(index) + 1))

    def __len__(self) -> int:
        """Number of images."""
        return len(self.index)

    def __getitem__(self, number: int) -> Any:
        """The item, as ``PackDetInputs`` leaves it."""
        if self._seed is None:
            return self._item(number)
        turn, place = divmod(number, len(self.index))
        order = np.random.default_rng(derive_seed(self._seed, turn, _ORDER)).permutation(len(self.index))
        numpy_state, python_state = np.random.get_state(), random.getstate()
        key = derive_seed(self._seed, number, _DRAW)
        np.random.seed(key & 0xFFFFFFFF)
        random.seed(key)
        try:
            return self._item(int(order[place]))
        finally:
            np.random.set_state(numpy_state)
            random.setstate(python_state)

    def _item(self, position: int) -> Any:
        try:
            rgb = np.asarray(to_rgb(open_item(self._images, position)))
        except Exception as error:  # noqa: BLE001 - a broken file can make a decoder raise almost anything
            if self._seed is None:
                return position, why_unreadable(error)
            name = self.index.ids[position]
            raise InputError(
                f"cannot train on {name} of {self.index.spec}: {why_unreadable(error)}; replace the image or remove it "
                "from the split"
            ) from None
        rows = slice(self._rows[position], self._rows[position + 1])
        height, width = rgb.shape[:2]
        return self._transforms(
            {
                "img": np.ascontiguousarray(rgb[..., ::-1]),
                "img_id": position,
                "img_path": str(self.index.paths[position]),
                "img_shape": (height, width),
                "ori_shape": (height, width),
                "gt_bboxes": _boxes(self.index.boxes[rows]),
                "gt_bboxes_labels": self.index.labels[rows].copy(),
                "gt_ignore_flags": np.zeros(rows.stop - rows.start, bool),
            }
        )


class Draws(Sampler[int]):
    """The numbers of draws without end, every process of a group taking its turn."""

    def __init__(self, images: int) -> None:
        from mmengine.dist import get_dist_info

        self._images = images
        self._rank, self._world = get_dist_info()
        self._first = 0

    def __len__(self) -> int:
        """Number of images, which the Runner asks for."""
        return self._images

    def skip(self, draws: int) -> None:
        """Start after so many draws of this process: what MMEngine's loop asks for when it resumes."""
        self._first = draws

    def __iter__(self) -> Iterator[int]:
        """Count."""
        number = self._rank + self._first * self._world
        while True:
            yield number
            number += self._world


def training_loader(data: BoxData, batch_size: int, workers: int) -> DataLoader[Any]:
    """Batches without end."""
    from mmengine.dataset import pseudo_collate

    return WorkerLoader(
        data,
        workers=workers,
        collate=pseudo_collate,
        batch_size=batch_size,
        sampler=Draws(len(data)),
        persistent_workers=workers > 0,
        drop_last=True,
    )


def evaluation_batches(index: ObjectIndex, batch_size: int) -> list[list[int]]:
    """Positions in batches of images of one size, so that padding, and with it a result, depends on no other image."""
    sizes: dict[tuple[int, int], list[int]] = {}
    for position, (width, height) in enumerate(index.sizes.tolist()):
        sizes.setdefault((width, height), []).append(position)
    return [
        members[start : start + batch_size]
        for members in sizes.values()
        for start in range(0, len(members), batch_size)
    ]


def _boxes(array: np.ndarray[Any, Any]) -> Any:
    from mmdet.structures.bbox import HorizontalBoxes

    # MMDetection takes x1 - x0 for the width: with VOC's corners a box of one pixel had none, and its loss was NaN.
    return HorizontalBoxes(Boxes(array, inclusive=True).as_edges(), dtype=torch.float32)
