"""Regularizers that mix pairs of images and their labels: CutMix and Mixup."""

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from eval_suite.core.papers import CUTMIX
from eval_suite.core.records import Paper
from eval_suite.training.regularizers.base import Context, Mixed, beta, integers, permutation, uniform

if TYPE_CHECKING:
    from torch import Tensor

_STRICT = ConfigDict(extra="forbid")
Alpha = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1)]


class Box(NamedTuple):
    """A pixel box; the corners (x1, y1) are exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def area(self) -> int:
        """Pixels inside."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)


def cutmix_box(height: int, width: int, lam: float, centre_x: int, centre_y: int) -> Box:
    """The box to paste, cut to sqrt(1 - lam) of each side around a centre and clipped at the borders.

    Args:
        height: image height in pixels.
        width: image width in pixels.
        lam: share of the image to keep, in [0, 1].
        centre_x: centre column in [0, width).
        centre_y: centre row in [0, height).

    Reference: Yun et al., ICCV 2019, eq. 2, with the integer arithmetic of the authors' code: the side is
    truncated and halved in whole pixels, so that odd sides lose one.
    """
    ratio = math.sqrt(1.0 - lam)
    half_width, half_height = int(width * ratio) // 2, int(height * ratio) // 2
    return Box(
        max(centre_x - half_width, 0),
        max(centre_y - half_height, 0),
        min(centre_x + half_width, width),
        min(centre_y + half_height, height),
    )


@dataclass(frozen=True, config=_STRICT)
class CutMix:
    """Paste a box of one image into another and mix the labels by area.

    One lambda, one box and one permutation for the whole batch; the labels are mixed by the exact share of pixels
    after clipping.

    Attributes:
        alpha: lambda ~ Beta(alpha, alpha).
        prob: probability that a batch is mixed (the authors use 0.5 on CIFAR and 1.0 on ImageNet).
        correct_lam: mix the labels by the pasted area rather than by the lambda drawn.
    """

    alpha: Alpha = 1.0
    prob: Probability = 1.0
    correct_lam: bool = True

    name: ClassVar[str] = "cutmix"
    stage: ClassVar[Literal["erase", "mix"]] = "mix"
    paper: ClassVar[Paper] = CUTMIX

    def apply(self, images: "Tensor", targets: "Tensor", context: Context) -> Mixed:
        """Mix a batch (N, 3, H, W) with itself in another order; the images are overwritten."""
        if uniform(context.generator) >= self.prob:
            return Mixed(images, targets)
        lam = beta(self.alpha, context.generator)
        order = permutation(len(images), context.generator).to(images.device, non_blocking=True)
        height, width = images.shape[-2:]
        centre_x = int(integers(width, 1, context.generator))
        centre_y = int(integers(height, 1, context.generator))
        box = cutmix_box(height, width, lam, centre_x, centre_y)
        inside = (..., slice(box.y0, box.y1), slice(box.x0, box.x1))
        images[inside] = images[inside][order]
        if self.correct_lam:
            lam = 1.0 - box.area / (height * width)
        return Mixed(images, _mix_targets(targets, order, lam))


@dataclass(frozen=True, config=_STRICT)
class Mixup:
    """Blend two images and their labels linearly, with one lambda and one permutation for the whole batch.

    Attributes:
        alpha: lambda ~ Beta(alpha, alpha).
        prob: probability that a batch is mixed.
    """

    alpha: Alpha = 1.0
    prob: Probability = 1.0

    name: ClassVar[str] = "mixup"
    stage: ClassVar[Literal["erase", "mix"]] = "mix"
    paper: ClassVar[Paper] = Paper(
        title="mixup: Beyond Empirical Risk Minimization",
        venue="ICLR",
        year=2018,
        url="https://arxiv.org/abs/1710.09412",
        code="https://github.com/facebookresearch/mixup-cifar10",
    )

    def apply(self, images: "Tensor", targets: "Tensor", context: Context) -> Mixed:
        """Blend a batch (N, 3, H, W) with itself in another order."""
        if uniform(context.generator) >= self.prob:
            return Mixed(images, targets)
        lam = beta(self.alpha, context.generator)
        order = permutation(len(images), context.generator).to(images.device, non_blocking=True)
        return Mixed(images[order].lerp_(images, lam), _mix_targets(targets, order, lam))


def _mix_targets(targets: "Tensor", order: "Tensor", lam: float) -> "Tensor":
    return targets * lam + targets[order] * (1.0 - lam)
