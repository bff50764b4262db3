"""Batches of images on the device, for evaluation and for training.

A set of small images is decoded once and kept in memory, on the GPU where there is one; any other is decoded by
worker processes that hand over uint8 pixels of the final size. Colour work and flips happen batched on the device.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from eval_suite.core.errors import unknown_name
from eval_suite.core.runtime import OFF, Reader, derive_seed
from eval_suite.data.augment import Augmentation, to_unit_range
from eval_suite.data.cache import PixelCache, pixel_cache
from eval_suite.data.decoding import first_size
from eval_suite.data.images import ImageIndex
from eval_suite.data.policies import Policy
from eval_suite.data.reading import Geometry, ImageSource, wrong_size
from eval_suite.data.sizing import (
    INTERPOLATIONS,
    LIKE_PILLOW,
    Augmented,
    EvaluationTransform,
    Exact,
    Fit,
    OneOf,
    Prepare,
    Prepared,
    ResizedCrop,
)

# Purposes of `derive_seed`, apart from those of other modules that draw by seed, epoch and step.
_ORDER, _DECISIONS = 0xDA7A01, 0xDA7A02
RANDOM = "random"
"""Of `TrainingBatches` alone: bilinear or bicubic, drawn for each image."""


class Batch(NamedTuple):
    """``images`` (B, 3, H, W) float in [0, 1] and ``labels`` (B,) on the device; ``index`` (B,) positions, on the CPU."""

    images: Tensor
    labels: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which a batch has no use for


class Share(NamedTuple):
    """Every ``of``-th batch, from number ``first`` on."""

    first: int
    of: int


class ImageBatches:
    """Every image of a set once, in order; unreadable ones are left out and named in ``failed``.

    ``prepare`` makes another image of each before it is resized; such images do not enter the ``cache``, which is ``off``,
    ``on`` or a folder (see `pixel_cache`). A ``share`` of the batches leaves out the others. ``failed`` is complete after a pass. ``in_memory``
    tells whether the images are kept decoded, which is so without ``prepare`` when the wanted size is at most 96 pixels a side and
    4 GiB together, and all images have it, or the set is to be read ``repeatedly``.

    Raises:
        InputError: if an image cannot be read and ``strict`` is set, or if none can.
    """

    def __init__(
        self,
        index: ImageIndex,
        transform: EvaluationTransform,
        *,
        batch_size: int,
        device: torch.device,
        workers: int = 2,
        strict: bool = False,
        prepare: Prepare | None = None,
        reader: Reader = "torchvision",
        cache: str = OFF,
        share: Share = Share(0, 1),  # noqa: B008 - a tuple
        repeatedly: bool = False,
    ) -> None:
        """Decode the set if it fits in memory."""
        if transform.interpolation not in INTERPOLATIONS:
            raise unknown_name("interpolation", transform.interpolation, INTERPOLATIONS)
        if not 0 < transform.crop_fraction <= 1 or min(transform.size) < 1 or batch_size < 1:
            raise ValueError(f"crop_fraction in (0, 1] and sizes from 1 expected: {transform}, {batch_size=}")
        fit = Fit(transform, reader)
        resize = fit if repeatedly else None
        keep = prepare is None and (repeatedly or not (transform.stretch and transform.crop_fraction < 1))
        kept = None if prepare else partial(_kept_pixels, index, transform, reader, cache)
        self._source = ImageSource(
            index, transform.size, device, workers, strict, keep=keep, resize=resize, cache=kept
        )
        self._geometry: Geometry = fit if prepare is None else Prepared(transform, prepare, index.ids)
        whole = torch.arange(len(index)).split(batch_size)
        self._batches = list(whole[share.first :: share.of])
        self._shared = share.of > 1
        self.failed = self._source.failed
        self.in_memory = self._source.in_memory

    def __len__(self) -> int:
        """Number of batches; an upper bound where images cannot be read."""
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        """One pass over the set, or over its share; that another process has a readable image only all together know."""
        yield from self.at(self._batches)
        if len(self.failed) == len(self._source.index) and not self._shared:
            raise self._source.nothing_readable()

    def at(self, positions: Iterable[Tensor]) -> Iterator[Batch]:
        """Batches of given positions (B,), in any order and also repeatedly; unreadable ones are left out."""
        for _, kept, pixels in self._source.read(list(positions), self._geometry):
            if len(kept):
                yield Batch(to_unit_range(pixels), self._source.labels_of(kept), kept)


class TrainingBatches:
    """Shuffled, augmented batches; what a step sees depends on (seed, epoch, step) only.

    ``batch_size`` is the global batch: each of ``world`` ranks takes its contiguous part. The last, smaller batch
    of an epoch is dropped unless it is the only one. Unreadable images are left out and named in ``failed``.

    With ``repeats`` every image comes so many times in a row, each time augmented anew, and an epoch of as many images as
    before ends after a share of the set (Hoffer et al., "Augment your batch", CVPR 2020; as DeiT's sampler without its rounding).
    A ``policy`` augments images once they have their size, before crops of padded images and flips. ``interpolation`` is that of
    resizing; `RANDOM` draws bilinear or bicubic for each image, as timm does by default.

    Raises:
        InputError: if an image cannot be read and ``strict`` is set, if no image of a step can, or if the
            augmentation needs images of the wanted size and they have another, or the policy is unknown.
    """

    def __init__(
        self,
        index: ImageIndex,
        augmentation: Augmentation,
        *,
        size: tuple[int, int],
        batch_size: int,
        seed: int,
        device: torch.device,
        workers: int = 2,
        strict: bool = False,
        rank: int = 0,
        world: int = 1,
        policy: str | None = None,
        repeats: int = 1,
        interpolation: str = "bilinear",
        reader: Reader = "torchvision",
    ) -> None:
        """Decode the set if it fits in memory and the augmentation needs no decoding at each step."""
        if not 0 <= rank < world or min(batch_size, len(index)) < world:
            raise ValueError(
                f"rank in [0, world) and an image for each rank expected: {rank=} {world=} {batch_size=} n={len(index)}"
            )
        keep = augmentation.geometry != "resized_crop" and policy is None
        size = augmentation.source_size(size)
        self._augmentation, self._size = augmentation, size
        self._repeats, self._interpolation, self._reader = repeats, interpolation, reader
        # What an image becomes must be the same in every epoch.
        as_kept = augmentation.geometry == "exact" or interpolation == RANDOM
        resize = None if as_kept else self._fit(interpolation)
        self._source = ImageSource(index, size, device, workers, strict, keep=keep, resize=resize)
        # Asked before training starts, where the set is not in memory and so may have another size.
        found = size if self._source.in_memory else first_size(index)
        if augmentation.geometry == "exact" and found not in (size, None):
            raise wrong_size(size, found, index.spec)
        self._policy = None if policy is None else Policy(policy, size)
        self._seed = seed
        self._rank, self._world = rank, world
        self._batch_size = min(batch_size, len(index))
        self.steps_per_epoch = len(index) // self._batch_size
        self.failed = self._source.failed
        self.in_memory = self._source.in_memory

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from ``start_step`` on: bit for bit the tail of the full epoch."""
        generator = torch.Generator().manual_seed(derive_seed(self._seed, epoch, 0, _ORDER))
        count = len(self._source.index)
        order = torch.randperm(count, generator=generator)
        if self._repeats > 1:
            copies = torch.arange(self._repeats) * count
            order = (order[:, None] + copies).flatten()[:count]
        size = self._batch_size
        mine = slice(self._rank * size // self._world, (self._rank + 1) * size // self._world)
        steps = range(start_step, self.steps_per_epoch)
        batches = [order[step * size : (step + 1) * size][mine] for step in steps]
        for number, (readable, kept, pixels) in enumerate(self._source.read(batches, self._geometry(epoch))):
            if not len(kept):
                raise self._source.nothing_readable(f"step {steps[number]} of epoch {epoch}")
            generator.manual_seed(derive_seed(self._seed, epoch, steps[number], _DECISIONS))
            decisions = self._augmentation.draw(size, generator).select(mine)
            if readable is not None:
                decisions = decisions.select(readable)
            images = self._augmentation.apply(pixels, decisions)
            yield Batch(images, self._source.labels_of(kept), kept)

    def _geometry(self, epoch: int) -> Geometry:
        sized = self._to_size(epoch)
        return sized if self._policy is None else Augmented(sized, self._policy, self._seed, epoch)

    def _to_size(self, epoch: int) -> Geometry:
        if self._interpolation != RANDOM:
            return self._resizing(epoch, self._interpolation)
        return OneOf(tuple(self._resizing(epoch, name) for name in LIKE_PILLOW), self._seed, epoch)

    def _resizing(self, epoch: int, interpolation: str) -> Geometry:
        if self._augmentation.geometry == "resized_crop":
            return ResizedCrop(self._size, self._seed, epoch, interpolation, self._reader)
        if self._augmentation.geometry == "exact":
            return Exact(self._size)
        return self._fit(interpolation)

    def _fit(self, interpolation: str) -> Fit:
        stretch = self._augmentation.geometry == "stretch"
        return Fit(EvaluationTransform(self._size, 1.0, interpolation, stretch), self._reader)


def _kept_pixels(
    index: ImageIndex, transform: EvaluationTransform, reader: Reader, cache: str
) -> PixelCache | None:
    return pixel_cache(cache, index, transform.size, {**transform._asdict(), "reader": reader})
