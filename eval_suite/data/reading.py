"""An image set as a source of uint8 pixels: from memory where it fits, else through worker processes."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from eval_suite.core.errors import InputError
from eval_suite.data.cache import PixelCache
from eval_suite.data.decoding import (
    DecodedSet,
    Resize,
    decode_set,
    fits_in_memory,
    open_item,
    pixel_array,
    why_unreadable,
)
from eval_suite.data.images import ImageIndex
from eval_suite.data.policies import PolicyError
from eval_suite.data.workers import WorkerLoader

log = logging.getLogger(__name__)


class Geometry(Protocol):
    """Brings an image, not yet decoded, to RGB of the wanted size, as an image or as pixels (3, H, W).

    ``position`` is its place in the index, plus n for each copy before.
    """

    def __call__(self, image: Image.Image, position: int) -> Image.Image | NDArray[np.uint8]:  # noqa: D102
        ...


class WrongSizeError(Exception):
    """A geometry met an image of another size than it needs."""

    def __init__(self, found: tuple[int, int]) -> None:
        """Keep the (height, width) that was found."""
        super().__init__(found)
        self.found = found


class Part(NamedTuple):
    """One batch of B positions, read.

    ``readable`` is (B,) bool, or None when all are; ``kept`` (K,) are the readable positions, both on the CPU.
    ``pixels`` is (K, 3, H, W) uint8 on the device.
    """

    readable: Tensor | None
    kept: Tensor
    pixels: Tensor


class ImageSource:
    """An image set from which batches of positions are read, from memory or through workers.

    With ``keep`` the decoded images stay in memory if they are small enough and all have ``size`` (height, width), or are brought
    to it by ``resize``, once.
    ``failed`` names the unreadable images met so far, each once. What a ``cache`` holds is read from there; the other images
    are put into it.

    Raises:
        InputError: if the set is empty, or if an image cannot be read and ``strict`` is set.
    """

    def __init__(
        self,
        index: ImageIndex,
        size: tuple[int, int],
        device: torch.device,
        workers: int,
        strict: bool,
        *,
        keep: bool,
        resize: Resize | None = None,
        cache: Callable[[], PixelCache | None] | None = None,
    ) -> None:
        """Decode the set if it is to be kept in memory."""
        if not len(index):
            raise InputError(expected=f"images in split '{index.split}' of {index.spec}", found="none")
        self.index, self._size, self._device = index, size, device
        self._workers, self._strict = workers, strict
        self.failed: list[str] = []
        self._first = ""
        self._announced = False
        self._labels = torch.from_numpy(index.labels.astype(np.int64)).to(device)
        keep = keep and fits_in_memory(index, size, resized=resize is not None)
        decoded = decode_set(index, size, resize) if keep else None
        self._pixels: Tensor | None = None
        self._readable: Tensor | None = None
        if decoded is not None:
            self._pixels, self._readable = self._store(decoded)
        self.in_memory = decoded is not None
        # Opened last: finding the images in it looks at every file.
        self._cache = None if self.in_memory or cache is None else cache()

    def labels_of(self, positions: Tensor) -> Tensor:
        """Labels (K,) on the device for positions (K,) on the CPU."""
        return self._labels[positions.to(self._device)]

    def read(self, batches: list[Tensor], geometry: Geometry) -> Iterator[Part]:
        """Read batches of positions in order; ``geometry`` applies to images that are not in memory.

        With n images, position p + k n is copy k of image p: the geometry receives it, so that copies may differ; what is
        returned is the image.
        """
        if self._pixels is not None:
            yield from map(self._from_memory, batches)
            return
        cache, positions = self._cache, torch.cat(batches).numpy() if batches else np.zeros(0, np.int64)
        if cache is not None and cache.holds(positions):
            yield from map(self._from_cache, batches)
            return
        loader = WorkerLoader(
            _Decoder(self.index, self._size, geometry, cache),
            workers=min(self._workers, len(batches)),
            sampler=[batch.tolist() for batch in batches],
            batch_size=None,
            pin_memory=self._device.type == "cuda",
        )
        with nullcontext() if cache is None else cache.filling(positions) as filler:
            for batch, read in zip(batches, loader, strict=True):
                if cache is not None and filler is not None:
                    filler.add(cache.keys(read.new), read.pixels.numpy()[read.rows])
                yield self._from_worker(batch, read)
        self._announce()

    def nothing_readable(self, where: str = "") -> InputError:
        """The error for a part of the set, or all of it, without any readable image."""
        name = where or f"split '{self.index.split}'"
        return InputError(
            f"no image in {name} of {self.index.spec} can be read, first: {self._first}; replace the files"
        )

    def _store(self, decoded: DecodedSet) -> tuple[Tensor, Tensor | None]:
        self._note(decoded.unreadable)
        self._announce()
        if len(self.failed) == len(self.index):
            raise self.nothing_readable()
        pixels = torch.from_numpy(decoded.pixels).to(self._device)
        if not decoded.unreadable:
            return pixels, None
        readable = torch.ones(len(self.index), dtype=torch.bool)
        readable[list(decoded.unreadable)] = False
        return pixels, readable

    def _from_memory(self, batch: Tensor) -> Part:
        assert self._pixels is not None
        batch = batch % len(self.index)
        if self._readable is None:
            return Part(None, batch, self._pixels.index_select(0, batch.to(self._device)))
        readable = self._readable[batch]
        kept = batch[readable]
        return Part(readable, kept, self._pixels.index_select(0, kept.to(self._device)))

    def _from_cache(self, batch: Tensor) -> Part:
        assert self._cache is not None
        pixels = torch.from_numpy(self._cache.pixels(batch.numpy()))
        pixels = pixels.pin_memory() if self._device.type == "cuda" else pixels
        return Part(None, batch, pixels.to(self._device, non_blocking=True))

    def _from_worker(self, batch: Tensor, decoded: "_Decoded") -> Part:
        if decoded.wrong_size is not None:
            position, found = decoded.wrong_size
            raise wrong_size(self._size, found, self.index.ids[position % len(self.index)])
        self._note(decoded.unreadable)
        pixels = decoded.pixels.to(self._device, non_blocking=True)
        images = batch % len(self.index)
        if not decoded.unreadable:
            return Part(None, images, pixels)
        readable = torch.tensor([position not in decoded.unreadable for position in batch.tolist()])
        return Part(readable, images[readable], pixels)

    def _note(self, unreadable: Mapping[int, str]) -> None:
        for position, reason in unreadable.items():
            name = self.index.ids[position % len(self.index)]
            if self._strict:
                raise InputError(
                    f"cannot read {name} of {self.index.spec}: {reason}; replace it or drop --strict"
                )
            if not self.failed:
                self._first = f"{name} ({reason})"
            if name not in self.failed:
                self.failed.append(name)

    def _announce(self) -> None:
        if self.failed and not self._announced:
            self._announced = True
            log.warning(
                f"{len(self.failed):,} of {len(self.index):,} images cannot be read, first: {self._first}"
            )


def wrong_size(wanted: tuple[int, int], found: tuple[int, int] | None, where: str) -> InputError:
    """The error for images that have not the (height, width) that an augmentation needs."""
    height, width = found or (0, 0)
    return InputError(
        f"this augmentation expects images of {wanted[1]} x {wanted[0]} pixels, found {width} x {height} in {where}; "
        "choose that input size, or an augmentation that resizes, such as 'imagenet'"
    )


class _Decoded(NamedTuple):
    """A batch, read: ``new`` are the positions that were decoded and not in the cache, at ``rows`` of ``pixels``."""

    pixels: Tensor
    unreadable: dict[int, str]
    wrong_size: tuple[int, tuple[int, int]] | None
    new: list[int]
    rows: list[int]


class _Decoder(Dataset[Any]):
    """Runs in a worker process: a batch of positions to uint8 pixels."""

    def __init__(
        self, index: ImageIndex, size: tuple[int, int], geometry: Geometry, cache: PixelCache | None
    ) -> None:
        self._index, self._size, self._geometry, self._cache = index, size, geometry, cache

    def __getitem__(self, positions: list[int]) -> _Decoded:
        pixels = np.empty((len(positions), 3, *self._size), dtype=np.uint8)
        unreadable: dict[int, str] = {}
        new: list[int] = []
        rows: list[int] = []
        row = 0
        for position in positions:
            kept = None if self._cache is None else self._cache.one(position)
            try:
                made = self._decoded(position) if kept is None else kept
                pixels[row] = made if isinstance(made, np.ndarray) else pixel_array(made)
            except WrongSizeError as error:
                return _Decoded(torch.empty(0), unreadable, (position, error.found), [], [])
            except PolicyError:
                raise
            except Exception as error:  # noqa: BLE001 - a broken file can make a decoder raise almost anything
                unreadable[position] = why_unreadable(error)
                continue
            if kept is None:
                new.append(position)
                rows.append(row)
            row += 1
        return _Decoded(torch.from_numpy(pixels[:row]), unreadable, None, new, rows)

    def _decoded(self, position: int) -> Image.Image | NDArray[np.uint8]:
        return self._geometry(open_item(self._index, position % len(self._index)), position)
