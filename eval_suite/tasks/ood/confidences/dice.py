"""DICE: the energy of the logits that the weights of the largest contributions make."""

from typing import TYPE_CHECKING, Any, ClassVar

from eval_suite.core.records import Paper
from eval_suite.tasks.ood.confidences.base import FitOptions, OodScore, TrainingFeatures

if TYPE_CHECKING:
    from torch import Tensor


class Dice(OodScore):
    """Energy of the logits when the last layer keeps only the weights that contribute most on training images.

    A weight's contribution is itself times the mean of its feature; the share ``dice_sparsity`` of all weights with the
    smallest ones becomes 0. pytorch-ood's version computes it in single precision, with a tensor of images x classes x
    features in memory.

    Reference: Sun and Li, ECCV 2022, sec. 3.
    """

    name: ClassVar[str] = "dice"
    title: ClassVar[str] = "DICE"
    paper: ClassVar[Paper] = Paper(
        "DICE: Leveraging Sparsification for Out-of-Distribution Detection",
        "ECCV",
        2022,
        "https://arxiv.org/abs/2111.09805",
        "https://github.com/deeplearning-wisc/dice",
    )
    fitted: ClassVar[bool] = True
    of_layer: ClassVar[bool] = True
    candidates: ClassVar[dict[str, tuple[Any, ...]]] = {"dice_sparsity": (0.1, 0.3, 0.5, 0.7, 0.9)}

    def fit(self, training: TrainingFeatures, options: FitOptions) -> None:
        """Find the weights to keep."""
        import numpy as np
        import torch

        head = training.head()
        contributions = head.weight * training.features.double().mean(0)
        threshold = float(np.quantile(contributions.numpy(), options.dice_sparsity))
        kept = torch.where(contributions > threshold, head.weight, 0)
        self.head = head._replace(weight=kept)

    def __call__(self, logits: "Tensor", features: "Tensor") -> "Tensor":
        """Confidences (n,)."""
        return self.head.energy(features)
