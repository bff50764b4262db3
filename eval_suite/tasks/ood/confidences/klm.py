"""KL matching: how near the probabilities are to the typical ones of a class, by pytorch-ood."""

from typing import TYPE_CHECKING, ClassVar

from eval_suite.core.records import Paper
from eval_suite.tasks.ood.confidences.base import FitOptions, OodScore, TrainingFeatures

if TYPE_CHECKING:
    from torch import Tensor


class KlMatching(OodScore):
    """Minus the smallest divergence KL(p || d_k), where d_k are the mean probabilities of the images predicted as class k.

    The paper takes the typical probabilities from validation images: ``fit_split`` names those.

    Reference: Hendrycks et al., ICML 2022.
    """

    name: ClassVar[str] = "klm"
    title: ClassVar[str] = "KL matching"
    paper: ClassVar[Paper] = Paper(
        "Scaling Out-of-Distribution Detection for Real-World Settings",
        "ICML",
        2022,
        "https://arxiv.org/abs/1911.11132",
        "https://github.com/hendrycks/anomaly-seg",
    )
    fitted: ClassVar[bool] = True
    of_logits: ClassVar[bool] = True

    def fit(self, training: TrainingFeatures, options: FitOptions) -> None:
        """Find the typical probabilities."""
        from pytorch_ood.detector import KLMatching

        assert training.logits is not None
        self.detector = KLMatching(None).fit_logits(training.logits.double())

    def __call__(self, logits: "Tensor", features: "Tensor") -> "Tensor":
        """Confidences (n,), at most 0 but for rounding."""
        return -self.detector.predict_logits(logits.double()).detach()
