"""SCALE: the energy of the logits of features scaled by how much of their sum the largest make up."""

from typing import TYPE_CHECKING, Any, ClassVar

from eval_suite.core.records import Paper
from eval_suite.tasks.ood.confidences.ash import largest, sharpening
from eval_suite.tasks.ood.confidences.base import FitOptions, OodScore, TrainingFeatures

if TYPE_CHECKING:
    from torch import Tensor


class Scale(OodScore):
    """Energy of the logits of all features times exp(sum of all / sum of the largest): ASH-S without setting any to 0.

    Reference: Xu et al., ICLR 2024, on the features of the last layer.
    """

    name: ClassVar[str] = "scale"
    title: ClassVar[str] = "SCALE"
    paper: ClassVar[Paper] = Paper(
        "Scaling for Training Time and Post-hoc Out-of-distribution Detection Enhancement",
        "ICLR",
        2024,
        "https://arxiv.org/abs/2310.00227",
        "https://github.com/kai422/SCALE",
    )
    of_layer: ClassVar[bool] = True
    of_activations: ClassVar[bool] = True
    candidates: ClassVar[dict[str, tuple[Any, ...]]] = {
        "scale_percentile": (0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
    }

    def fit(self, training: TrainingFeatures, options: FitOptions) -> None:
        """Take the last layer and the percentile."""
        self.head, self.percentile = training.head(), options.scale_percentile

    def __call__(self, logits: "Tensor", features: "Tensor") -> "Tensor":
        """Confidences (n,)."""
        exact = features.double()
        return self.head.energy(exact * sharpening(exact, largest(exact, self.percentile)))
