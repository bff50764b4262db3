"""SHE: how well features fit the stored pattern of the predicted class."""

from typing import TYPE_CHECKING, ClassVar

from eval_suite.core.errors import InputError
from eval_suite.core.records import Paper
from eval_suite.tasks.ood.confidences.base import FitOptions, OodScore, TrainingFeatures

if TYPE_CHECKING:
    from torch import Tensor


class StoredPatterns(OodScore):
    """The inner product of features and the mean features of the predicted class, over training images that were right.

    A class without such images has a pattern of zeros.

    Reference: Zhang et al., ICLR 2023, eq. 8, on the features of the last layer.
    """

    name: ClassVar[str] = "she"
    title: ClassVar[str] = "SHE"
    paper: ClassVar[Paper] = Paper(
        "Out-of-Distribution Detection based on In-Distribution Data Patterns Memorization with Modern Hopfield Energy",
        "ICLR",
        2023,
        "https://openreview.net/forum?id=KkazG4lgKL",
    )
    fitted: ClassVar[bool] = True
    of_labels: ClassVar[bool] = True

    def fit(self, training: TrainingFeatures, options: FitOptions) -> None:
        """Store the patterns.

        Raises:
            InputError: if no training image is classified right.
        """
        import torch

        head = training.head()
        features = training.features.double()
        right = head.logits(features).argmax(1) == training.labels
        if not right.any():
            raise InputError(
                expected="training images that the backbone classifies right, for the score 'she'",
                found=f"none of {len(right):,}",
                remedy="leave the score out, or check the order of the classes",
            )
        labels = training.labels[right]
        sums = torch.zeros(len(head.weight), features.shape[1], dtype=torch.float64)
        sums.index_add_(0, labels, features[right])
        counts = torch.bincount(labels, minlength=len(head.weight)).clamp(min=1)
        self.patterns = sums / counts[:, None]

    def __call__(self, logits: "Tensor", features: "Tensor") -> "Tensor":
        """Confidences (n,)."""
        return (features.double() * self.patterns[logits.argmax(1)]).sum(1)
