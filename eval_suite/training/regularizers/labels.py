"""Regularizers of the labels alone: label smoothing."""

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from eval_suite.core.records import Paper
from eval_suite.training.regularizers.base import STRICT, Context, Mixed, Regularizer, Stage

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, config=STRICT)
class LabelSmoothing(Regularizer):
    """Take a share of every target away and spread it evenly over all classes.

    The same as torch's ``CrossEntropyLoss(label_smoothing=epsilon)``. It is linear in the targets, so that it makes no
    difference whether labels are smoothed before or after they are mixed.

    Attributes:
        epsilon: the share that is spread.
    """

    epsilon: Annotated[float, Field(ge=0, le=1)] = 0.1

    name: ClassVar[str] = "label-smoothing"
    stage: ClassVar[Stage] = "labels"
    paper: ClassVar[Paper] = Paper(
        title="Rethinking the Inception Architecture for Computer Vision",
        venue="CVPR",
        year=2016,
        url="https://arxiv.org/abs/1512.00567",
    )

    def apply(self, images: "Tensor", targets: "Tensor", context: Context) -> Mixed:
        """Smooth the targets (N, classes) of a batch, or each weighted label of (N, 2, classes) within its weight."""
        if targets.ndim == 3:
            weights = targets.sum(2, keepdim=True)
            return Mixed(images, targets * (1.0 - self.epsilon) + weights * (self.epsilon / targets.shape[2]))
        return Mixed(images, targets * (1.0 - self.epsilon) + self.epsilon / targets.shape[1])
