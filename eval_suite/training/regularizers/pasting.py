"""Regularizers that put rectangles of several images together, other than CutMix: ResizeMix, SaliencyMix and RICAP."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

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
from eval_suite.training.regularizers.boxes import clipped_box, cutmix_box, inside_boxes
from eval_suite.training.regularizers.draws import beta, betas, integers, permutation, uniform
from eval_suite.training.regularizers.mixing import mix_targets

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, config=STRICT)
class ResizeMix(Regularizer):
    """Paste another image, made smaller as a whole, and mix the labels by area.

    The side of the pasted image is tau times the image's, tau uniform in ``scope``. Its box has a uniform centre and is clipped at
    the borders as CutMix's is, and the whole partner is resized to what is left of it. One tau, one box and one
    permutation for the whole batch. No code of the authors is public; this is OpenMixup's reading, its way of resizing too.

    Attributes:
        scope: range of tau; the paper's alpha and beta.
        prob: probability that a batch is mixed.
        interpolation: how the pasted image is resized.
    """

    scope: tuple[
        Annotated[float, Field(gt=0, le=1)],
        Annotated[float, Field(gt=0, le=1)],
    ] = (0.1, 0.8)
    prob: Probability = 1.0
    interpolation: Literal["nearest", "bilinear"] = "nearest"

    name: ClassVar[str] = "resizemix"
    stage: ClassVar[Stage] = "mix"
    paper: ClassVar[Paper] = Paper(
        title="ResizeMix: Mixing Data with Preserved Object Information and True Labels",
        venue="arXiv",
        year=2020,
        url="https://arxiv.org/abs/2012.11101",
    )

    def __post_init__(self) -> None:
        """Check that the range rises."""
        if self.scope[0] > self.scope[1]:
            raise ValueError(f"scope must rise, found {self.scope}")

    def apply(self, images: "Tensor", targets: "Tensor", context: Context) -> Mixed:
        """Mix a batch (N, 3, H, W) with itself in another order; the images are overwritten."""
        import torch.nn.functional as F

        generator = context.generator
        if uniform(generator) >= self.prob:
            return Mixed(images, targets)
        height, width = images.shape[-2:]
        low, high = self.scope
        tau = low + (high - low) * uniform(generator)
        order = permutation(context.share.total(len(images)), generator)
        x, y = (int(integers(side, 1, generator)) for side in (width, height))
        box = clipped_box(height, width, int(width * tau) // 2, int(height * tau) // 2, x, y)
        if not box.area:
            return Mixed(images, targets)
        # Resized before they are exchanged: fewer pixels to send.
        small = F.interpolate(images, (box.y1 - box.y0, box.x1 - box.x0), mode=self.interpolation)
        images[(..., *box.inside)] = context.share.partners(small, order)
        return Mixed(images, mix_targets(targets, order, [1.0 - box.area / (height * width)], context))


@dataclass(frozen=True, config=STRICT)
class SaliencyMix(Regularizer):
    """CutMix with its box around the most salient pixel of the image that is pasted.

    Lambda, side of the box, clipping and labels are CutMix's. Saliency is OpenCV's fine-grained one, of the image in
    grey bytes. The authors' code hands it normalised floats, whose bytes that module reads as if they were grey
    values; the place that it finds is another one. One lambda, one box and one permutation for the whole batch, the
    box around the peak of the image that the first one is mixed with, as there.

    Attributes:
        alpha: lambda ~ Beta(alpha, alpha).
        prob: probability that a batch is mixed (the authors use 0.5 on CIFAR and 1.0 on ImageNet).
        per_sample: a lambda for each image, and a box around its own partner's peak.
    """

    alpha: Alpha = 1.0
    prob: Probability = 1.0
    per_sample: bool = False

    name: ClassVar[str] = "saliencymix"
    stage: ClassVar[Stage] = "mix"
    paper: ClassVar[Paper] = Paper(
        title="SaliencyMix: A Saliency Guided Data Augmentation Strategy for Better Regularization",
        venue="ICLR",
        year=2021,
        url="https://arxiv.org/abs/2006.01791",
        code="https://github.com/SaliencyMix/SaliencyMix",
    )

    def apply(self, images: "Tensor", targets: "Tensor", context: Context) -> Mixed:
        """Mix a batch (N, 3, H, W) with itself in another order; the images are overwritten."""
        share, generator = context.share, context.generator
        if uniform(generator) >= self.prob:
            return Mixed(images, targets)
        n, (height, width) = share.total(len(images)), images.shape[-2:]
        lam = betas(self.alpha, n if self.per_sample else 1, generator).tolist()
        order = permutation(n, generator)
        if not self.per_sample:
            ((y, x),) = _peaks(share.everywhere(images)[order[:1]]).tolist()
            box = cutmix_box(height, width, lam[0], x, y)
            inside = (..., *box.inside)
            images[inside] = share.partners(images[inside], order)
            weights = [1.0 - box.area / (height * width)]
        else:
            peaks = share.partners(_peaks(images).to(images.device), order).tolist()
            lam = lam[share.mine(len(images))]
            boxes = [cutmix_box(height, width, one, x, y) for one, (y, x) in zip(lam, peaks, strict=True)]
            images = share.partners(images, order).where(inside_boxes(boxes, images), images)
            weights = [1.0 - box.area / (height * width) for box in boxes]
        return Mixed(images, mix_targets(targets, order, weights, context))


def _peaks(images: "Tensor") -> "Tensor":
    """(N, 2) row and column of the most salient pixel of images (N, 3, H, W) in [0, 1]."""
    import numpy as np
    import torch

    from eval_suite.training.regularizers._saliency import fine_grained_saliency

    pixels = (images.float().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    maps = [fine_grained_saliency(np.ascontiguousarray(one)) for one in pixels]
    return torch.tensor([np.unravel_index(int(one.argmax()), one.shape) for one in maps])


@dataclass(frozen=True, config=STRICT)
class RICAP(Regularizer):
    """Put crops of four images together around a point, and mix their labels by area (random image cropping and patching).

    The point is (round(W u), round(H v)) with u, v ~ Beta(beta, beta); each crop has the size of its corner and a
    uniform place; places and the four permutations are the same for the whole batch, as in the authors' code.

    Attributes:
        beta: of the distribution of the point.
        prob: probability that a batch is mixed.
    """

    beta: Alpha = 0.3
    prob: Probability = 1.0

    name: ClassVar[str] = "ricap"
    stage: ClassVar[Stage] = "mix"
    paper: ClassVar[Paper] = Paper(
        title="Data Augmentation using Random Image Cropping and Patching for Deep CNNs",
        venue="IEEE TCSVT",
        year=2020,
        url="https://arxiv.org/abs/1811.09030",
        code="https://github.com/jackryo/ricap",
    )

    def apply(self, images: "Tensor", targets: "Tensor", context: Context) -> Mixed:
        """Mix a batch (N, 3, H, W) with itself in four orders."""
        import torch

        share, generator = context.share, context.generator
        if uniform(generator) >= self.prob:
            return Mixed(images, targets)
        height, width = images.shape[-2:]
        column, row = (round(side * beta(self.beta, generator)) for side in (width, height))
        mixed, soft = torch.empty_like(images), torch.zeros_like(targets)
        for rows in (slice(0, row), slice(row, height)):
            for columns in (slice(0, column), slice(column, width)):
                h, w = rows.stop - rows.start, columns.stop - columns.start
                order = permutation(share.total(len(images)), generator)
                y, x = (
                    int(integers(side - part + 1, 1, generator)) for side, part in ((height, h), (width, w))
                )
                mixed[..., rows, columns] = share.partners(images[..., y : y + h, x : x + w], order)
                soft += share.partners(targets, order) * (h * w / (height * width))
        return Mixed(mixed, soft)
