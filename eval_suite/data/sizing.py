"""How an image of a file becomes one of the network's size: for evaluation, and at each step of a training."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from eval_suite.core.runtime import Reader, derive_seed
from eval_suite.data.augment import random_resized_crop_box
from eval_suite.data.decoding import jpeg_pixels, pixel_array, to_rgb
from eval_suite.data.policies import Policy
from eval_suite.data.reading import Geometry, WrongSizeError

# Purposes of `derive_seed`, apart from those of other modules that draw by seed, epoch and step.
_GEOMETRY, _POLICY, _WAY = 0xDA7A03, 0xDA7A04, 0xDA7A05

INTERPOLATIONS: dict[str, Image.Resampling] = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


LIKE_PILLOW = ("bilinear", "bicubic")
"""Interpolations of which `resampling` makes Pillow's pixels."""

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
        known = reader == "torchvision" and self.interpolation in LIKE_PILLOW
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


def _like_pillow(*geometry: Any) -> NDArray[np.uint8]:
    from eval_suite.data.resampling import like_pillow  # numba takes half a second to import

    return like_pillow(*geometry)


@dataclass(frozen=True)
class Fit:
    """As `EvaluationTransform` says."""

    transform: EvaluationTransform
    reader: Reader = "torchvision"

    def __call__(self, image: Image.Image, position: int) -> NDArray[np.uint8]:
        """Pixels (3, H, W) of an image not yet decoded, whatever its position in the set."""
        return self.transform.pixels(image, self.reader)


@dataclass(frozen=True)
class Prepared:
    """The same, of what ``prepare`` makes of each image."""

    transform: EvaluationTransform
    prepare: Prepare
    ids: list[str]

    def __call__(self, image: Image.Image, position: int) -> Image.Image:
        """The RGB image of the wanted size."""
        return self.transform.apply(self.prepare(image, self.ids[position]))


@dataclass(frozen=True)
class Exact:
    """Images that have the size already; others are a `WrongSizeError`."""

    size: tuple[int, int]

    def __call__(self, image: Image.Image, position: int) -> Image.Image:
        """The RGB image of the wanted size."""
        if image.size != self.size[::-1]:
            raise WrongSizeError((image.height, image.width))
        return to_rgb(image)


@dataclass(frozen=True)
class ResizedCrop:
    """A random part of random shape (see `random_resized_crop_box`), another for each position and epoch, resized."""

    size: tuple[int, int]
    seed: int
    epoch: int
    interpolation: str
    reader: Reader = "torchvision"

    def __post_init__(self) -> None:
        """Import here what each worker process would import for itself, in every epoch."""
        if self.reader == "torchvision" and self.interpolation in LIKE_PILLOW:
            import eval_suite.data.resampling  # noqa: F401

    def __call__(self, image: Image.Image, position: int) -> NDArray[np.uint8]:
        """Pixels (3, H, W) of an image not yet decoded."""
        generator = torch.Generator().manual_seed(derive_seed(self.seed, self.epoch, position, _GEOMETRY))
        full = image.size
        box = random_resized_crop_box((image.height, image.width), generator)
        height, width = self.size
        # A JPEG may be decoded at 1/2, 1/4 or 1/8 where the crop stays at least twice as large as wanted.
        shrink = min(box.height // (2 * height), box.width // (2 * width))
        if shrink >= 2:
            image.draft("RGB", (full[0] // shrink, full[1] // shrink))
        known = shrink < 2 and self.reader == "torchvision" and self.interpolation in LIKE_PILLOW
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
class OneOf:
    """One of several ways to resize for each image, all equally likely."""

    ways: tuple[Geometry, ...]
    seed: int
    epoch: int

    def __call__(self, image: Image.Image, position: int) -> Image.Image | NDArray[np.uint8]:
        """What the way drawn for the image's position makes of it."""
        drawn = derive_seed(self.seed, self.epoch, position, _WAY)
        return self.ways[drawn % len(self.ways)](image, position)


@dataclass(frozen=True)
class Augmented:
    """An image of the wanted size, augmented by a policy; drawn anew for each position and epoch."""

    sized: Geometry
    policy: Policy
    seed: int
    epoch: int

    def __call__(self, image: Image.Image, position: int) -> Image.Image:
        """The RGB image of the wanted size."""
        seed = derive_seed(self.seed, self.epoch, position, _POLICY)
        made = self.sized(image, position)
        sized = made if isinstance(made, Image.Image) else Image.fromarray(made.transpose(1, 2, 0).copy())
        return self.policy(sized, seed)
