"""Regularizers that mix pairs of images through a mask of another shape than a box: FMix, GridMix and SmoothMix."""

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

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
from eval_suite.training.regularizers.draws import beta, permutation, uniform
from eval_suite.training.regularizers.mixing import mix_targets

if TYPE_CHECKING:
    from torch import Generator, Tensor


class Mask(NamedTuple):
    """A mask (H, W) in [0, 1], 1 where an image keeps its own pixels, and the weight of its own label."""

    keep: "Tensor"
    weight: float


@dataclass(frozen=True, config=STRICT)
class MaskMix(Regularizer):
    """x = m * x_a + (1 - m) * x_b, with one mask m and one permutation for the whole batch, or a mask for each image."""

    prob: Probability = 1.0
    per_sample: bool = False

    stage: ClassVar[Stage] = "mix"

    def mask(self, height: int, width: int, generator: "Generator") -> Mask:
        """Draw a mask."""
        raise NotImplementedError

    def apply(self, images: "Tensor", targets: "Tensor", context: Context) -> Mixed:
        """Mix a batch (N, 3, H, W) with itself in another order."""
        import torch

        share, generator = context.share, context.generator
        if uniform(generator) >= self.prob:
            return Mixed(images, targets)
        n, (height, width) = share.total(len(images)), images.shape[-2:]
        masks = [self.mask(height, width, generator) for _ in range(n if self.per_sample else 1)]
        order = permutation(n, generator)
        if self.per_sample:
            masks = masks[share.mine(len(images))]
        keep = torch.stack([mask.keep for mask in masks]).unsqueeze(1).to(images, non_blocking=True)
        mixed = share.partners(images, order).lerp_(images, keep)
        return Mixed(mixed, mix_targets(targets, order, [mask.weight for mask in masks], context))


