"""Regularizers that take parts of an image away: Cutout, RandomErasing and GridMask."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field
from pydantic.dataclasses import dataclass

from eval_suite.core.records import Paper
from eval_suite.training.regularizers.base import STRICT, Context, Mixed, Probability, Regularizer, Stage
from eval_suite.training.regularizers.draws import integers

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True, config=STRICT)
class Cutout(Regularizer):
    """Blank a square at a random place of each image.

    The centre is uniform over the pixels and the square is clipped at the borders. The fill is the mean colour,
    which is zero after normalisation. Labels stay.

    Attributes:
        size: side of the square in pixels (16 for CIFAR, 112 for ImageNet in the CutMix paper); odd sides lose one.
    """

    size: Annotated[int, Field(ge=2)] = 16

    name: ClassVar[str] = "cutout"
    stage: ClassVar[Stage] = "erase"
    paper: ClassVar[Paper] = Paper(
        title="Improved Regularization of Convolutional Neural Networks with Cutout",
        venue="arXiv",
        year=2017,
        url="https://arxiv.org/abs/1708.04552",
        code="https://github.com/uoguelph-mlrg/Cutout",
    )

    def apply(self, images: "Tensor", targets: "Tensor", context: Context) -> Mixed:
        """Blank one square per image of a batch (N, 3, H, W)."""
        n, _, height, width = images.shape
        rows = self._inside(height, n, context, images)
        columns = self._inside(width, n, context, images)
        hole = (rows[:, :, None] & columns[:, None, :]).unsqueeze(1)
        fill = context.fill.to(images, non_blocking=True).view(1, 3, 1, 1)
        return Mixed(images.where(~hole, fill), targets)

    def _inside(self, length: int, n: int, context: Context, like: "Tensor") -> "Tensor":
        import torch

        centres = integers(length, context.share.total(n), context.generator)[context.share.mine(n)]
        centre = centres.to(like.device, non_blocking=True)[:, None]
        at = torch.arange(length, device=like.device)[None, :]
        return (at >= centre - self.size // 2) & (at < centre + self.size // 2)


class _Rectangles(NamedTuple):
    """Rectangles to erase, (N,) each: upper left corners, heights and widths; a height of 0 erases nothing."""

    top: "Tensor"
    left: "Tensor"
    height: "Tensor"
    width: "Tensor"


@dataclass(frozen=True, config=STRICT)
class RandomErasing(Regularizer):
    """Erase a rectangle of random area and aspect ratio that lies wholly inside each image.

    With probability ``prob`` an image loses a rectangle of area S = H W a, a uniform in ``area``, with height
    round(sqrt(S r)) and width round(sqrt(S / r)), r uniform in [``aspect``, 1 / ``aspect``]; both are drawn anew until they
    fit, a hundred times at most. Labels stay. torchvision's and timm's draw the logarithm of r uniformly.

    Attributes:
        prob: probability that an image is erased.
        area: range of the erased share (the authors' code on CIFAR; their text has 0.33 as the end on ImageNet).
        aspect: the smallest height per width.
        fill: 'mean', the mean colour, as in the authors' code, or 'random', uniform colours for each pixel, the best in their text.
    """

    prob: Probability = 0.5
    area: tuple[Annotated[float, Field(gt=0, lt=1)], Annotated[float, Field(gt=0, lt=1)]] = (0.02, 0.4)
    aspect: Annotated[float, Field(gt=0, le=1)] = 0.3
    fill: Literal["mean", "random"] = "mean"

    name: ClassVar[str] = "random-erasing"
    stage: ClassVar[Stage] = "erase"
    paper: ClassVar[Paper] = Paper(
        title="Random Erasing Data Augmentation",
        venue="AAAI",
        year=2020,
        url="https://arxiv.org/abs/1708.04896",
        code="https://github.com/zhunzhong07/Random-Erasing",
    )

    def __post_init__(self) -> None:
        """Check that the range rises."""
        if self.area[0] > self.area[1]:
            raise ValueError(f"area must rise, found {self.area}")

    def apply(self, images: "Tensor", targets: "Tensor", context: Context) -> Mixed:
        """Erase a rectangle of each image of a batch (N, 3, H, W)."""
        import torch

        n, _, height, width = images.shape
        mine = context.share.mine(n)
        drawn = self._draw(context.share.total(n), height, width, context.generator)
        top, left, tall, wide = (one[mine].to(images.device)[:, None] for one in drawn)
        rows, columns = (torch.arange(side, device=images.device) for side in (height, width))
        hole = ((rows >= top) & (rows < top + tall))[:, :, None] & (
            (columns >= left) & (columns < left + wide)
        )[:, None, :]
        if self.fill == "mean":
            colours = context.fill.to(images, non_blocking=True).view(1, 3, 1, 1)
        else:
            # Of a generator for each image, so that a process draws no others' pixels.
            seeds = integers(2**62, context.share.total(n), context.generator)[mine].tolist()
            colours = torch.stack(
                [
                    torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))
                    for seed in seeds
                ]
            ).to(images)
        return Mixed(images.where(~hole.unsqueeze(1), colours), targets)

    def _draw(self, n: int, height: int, width: int, generator: "Generator") -> _Rectangles:
        import torch

        def between(low: float, high: float, *shape: int) -> "Tensor":
            return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)

        erased = between(0, 1, n) < self.prob
        area = between(*self.area, n, _ATTEMPTS) * height * width
        aspect = between(self.aspect, 1 / self.aspect, n, _ATTEMPTS)
        tall, wide = (area * aspect).sqrt().round().long(), (area / aspect).sqrt().round().long()
        fits = (tall < height) & (wide < width)
        first = fits.byte().argmax(1, keepdim=True)
        tall, wide = tall.gather(1, first)[:, 0], wide.gather(1, first)[:, 0]
        tall = tall * (erased & fits.any(1))
        place = between(0, 1, 2, n)
        top, left = (place[0] * (height - tall + 1)).long(), (place[1] * (width - wide + 1)).long()
        return _Rectangles(top, left, tall, wide)


_ATTEMPTS = 100


@dataclass(frozen=True, config=STRICT)
class GridMask(Regularizer):
    """Erase squares at regular distances from each image.

    With a period d uniform among the whole numbers of ``period``, a random offset and a rotation by whole degrees around
    the middle, squares of side d - round(d ``keep``) are erased, at one corner of each period. The share of
    images that are masked grows from 0 to ``prob`` over the first ``ramp`` of the training. Labels stay. Squares are
    rotated exactly, while the authors' code rotates a mask of pixels, 1.5 times as large as the image, by the nearest pixel.

    Attributes:
        period: least and largest period in pixels, the largest left out; by default the authors' for ImageNet.
        keep: share of the period that stays along each side: 1 - (1 - keep)^2 of the image remains.
        prob: probability that an image is masked, once it has grown.
        ramp: share of the training in which it grows; 0 has it from the beginning.
        rotate: degrees below which the rotation is drawn; 1 rotates nothing.
    """

    period: tuple[Annotated[int, Field(ge=2)], Annotated[int, Field(ge=3)]] = (96, 224)
    keep: Annotated[float, Field(gt=0, lt=1)] = 0.6
    prob: Probability = 0.8
    ramp: Annotated[float, Field(ge=0, le=1)] = 0.8
    rotate: Annotated[int, Field(ge=1, le=360)] = 360

    name: ClassVar[str] = "gridmask"
    stage: ClassVar[Stage] = "erase"
    paper: ClassVar[Paper] = Paper(
        title="GridMask Data Augmentation",
        venue="arXiv",
        year=2020,
        url="https://arxiv.org/abs/2001.04086",
        code="https://github.com/dvlab-research/GridMask",
    )

    def __post_init__(self) -> None:
        """Check the range of periods."""
        if self.period[0] >= self.period[1]:
            raise ValueError(f"expected a period below the end of its range, found {self.period}")

    def apply(self, images: "Tensor", targets: "Tensor", context: Context) -> Mixed:
        """Mask each image of a batch (N, 3, H, W)."""
        import torch

        n, _, height, width = images.shape
        total, generator = context.share.total(n), context.generator
        prob = self.prob * min(1.0, context.progress / self.ramp if self.ramp else 1.0)
        masked = torch.rand(total, generator=generator, dtype=torch.float64) < prob
        period = self.period[0] + integers(self.period[1] - self.period[0], total, generator)
        offsets = torch.rand(2, total, generator=generator, dtype=torch.float64)
        degrees = integers(self.rotate, total, generator)
        mine = context.share.mine(n)
        erased = self._erased(height, width, period[mine], offsets[:, mine], degrees[mine])
        hole = (erased & masked[mine, None, None]).unsqueeze(1).to(images.device, non_blocking=True)
        fill = context.fill.to(images, non_blocking=True).view(1, 3, 1, 1)
        return Mixed(images.where(~hole, fill), targets)

    def _erased(
        self, height: int, width: int, period: "Tensor", offsets: "Tensor", degrees: "Tensor"
    ) -> "Tensor":
        """(N, H, W) bool: what images lose, with periods (N,), offsets (2, N) in periods and rotations (N,)."""
        import torch

        turn = degrees.double().deg2rad()[:, None, None]
        rows = torch.arange(height, dtype=torch.float64)[:, None] - (height - 1) / 2
        columns = torch.arange(width, dtype=torch.float64)[None, :] - (width - 1) / 2
        cos, sin = turn.cos(), turn.sin()
        start = (offsets * period).floor()[:, :, None, None]
        period = period[:, None, None]
        kept = (period * self.keep + 0.5).floor()
        # Back from the middle before rounding: without rotation these are whole numbers.
        down = (rows * cos + columns * sin + (height - 1) / 2).round() + start[0]
        across = (columns * cos - rows * sin + (width - 1) / 2).round() + start[1]
        return (down.remainder(period) >= kept) & (across.remainder(period) >= kept)
