"""Confidences of the logits alone: pytorch-ood's with the sign turned, in double precision.

In single precision the softmax of a sure network is 1 for very many images.
"""

from typing import TYPE_CHECKING, ClassVar

from eval_suite.core.records import Paper
from eval_suite.tasks.ood.confidences.base import OodScore

if TYPE_CHECKING:
    from torch import Tensor


_GEN_EXPONENT, _GEN_CLASSES = 0.1, 100


class MaxSoftmax(OodScore):
    """Probability of the predicted class: max_c softmax(z)_c."""

    name: ClassVar[str] = "max-softmax"
    title: ClassVar[str] = "max softmax"
    paper: ClassVar[Paper] = Paper(
        "A Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural Networks",
        "ICLR",
        2017,
        "https://arxiv.org/abs/1610.02136",
    )

    def __call__(self, logits: "Tensor", features: "Tensor") -> "Tensor":
        """Confidences (n,) in [1 / classes, 1]."""
        from pytorch_ood.detector import MaxSoftmax

        return -MaxSoftmax.score(logits.double())


class MaxLogit(OodScore):
    """The largest logit: max_c z_c."""

    name: ClassVar[str] = "max-logit"
    title: ClassVar[str] = "max logit"
    paper: ClassVar[Paper] = Paper(
        "Scaling Out-of-Distribution Detection for Real-World Settings",
        "ICML",
        2022,
        "https://arxiv.org/abs/1911.11132",
    )

    def __call__(self, logits: "Tensor", features: "Tensor") -> "Tensor":
        """Confidences (n,)."""
        from pytorch_ood.detector import MaxLogit

        return -MaxLogit.score(logits.double())


class Energy(OodScore):
    """The free energy of the logits with the sign turned: log Σ_c exp(z_c)."""

    name: ClassVar[str] = "energy"
    title: ClassVar[str] = "energy"
    paper: ClassVar[Paper] = Paper(
        "Energy-based Out-of-distribution Detection", "NeurIPS", 2020, "https://arxiv.org/abs/2010.03759"
    )

    def __call__(self, logits: "Tensor", features: "Tensor") -> "Tensor":
        """Confidences (n,)."""
        from pytorch_ood.detector import EnergyBased

        return -EnergyBased.score(logits.double())


class Gen(OodScore):
    """Minus the generalised entropy of the most probable classes: -Σ_c (p_c (1 - p_c))^γ, γ = 0.1, over at most 100 classes.

    Reference: Liu et al., CVPR 2023, eq. 4, with the settings of their code.
    """

    name: ClassVar[str] = "gen"
    title: ClassVar[str] = "GEN"
    paper: ClassVar[Paper] = Paper(
        "GEN: Pushing the Limits of Softmax-Based Out-of-Distribution Detection",
        "CVPR",
        2023,
        "https://openaccess.thecvf.com/content/CVPR2023/html/Liu_GEN_Pushing_the_Limits_of_Softmax-Based_Out-of-Distribution_Detection_CVPR_2023_paper.html",
    )

    def __call__(self, logits: "Tensor", features: "Tensor") -> "Tensor":
        """Confidences (n,), at most 0."""
        probabilities = logits.double().softmax(1).topk(min(_GEN_CLASSES, logits.shape[1]), dim=1).values
        return -(probabilities * (1 - probabilities)).pow(_GEN_EXPONENT).sum(1)
