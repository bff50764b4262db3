"""Regularizers that take parts of an image away: Cutout."""

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from eval_suite.core.records import Paper
from eval_suite.training.regularizers.base import STRICT, Context, Mixed, Regularizer, Stage
from eval_suite.training.regularizers.draws import integers

if TYPE_CHECKING:
    from torch import Tensor


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
