"""Augmentation by operations chosen at random for each image: AutoAugment, RandAugment, TrivialAugment.

The operations are torchvision's and timm's, which draw from the global generators; each image is worked on under a seed
of its own, and the generators are as before afterwards. No library of them is imported before an image is augmented.
"""

import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import numpy as np
from PIL import Image, ImageOps

from eval_suite.core.errors import EvalSuiteError, first_line

NAMED = ("auto-augment", "auto-augment-cifar", "auto-augment-svhn", "rand-augment", "trivial-augment")
_SPECIFICATION = re.compile(r"rand(-((m|mmax)\d+|n[1-9]|inc[01]|(mstd|p)\d+(\.\d+)?))+")
_LARGEST_MAGNITUDE = 10  # timm's, where a specification has no mmax
_IMAGENET_MEAN = (124, 116, 104)  # fills what rotations and shifts leave empty, as in timm


class PolicyError(EvalSuiteError):
    """An operation failed on a sound image."""


@dataclass(frozen=True)
class Policy:
    """Augments RGB images by chosen operations.

    Args:
        name: one of `NAMED`, torchvision's with their defaults but bilinear interpolation; or timm's specification of
            RandAugment, such as ``rand-m9-mstd0.5-inc1`` (magnitude 9 of 10 with normal noise, operations that grow with it).
        size: (height, width) of the images.

    Raises:
        ValueError: if the name is neither.

    References: Cubuk et al., CVPR 2019 (AutoAugment) and NeurIPS 2020 (RandAugment); Müller and Hutter, ICCV 2021 (TrivialAugment).
    """

    name: str
    size: tuple[int, int]

    def __post_init__(self) -> None:
        """Check the name."""
        require_policy(self.name)

    def __call__(self, image: Image.Image, seed: int) -> Image.Image:
        """The augmented image of the same size; the seed decides all that is drawn.

        Raises:
            PolicyError: if an operation fails on what is a sound image.
        """
        with _seeded(seed):
            try:
                return _operations(self.name, self.size)(image)
            except Exception as error:
                # Else it would be taken for a fault of the image, which would be left out.
                raise PolicyError(f"the policy {self.name} failed: {first_line(error)}") from error


def require_policy(name: str) -> None:
    """Check a policy's name.

    Raises:
        ValueError: if it is none.
    """
    if name in NAMED:
        return
    if not _SPECIFICATION.fullmatch(name):
        raise ValueError(
            f"expected one of {', '.join(NAMED)}, or timm's form such as rand-m9-mstd0.5-inc1, found {name!r}"
        )
    numbers = {key: int(value) for key, value in re.findall(r"-(m|mmax)(\d+)", name)}
    largest = numbers.get("mmax", _LARGEST_MAGNITUDE)
    if numbers.get("m", 0) > largest:
        raise ValueError(f"expected a magnitude up to {largest}, found m{numbers['m']} in {name!r}")


@cache
def _operations(name: str, size: tuple[int, int]) -> Callable[[Image.Image], Image.Image]:
    if name not in NAMED:
        from timm.data.auto_augment import posterize, rand_augment_transform

        # timm's own settings: shifts by up to 45 % of the shorter side.
        settings: dict[str, Any] = {
            "translate_const": int(min(size) * 0.45),
            "img_mean": _IMAGENET_MEAN,
            "interpolation": Image.Resampling.BICUBIC,
        }
        made = rand_augment_transform(name, settings)
        for operation in made.ops:
            if operation.aug_fn is posterize:
                operation.aug_fn = _posterize
        return cast("Callable[[Image.Image], Image.Image]", made)
    from torchvision.transforms import v2

    bilinear = v2.InterpolationMode.BILINEAR
    if name == "rand-augment":
        return v2.RandAugment(interpolation=bilinear)
    if name == "trivial-augment":
        return v2.TrivialAugmentWide(interpolation=bilinear)
    data_set = name.removeprefix("auto-augment").removeprefix("-") or "imagenet"
    policy = {
        "imagenet": v2.AutoAugmentPolicy.IMAGENET,
        "cifar": v2.AutoAugmentPolicy.CIFAR10,
        "svhn": v2.AutoAugmentPolicy.SVHN,
    }[data_set]
    return v2.AutoAugment(policy, interpolation=bilinear)


def _posterize(image: Image.Image, bits: int, **_: Any) -> Image.Image:
    """Keep the highest bits, none of them too: timm's strongest level, which newer versions of Pillow refuse."""
    if bits >= 8:
        return image
    return ImageOps.posterize(image, bits) if bits > 0 else Image.new("RGB", image.size)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    import torch

    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        # Of the CPU alone: `torch.manual_seed` would reach the GPU's generators, which are not forked.
        torch.default_generator.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