@dataclass(frozen=True, config=STRICT)
class FMix(MaskMix):
    """Cut images along the level set of a random image of low frequencies.

    lambda ~ Beta(alpha, alpha); the mask is 1 on the share lambda of the pixels where the inverse Fourier transform of
    complex Gaussian noise, divided by frequency ** decay, is largest. The number of pixels is rounded up or down by
    the toss of a coin, and labels are mixed by the lambda drawn, as the authors do: within one pixel of the area.

    Attributes:
        alpha: lambda ~ Beta(alpha, alpha).
        prob: probability that a batch is mixed.
        per_sample: a lambda and a mask for each image instead of one for the batch.
        decay: the power of the frequency by which amplitudes fall.
        spectrum: 'authors', the noise as their code has it: it takes two rows of the spectrum as real and imaginary
            part, so that no more than two frequencies lie along the width; or 'paper', noise in all frequencies.
    """

    alpha: Alpha = 1.0
    decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 3.0
    spectrum: Literal["authors", "paper"] = "authors"

    name: ClassVar[str] = "fmix"
    paper: ClassVar[Paper] = Paper(
        title="FMix: Enhancing Mixed Sample Data Augmentation",
        venue="arXiv",
        year=2020,
        url="https://arxiv.org/abs/2002.12047",
        code="https://github.com/ecs-vlc/FMix",
    )

    def mask(self, height: int, width: int, generator: "Generator") -> Mask:
        """Draw a mask whose mean is lambda within a pixel."""
        import torch

        lam, pixels = beta(self.alpha, generator), height * width
        image = self._low_frequency_image(height, width, generator).flatten()
        count = math.ceil(lam * pixels) if uniform(generator) > 0.5 else math.floor(lam * pixels)
        keep = torch.zeros(pixels)
        keep[image.argsort(descending=True)[:count]] = 1.0
        return Mask(keep.view(height, width), lam)

    def _low_frequency_image(self, height: int, width: int, generator: "Generator") -> "Tensor":
        import torch

        # The authors keep one frequency more of an odd width than a real transform has.
        across = torch.fft.fftfreq(width, dtype=torch.float64)[: width // 2 + 1 + width % 2]
        down = torch.fft.fftfreq(height, dtype=torch.float64)
        if self.spectrum == "authors":
            down = down[:2]
        frequency = torch.hypot(down[:, None], across[None, :]).clamp(min=1 / max(height, width))
        noise = torch.randn(*frequency.shape, 2, generator=generator, dtype=torch.float64)
        scaled = noise / frequency[..., None] ** self.decay
        whole = (
            torch.complex(scaled[0], scaled[-1])
            if self.spectrum == "authors"
            else torch.view_as_complex(scaled)
        )
        return torch.fft.irfft2(whole, s=(height, width))


@dataclass(frozen=True, config=STRICT)
class GridMix(MaskMix):
    """Divide images into a grid, and take each cell from one of two.

    lambda ~ Beta(alpha, alpha); a cell keeps its own pixels with probability lambda; labels are mixed by the exact
    area. This is the paper's augmentation alone: its results also take a local loss, of a second last layer that classifies
    each cell by itself; no code of the authors is public. The method of the same name in
    OpenMixup is another one: holes at regular distances, of the size that lambda gives.

    Attributes:
        alpha: lambda ~ Beta(alpha, alpha).
        prob: probability that a batch is mixed.
        per_sample: a lambda and a mask for each image instead of one for the batch.
        grid: cells along a side.
    """

    alpha: Alpha = 1.0
    grid: Annotated[int, Field(ge=1)] = 4

    name: ClassVar[str] = "gridmix"
    paper: ClassVar[Paper] = Paper(
        title="GridMix: Strong regularization through local context mapping",
        venue="Pattern Recognition",
        year=2021,
        url="https://doi.org/10.1016/j.patcog.2020.107594",
    )

    def mask(self, height: int, width: int, generator: "Generator") -> Mask:
        """Draw which cells stay."""
        import torch

        lam = beta(self.alpha, generator)
        cells = torch.rand(self.grid, self.grid, generator=generator, dtype=torch.float64) < lam
        rows, columns = (torch.arange(side) * self.grid // side for side in (height, width))
        keep = cells[rows[:, None], columns[None, :]]
        return Mask(keep.float(), float(keep.double().mean()))


@dataclass(frozen=True, config=STRICT)
class SmoothMix(MaskMix):
    """Blend another image in through a Gaussian around a random pixel, so that no edge tells where.

    1 - m = exp(-((x - c_x)^2 / W^2 + (y - c_y)^2 / H^2) / (2 s^2)), s uniform in ``sigma``, the centre c uniform over
    the pixels; the partner's label has the mean of 1 - m as its weight. This is the paper's circular mask; its square
    one is left out. Authors' code is not public; OpenMixup gives that weight to the image's own label instead.

    Attributes:
        prob: probability that a batch is mixed.
        per_sample: a mask for each image instead of one for the batch.
        sigma: range of the Gaussian's standard deviation as a share of the side.
    """

    sigma: tuple[
        Annotated[float, Field(gt=0, allow_inf_nan=False)], Annotated[float, Field(gt=0, allow_inf_nan=False)]
    ] = (0.25, 0.5)

    name: ClassVar[str] = "smoothmix"
    paper: ClassVar[Paper] = Paper(
        title="SmoothMix: a Simple Yet Effective Data Augmentation to Train Robust Classifiers",
        venue="CVPR Workshops",
        year=2020,
        url="https://openaccess.thecvf.com/content_CVPRW_2020/html/w45/Lee_SmoothMix_A_Simple_Yet_Effective_Data_Augmentation_to_Train_Robust_CVPRW_2020_paper.html",
    )

    def __post_init__(self) -> None:
        """Check that the range rises."""
        if self.sigma[0] > self.sigma[1]:
            raise ValueError(f"sigma must rise, found {self.sigma}")

    def mask(self, height: int, width: int, generator: "Generator") -> Mask:
        """Draw a centre and a width."""
        import torch

        low, high = self.sigma
        spread = low + (high - low) * uniform(generator)
        centres = (math.floor(uniform(generator) * side) for side in (height, width))
        rows, columns = (
            torch.exp(-(((torch.arange(side, dtype=torch.float64) - centre) / (spread * side)) ** 2) / 2)
            for side, centre in zip((height, width), centres, strict=True)
        )
        keep = 1.0 - rows[:, None] * columns[None, :]
        return Mask(keep, float(keep.mean()))
