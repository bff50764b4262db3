"""Regularizers that mix pairs of images and their labels: CutMix with its variants, and Mixup."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from eval_suite.core.papers import CUTMIX
from eval_suite.core.records import Paper
from eval_suite.training.regularizers.base import (
    STRICT,
    Alpha,
    Context,
    Mixed,
    Probability,
    Regularizer,
    Stage,
)
from eval_suite.training.regularizers.boxes import Box, clipped_box, cutmix_box, inside_boxes
from eval_suite.training.regularizers.draws import beta, betas, integers, permutation, uniform

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True, config=STRICT)
class CutMix(Regularizer):
    """Paste a box of one image into another and mix the labels by area.

    One lambda, one box and one permutation for the whole batch; the labels are mixed by the exact share of pixels
    after clipping. torchvision's ``v2.CutMix`` pairs each image with its neighbour instead and has no probability;
    timm's ``Mixup`` pairs the batch with its reverse.

    Attributes:
        alpha: lambda ~ Beta(alpha, alpha).
        prob: probability that a batch is mixed (the authors use 0.5 on CIFAR and 1.0 on ImageNet).
        correct_lam: mix the labels by the pasted area rather than by the lambda drawn.
        per_sample: a lambda and a box for each image instead of one for the batch.
        schedule: 'linear' lets the probability grow from 0 to ``prob`` over the training (Scheduled CutMix, Table 8).
        centre: of the box, 'uniform' over the pixels, or 'gaussian' around the image's middle (Center Gaussian CutMix).
        sigma: standard deviation of the gaussian centre as a share of the side; the paper does not print its own.
        size: side of the box in pixels whatever lambda (Fixed-size CutMix has 16); odd sides lose one.
        labels: 'mixed', 'one-hot' of the image with the larger part (One-hot CutMix), or 'complete', half and half
            (Complete-label CutMix).
    """

    alpha: Alpha = 1.0
    prob: Probability = 1.0
    correct_lam: bool = True
    per_sample: bool = False
    schedule: Literal["constant", "linear"] = "constant"
    centre: Literal["uniform", "gaussian"] = "uniform"
    sigma: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.25
    size: Annotated[int, Field(ge=2)] | None = None
    labels: Literal["mixed", "one-hot", "complete"] = "mixed"

    name: ClassVar[str] = "cutmix"
    stage: ClassVar[Stage] = "mix"
    paper: ClassVar[Paper] = CUTMIX

    def apply(self, images: "Tensor", targets: "Tensor", context: Context) -> Mixed:
        """Mix a batch (N, 3, H, W) with itself in another order; the images are overwritten."""
        share, generator = context.share, context.generator
        prob = self.prob * (context.progress if self.schedule == "linear" else 1.0)
        if uniform(generator) >= prob:
            return Mixed(images, targets)
        n, (height, width) = share.total(len(images)), images.shape[-2:]
        boxes = n if self.per_sample else 1
        lam = betas(self.alpha, boxes, generator)
        order = permutation(n, generator)
        x, y = (self._centres(side, boxes, generator).tolist() for side in (width, height))
        found = [self._box(height, width, *one) for one in zip(lam.tolist(), x, y, strict=True)]
        kept = [1.0 - box.area / (height * width) for box in found] if self.correct_lam else lam.tolist()
        weights = [self._weight(one) for one in kept]
        if self.per_sample:
            mine = share.mine(len(images))
            found, weights = found[mine], weights[mine]
            images = share.partners(images, order).where(inside_boxes(found, images), images)
        else:
            inside = (..., *found[0].inside)
            images[inside] = share.partners(images[inside], order)
        return Mixed(images, mix_targets(targets, order, weights, context))

    def _centres(self, side: int, n: int, generator: "Generator") -> "Tensor":
        if self.centre == "uniform":
            return integers(side, n, generator)
        import torch

        drawn = torch.randn(n, generator=generator, dtype=torch.float64)
        return ((0.5 + self.sigma * drawn) * side).floor().clamp(0, side - 1).long()

    def _box(self, height: int, width: int, lam: float, x: int, y: int) -> Box:
        if self.size is None:
            return cutmix_box(height, width, lam, x, y)
        return clipped_box(height, width, self.size // 2, self.size // 2, x, y)

    def _weight(self, kept: float) -> float:
        if self.labels == "complete":
            return 0.5
        return float(kept >= 0.5) if self.labels == "one-hot" else kept


@dataclass(frozen=True, config=STRICT)
class Mixup(Regularizer):
    """Blend two images and their labels linearly, with one lambda and one permutation for the whole batch.

    torchvision's ``v2.MixUp`` pairs each image with its neighbour instead, timm's ``Mixup`` the batch with its reverse.

    Attributes:
        alpha: lambda ~ Beta(alpha, alpha).
        prob: probability that a batch is mixed.
        per_sample: a lambda for each image instead of one for the batch.
    """

    alpha: Alpha = 1.0
    prob: Probability = 1.0
    per_sample: bool = False

    name: ClassVar[str] = "mixup"
    stage: ClassVar[Stage] = "mix"
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
        n = context.share.total(len(images))
        if not self.per_sample:
            lam = beta(self.alpha, context.generator)
            order = permutation(n, context.generator)
            mixed = context.share.partners(images, order).lerp_(images, lam)
            return Mixed(mixed, mix_targets(targets, order, [lam], context))
        own = betas(self.alpha, n, context.generator)
        order = permutation(n, context.generator)
        own = own[context.share.mine(len(images))]
        weight = own.to(images).view(-1, 1, 1, 1)
        mixed = context.share.partners(images, order).lerp_(images, weight)
        return Mixed(mixed, mix_targets(targets, order, own.tolist(), context))


def mix_targets(targets: "Tensor", order: "Tensor", weights: list[float], context: Context) -> "Tensor":
    """Soft targets (N, classes) of pairs: ``weights`` of the own ones, one for all or one for each, the rest of the partner's."""
    partners = context.share.partners(targets, order)
    if len(weights) == 1:
        return targets * weights[0] + partners * (1.0 - weights[0])
    weight = targets.new_tensor(weights).unsqueeze(1)
    return targets * weight + partners * (1.0 - weight)
