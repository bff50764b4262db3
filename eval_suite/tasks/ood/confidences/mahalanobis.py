"""Mahalanobis distance to the nearest class.

Written out: pytorch-ood inverts the covariance of features in single precision, which fails for features that hardly vary.
"""

from typing import TYPE_CHECKING, ClassVar

from eval_suite.core.records import Paper
from eval_suite.tasks.ood.confidences.base import FitOptions, OodScore, TrainingFeatures

if TYPE_CHECKING:
    from torch import Tensor


class Mahalanobis(OodScore):
    """Minus the squared Mahalanobis distance to the nearest class mean, with one covariance for all classes.

    Reference: Lee et al., NeurIPS 2018, eq. 2, on the features of the last layer, without input perturbation.
    """

    name: ClassVar[str] = "mahalanobis"
    title: ClassVar[str] = "Mahalanobis"
    paper: ClassVar[Paper] = Paper(
        "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks",
        "NeurIPS",
        2018,
        "https://arxiv.org/abs/1807.03888",
    )
    fitted: ClassVar[bool] = True

    def fit(self, training: TrainingFeatures, options: FitOptions) -> None:
        """Class means and precision; a covariance without inverse gets its pseudo-inverse."""
        import torch

        features = training.features.double()
        present, place = training.labels.unique(return_inverse=True)
        means = torch.zeros(len(present), features.shape[1], dtype=torch.float64)
        means.index_add_(0, place, features)
        self.means = means / torch.bincount(place, minlength=len(present))[:, None]
        centred = features - self.means[place]
        self.precision = torch.linalg.pinv(centred.T @ centred / len(features), hermitian=True)

    def __call__(self, logits: "Tensor", features: "Tensor") -> "Tensor":
        """Confidences (n,), at most 0."""
        import torch

        features = features.double()
        nearest = torch.full((len(features),), torch.inf, dtype=torch.float64)
        for mean in self.means:
            centred = features - mean
            nearest = torch.minimum(nearest, ((centred @ self.precision) * centred).sum(dim=1))
        return -nearest
