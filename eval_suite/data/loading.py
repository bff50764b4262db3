"""Batches of images on the device, for evaluation and for training.

A set of small images is decoded once and kept in memory, on the GPU where there is one; any other is decoded by
worker processes that hand over uint8 pixels of the final size. Colour work and flips happen batched on the device.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from eval_suite.core.errors import unknown_name
from eval_suite.core.runtime import OFF, Reader, derive_seed
from eval_suite.data.augment import Augmentation, random_resized_crop_box, to_unit_range
from eval_suite.data.cache import PixelCache, pixel_cache
from eval_suite.data.decoding import first_size, jpeg_pixels, pixel_array, to_rgb
from eval_suite.data.images import ImageIndex
from eval_suite.data.policies import Policy
from eval_suite.data.reading import Geometry, ImageSource, WrongSizeError, wrong_size

# Purposes of `derive_seed`, apart from those of other modules that draw by seed, epoch and step.
_ORDER, _DECISIONS, _GEOMETRY, _POLICY, _WAY = 0xDA7A01, 0xDA7A02, 0xDA7A03, 0xDA7A04, 0xDA7A05

INTERPOLATIONS: dict[str, Image.Resampling] = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


RANDOM = "random"  # of `TrainingBatches` alone: bilinear or bicubic, drawn for each image
_KNOWN = ("bilinear", "bicubic")  # interpolations of which `resampling` makes Pillow's pixels


Prepare = Callable[[Image.Image, str], Image.Image]
"""Makes of an image, not yet decoded, and its id the image to evaluate on."""


class Placement(NamedTuple):
    """An image resized to (height, width), of which the part from ``corner``, (top, left), on is kept."""

    resized: tuple[int, int]
    corner: tuple[int, int]


class EvaluationTransform(NamedTuple):
    """How an image is brought to (height, width) for evaluation.

    An image that has the size is left untouched. Any other is resized, with antialiasing, until the centre
    crop of ``size`` takes ``crop_fraction`` of it, as torchvision's Resize and CenterCrop do. With ``stretch`` every
    image is resized to ``size / crop_fraction`` whatever the ratio of its sides, and the centre cropped.
    """

    size: tuple[int, int]
    crop_fraction: float = 0.875
    interpolation: str = "bilinear"
    stretch: bool = False

    def apply(self, image: Image.Image) -> Image.Image:
        """The RGB image of the wanted size."""
        height, width = self.size
        image = to_rgb(image)
        placed = self.placement(image.size)
        if placed is None:
            return image
        (tall, wide), (top, left) = placed
        if (wide, tall) != image.size:
            image = image.resize((wide, tall), INTERPOLATIONS[self.interpolation])
        return image.crop((left, top, left + width, top + height))

    def pixels(self, image: Image.Image, reader: Reader = "torchvision") -> NDArray[np.uint8]:
        """What `apply` makes of an image that is not yet decoded, as (3, height, width); the readers agree to the last bit."""
        known = reader == "torchvision" and self.interpolation in _KNOWN
        decoded = jpeg_pixels(image) if known else None
        if decoded is None:
            return pixel_array(self.apply(image))
        placed = self.placement(image.size)
        if placed is None:
            return decoded.transpose(2, 0, 1)
        return _like_pillow(
            lambda: pixel_array(self.apply(Image.fromarray(decoded))),
            *(decoded, *placed, self.size, self.interpolation),
        )

    def placement(self, found: tuple[int, int]) -> Placement | None:
        """How an image of (width, height) is resized and cropped; None where it is left untouched."""
        height, width = self.size
        if found == (width, height) and not (self.stretch and self.crop_fraction < 1):
            return None
        tall, wide = round(height / self.crop_fraction), round(width / self.crop_fraction)
        if not self.stretch and tall * found[0] >= wide * found[1]:
            wide = max(wide, int(tall * found[0] / found[1]))
        elif not self.stretch:
            tall = max(tall, int(wide * found[1] / found[0]))
        return Placement((tall, wide), (round((tall - height) / 2), round((wide - width) / 2)))


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
        fit = _Fit(transform, reader)
        resize = fit if repeatedly else None
        keep = prepare is None and (repeatedly or not (transform.stretch and transform.crop_fraction < 1))
        kept = None if prepare else partial(_kept_pixels, index, transform, reader, cache)
        self._source = ImageSource(
            index, transform.size, device, workers, strict, keep=keep, resize=resize, cache=kept
        )
        self._geometry: Geometry = fit if prepare is None else _Prepared(transform, prepare, index.ids)
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
        return sized if self._policy is None else _Augmented(sized, self._policy, self._seed, epoch)

    def _to_size(self, epoch: int) -> Geometry:
        if self._interpolation != RANDOM:
            return self._resizing(epoch, self._interpolation)
        return _OneOf(tuple(self._resizing(epoch, name) for name in _KNOWN), self._seed, epoch)

    def _resizing(self, epoch: int, interpolation: str) -> Geometry:
        if self._augmentation.geometry == "resized_crop":
            return _ResizedCrop(self._size, self._seed, epoch, interpolation, self._reader)
        if self._augmentation.geometry == "exact":
            return _Exact(self._size)
        return self._fit(interpolation)

    def _fit(self, interpolation: str) -> "_Fit":
        stretch = self._augmentation.geometry == "stretch"
        return _Fit(EvaluationTransform(self._size, 1.0, interpolation, stretch), self._reader)


def _kept_pixels(
    index: ImageIndex, transform: EvaluationTransform, reader: Reader, cache: str
) -> PixelCache | None:
    return pixel_cache(cache, index, transform.size, {**transform._asdict(), "reader": reader})


def _like_pillow(*geometry: Any) -> NDArray[np.uint8]:
    from eval_suite.data.resampling import like_pillow  # numba takes half a second to import

    return like_pillow(*geometry)


@dataclass(frozen=True)
class _Fit:
    transform: EvaluationTransform
    reader: Reader = "torchvision"

    def __call__(self, image: Image.Image, position: int) -> NDArray[np.uint8]:
        return self.transform.pixels(image, self.reader)


@dataclass(frozen=True)
class _Prepared:
    transform: EvaluationTransform
    prepare: Prepare
    ids: list[str]

    def __call__(self, image: Image.Image, position: int) -> Image.Image:
        return self.transform.apply(self.prepare(image, self.ids[position]))


@dataclass(frozen=True)
class _Exact:
    size: tuple[int, int]

    def __call__(self, image: Image.Image, position: int) -> Image.Image:
        if image.size != self.size[::-1]:
            raise WrongSizeError((image.height, image.width))
        return to_rgb(image)


@dataclass(frozen=True)
class _ResizedCrop:
    size: tuple[int, int]
    seed: int
    epoch: int
    interpolation: str
    reader: Reader = "torchvision"

    def __post_init__(self) -> None:
        """Import here what each worker process would import for itself, in every epoch."""
        if self.reader == "torchvision" and self.interpolation in _KNOWN:
            import eval_suite.data.resampling  # noqa: F401

    def __call__(self, image: Image.Image, position: int) -> NDArray[np.uint8]:
        generator = torch.Generator().manual_seed(derive_seed(self.seed, self.epoch, position, _GEOMETRY))
        full = image.size
        box = random_resized_crop_box((image.height, image.width), generator)
        height, width = self.size
        # A JPEG may be decoded at 1/2, 1/4 or 1/8 where the crop stays at least twice as large as wanted.
        shrink = min(box.height // (2 * height), box.width // (2 * width))
        if shrink >= 2:
            image.draft("RGB", (full[0] // shrink, full[1] // shrink))
        known = shrink < 2 and self.reader == "torchvision" and self.interpolation in _KNOWN
        decoded = jpeg_pixels(image) if known else None
        if decoded is not None:
            part = decoded[box.top : box.top + box.height, box.left : box.left + box.width]
            return _like_pillow(
                lambda: pixel_array(self._resized(Image.fromarray(np.ascontiguousarray(part)))),
                *(part, self.size, (0, 0), self.size, self.interpolation),
            )
        x, y = image.width / full[0], image.height / full[1]
        left, top = round(box.left * x), round(box.top * y)
        right, bottom = round((box.left + box.width) * x), round((box.top + box.height) * y)
        return pixel_array(self._resized(to_rgb(image).crop((left, top, right, bottom))))

    def _resized(self, part: Image.Image) -> Image.Image:
        return part.resize(self.size[::-1], INTERPOLATIONS[self.interpolation])


@dataclass(frozen=True)
class _OneOf:
    """One of several ways to resize for each image, all equally likely."""

    ways: tuple[Geometry, ...]
    seed: int
    epoch: int

    def __call__(self, image: Image.Image, position: int) -> Image.Image | NDArray[np.uint8]:
        drawn = derive_seed(self.seed, self.epoch, position, _WAY)
        return self.ways[drawn % len(self.ways)](image, position)


@dataclass(frozen=True)
class _Augmented:
    sized: Geometry
    policy: Policy
    seed: int
    epoch: int

    def __call__(self, image: Image.Image, position: int) -> Image.Image:
        seed = derive_seed(self.seed, self.epoch, position, _POLICY)
        made = self.sized(image, position)
        sized = made if isinstance(made, Image.Image) else Image.fromarray(made.transpose(1, 2, 0).copy())
        return self.policy(sized, seed)
