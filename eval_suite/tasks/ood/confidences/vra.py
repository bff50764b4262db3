"""VRA: the energy of the logits of features without the low ones, and with the high ones cut."""

from typing import TYPE_CHECKING, Any, ClassVar

from eval_suite.core.records import Paper
from eval_suite.tasks.ood.confidences.base import FitOptions, OodScore, TrainingFeatures

if TYPE_CHECKING:
    from torch import Tensor


class RectifiedActivation(OodScore):
    """Energy of the logits of features that are 0 below a low and cut at a high percentile of each feature in training.

    As in the authors' code; OpenOOD and pytorch-ood lift low features to the low percentile instead of setting them to 0.

    Reference: Xu et al., NeurIPS 2023.
    """

    name: ClassVar[str] = "vra"
    title: ClassVar[str] = "VRA"
    paper: ClassVar[Paper] = Paper(
        "VRA: Variational Rectified Activation for Out-of-distribution Detection",
        "NeurIPS",
        2023,
        "https://arxiv.org/abs/2302.11716",
        "https://github.com/zeroQiaoba/VRA",
    )
    fitted: ClassVar[bool] = True
    of_layer: ClassVar[bool] = True
    candidates: ClassVar[dict[str, tuple[Any, ...]]] = {
        "vra_percentiles": tuple(
            (low, high) for low in (0.5, 0.6, 0.7) for high in (0.8, 0.85, 0.9, 0.95, 0.99)
        )
    }

    def fit(self, training: TrainingFeatures, options: FitOptions) -> None:
        """Find both percentiles of each feature."""
        import numpy as np
        import torch

        self.head = training.head()
        bounds = np.quantile(training.features.double().numpy(), options.vra_percentiles, axis=0)
        self.low, self.high = torch.from_numpy(bounds)

    def __call__(self, logits: "Tensor", features: "Tensor") -> "Tensor":
        """Confidences (n,)."""
        import torch

        exact = features.double()
        return self.head.energy(torch.where(exact < self.low, 0, exact.minimum(self.high)))
