"""fDBD: how far the features are from the decision boundaries."""

from typing import TYPE_CHECKING, ClassVar

from eval_suite.core.records import Paper
from eval_suite.tasks.ood.confidences.base import FitOptions, OodScore, TrainingFeatures

if TYPE_CHECKING:
    from torch import Tensor


class BoundaryDistance(OodScore):
    """Distance to the boundary between the predicted class and each other, as a mean, over that to the training mean.

    The boundary to class c is (z_max - z_c) / ||w_max - w_c|| away. pytorch-ood's version computes in single precision and
    holds the difference of every two classes' weights in memory. Classes of equal weights have no boundary and do not count.

    Reference: Liu and Qin, ICML 2024.
    """

    name: ClassVar[str] = "fdbd"
    title: ClassVar[str] = "fDBD"
    paper: ClassVar[Paper] = Paper(
        "Fast Decision Boundary based Out-of-Distribution Detector",
        "ICML",
        2024,
        "https://arxiv.org/abs/2312.11536",
        "https://github.com/litianliu/fDBD-OOD",
    )
    fitted: ClassVar[bool] = True
    of_layer: ClassVar[bool] = True

    def fit(self, training: TrainingFeatures, options: FitOptions) -> None:
        """Find the mean of the training features."""
        import torch

        self.head, self.mean = training.head(), training.features.double().mean(0)
        self.apart = torch.cdist(
            self.head.weight, self.head.weight, compute_mode="donot_use_mm_for_euclid_dist"
        )

    def __call__(self, logits: "Tensor", features: "Tensor") -> "Tensor":
        """Confidences (n,), at least 0."""
        import torch

        exact = features.double()
        made = self.head.logits(exact)
        largest, predicted = made.max(1)
        apart = self.apart[predicted]
        distances = torch.where(apart > 0, (largest[:, None] - made) / apart, 0)
        others = (apart > 0).sum(1).clamp(min=1)
        from_mean = (exact - self.mean).norm(dim=1).clamp(min=_SMALLEST)
        return distances.sum(1) / (others * from_mean)


_SMALLEST = 1e-8  # as pytorch-ood has it, for features that are the mean itself
