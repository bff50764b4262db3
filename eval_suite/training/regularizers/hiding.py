"""Hide-and-Seek: an image is cut into square patches, and each is hidden with a probability."""

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from eval_suite.core.records import Paper
from eval_suite.training.regularizers.base import STRICT, Context, Mixed, Regularizer, Stage
from eval_suite.training.regularizers.draws import integers

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, config=STRICT)
class HideAndSeek(Regularizer):
    """Hide a random part of the square patches that tile an image.

    Patches at the right and lower border are cut off there. The fill is the mean colour, which is zero after
    normalisation, so that what a unit sees in training has on average the statistics of whole images. Labels stay.

    Attributes:
        sizes: side of the patches in pixels, drawn anew for each image; 0 hides nothing. By default the paper's mixture
            for images of 224 pixels; a single number gives patches of one size.
        prob: probability that a patch is hidden.
    """

    sizes: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0, 16, 32, 44, 56)
    prob: Annotated[float, Field(ge=0, le=1)] = 0.5

    name: ClassVar[str] = "has"
    stage: ClassVar[Stage] = "erase"
    paper: ClassVar[Paper] = Paper(
        title="Hide-and-Seek: Forcing a Network to be Meticulous for Weakly-supervised Object and Action Localization",
        venue="ICCV",
        year=2017,
        url="https://arxiv.org/abs/1704.04232",
        code="https://github.com/kkanshul/Hide-and-Seek",
    )

    def apply(self, images: "Tensor", targets: "Tensor", context: Context) -> Mixed:
        """Hide patches of each image of a batch (N, 3, H, W)."""
        import torch

        n, (height, width) = context.share.total(len(images)), images.shape[-2:]
        size = torch.tensor(self.sizes)[integers(len(self.sizes), n, context.generator)]
        smallest = min((side for side in self.sizes if side), default=max(height, width))
        rows, columns = -(-height // smallest), -(-width // smallest)
        # Drawn for the finest tiling, so that an image's draws do not depend on the sizes of the others.
        hidden = torch.rand(n, rows, columns, generator=context.generator) < self.prob
        hidden &= (size > 0)[:, None, None]
        side = size.clamp(min=1)[:, None]
        down = (torch.arange(height) // side).clamp(max=rows - 1)
        across = (torch.arange(width) // side).clamp(max=columns - 1)
        mask = hidden[torch.arange(n)[:, None, None], down[:, :, None], across[:, None, :]].unsqueeze(1)
        mask = mask[context.share.mine(len(images))]
        fill = context.fill.to(images, non_blocking=True).view(1, 3, 1, 1)
        return Mixed(images.where(~mask.to(images.device, non_blocking=True), fill), targets)
