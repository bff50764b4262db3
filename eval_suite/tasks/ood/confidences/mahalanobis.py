"""Mahalanobis distance to the nearest class.

Written out: pytorch-ood inverts the covariance of features in single precision, which fails for features that hardly vary.
"""

from typing import TYPE_CHECKING, ClassVar

from eval_suite.core.errors import InputError
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
    of_features: ClassVar[bool] = True
    of_covariance: ClassVar[bool] = True

    def fit(self, training: TrainingFeatures, options: FitOptions) -> None:
        """Class means and precision; where features never vary, the covariance's pseudo-inverse.

        Raises:
            InputError: if the images are no more than the features, or no class has two of them: there is no covariance.
        """
        import torch

        features = training.features.double()
        if len(features) <= features.shape[1]:
            raise InputError(
                expected=f"more than {features.shape[1]} training images, one for each feature, for the score '{self.name}'",
                found=f"{len(features)}",
                remedy="raise --fit-limit",
            )
        present, place = training.labels.unique(return_inverse=True)
        if len(present) == len(features):
            raise InputError(
                expected=f"a class with two training images or more for the score '{self.name}'",
                found=f"{len(features)} images of as many classes",
                remedy="raise --fit-limit",
            )
        means = torch.zeros(len(present), features.shape[1], dtype=torch.float64)
        means.index_add_(0, place, features)
        self.means = means / torch.bincount(place, minlength=len(present))[:, None]
        centred = features - self.means[place]
        self.precision = torch.linalg.pinv(centred.T @ centred / len(features), hermitian=True)

    def __call__(self, logits: "Tensor", features: "Tensor") -> "Tensor":
        """Confidences (n,), at most 0."""
        # (x - m)'P(x - m) = x'Px - 2 x'Pm + m'Pm takes one product for all classes; around a mean m little cancels.
        centre = self.means.mean(dim=0)
        means = self.means - centre
        centred = features.double() - centre
        of_means = means @ self.precision
        of_images = ((centred @ self.precision) * centred).sum(dim=1)
        distances = of_images[:, None] - 2 * centred @ of_means.T + (of_means * means).sum(dim=1)
        return -distances.amin(dim=1).clamp(min=0)


class RelativeMahalanobis(Mahalanobis):
    """Mahalanobis, less the squared distance to the mean of all training images under their own covariance.

    What all images share, such as features that vary much in any image, then counts no longer.

    Reference: Ren et al., 2021, eq. 2.
    """

    name: ClassVar[str] = "rmd"
    title: ClassVar[str] = "relative Mahalanobis"
    paper: ClassVar[Paper] = Paper(
        "A Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection",
        "ICML Workshops",
        2021,
        "https://arxiv.org/abs/2106.09022",
    )

    def fit(self, training: TrainingFeatures, options: FitOptions) -> None:
        """Class means, the mean of all, and both precisions.

        Raises:
            InputError: as of Mahalanobis.
        """
        import torch

        super().fit(training, options)
        features = training.features.double()
        self.mean = features.mean(0)
        centred = features - self.mean
        self.background = torch.linalg.pinv(centred.T @ centred / len(features), hermitian=True)

    def __call__(self, logits: "Tensor", features: "Tensor") -> "Tensor":
        """Confidences (n,)."""
        centred = features.double() - self.mean
        return super().__call__(logits, features) + ((centred @ self.background) * centred).sum(dim=1)
