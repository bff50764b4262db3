"""ReAct: the energy of the logits of cut activations, by pytorch-ood."""

from typing import TYPE_CHECKING, Any, ClassVar

from eval_suite.core.records import Paper
from eval_suite.tasks.ood.confidences.base import FitOptions, OodScore, TrainingFeatures

if TYPE_CHECKING:
    from torch import Tensor


class React(OodScore):
    """Energy of the logits of features cut at a percentile of all training activations."""

    name: ClassVar[str] = "react"
    title: ClassVar[str] = "ReAct"
    paper: ClassVar[Paper] = Paper(
        "ReAct: Out-of-distribution Detection With Rectified Activations",
        "NeurIPS",
        2021,
        "https://arxiv.org/abs/2111.12797",
    )
    fitted: ClassVar[bool] = True
    candidates: ClassVar[dict[str, tuple[Any, ...]]] = {"react_percentile": (0.85, 0.9, 0.95, 0.99)}

    def fit(self, training: TrainingFeatures, options: FitOptions) -> None:
        """Find the percentile."""
        from pytorch_ood.detector import ReAct
        from torch import nn

        weight, bias = training.head()
        self.detector = ReAct(
            backbone=nn.Identity(),
            head=lambda features: nn.functional.linear(features, weight, bias),
            percentile=options.react_percentile,
        ).fit_feature_maps(training.features.double(), training.labels)

    def __call__(self, logits: "Tensor", features: "Tensor") -> "Tensor":
        """Confidences (n,)."""
        return -self.detector.predict_feature_maps(features.double())
