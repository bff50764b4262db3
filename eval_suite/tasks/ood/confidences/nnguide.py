"""NNGuide: the energy, guided by the training images nearest in direction."""

from typing import TYPE_CHECKING, Any, ClassVar

from eval_suite.core.errors import InputError
from eval_suite.core.records import Paper
from eval_suite.tasks.ood.confidences.base import FitOptions, OodScore, TrainingFeatures

if TYPE_CHECKING:
    from torch import Tensor

_ROWS = 4096


class NearestGuidance(OodScore):
    """Energy times the mean of the k largest inner products with training features, both scaled to unit length.

    Each training feature counts times its own energy. The paper keeps 1 % of ImageNet's training images: ``fit_limit``.

    Reference: Park et al., ICCV 2023.
    """

    name: ClassVar[str] = "nnguide"
    title: ClassVar[str] = "NNGuide"
    paper: ClassVar[Paper] = Paper(
        "Nearest Neighbor Guidance for Out-of-Distribution Detection",
        "ICCV",
        2023,
        "https://arxiv.org/abs/2309.14888",
        "https://github.com/roomo7time/nnguide",
    )
    fitted: ClassVar[bool] = True
    of_layer: ClassVar[bool] = True
    candidates: ClassVar[dict[str, tuple[Any, ...]]] = {"nnguide_k": (1, 5, 10, 20, 50, 100)}

    def fit(self, training: TrainingFeatures, options: FitOptions) -> None:
        """Keep the training features.

        Raises:
            InputError: if there are fewer than k of them.
        """
        from torch.nn.functional import normalize

        self.k = options.nnguide_k
        if len(training.features) < self.k:
            raise InputError(
                expected=f"at least {self.k} training images for the score 'nnguide'",
                found=f"{len(training.features)}",
                remedy="lower --nnguide-k or raise --fit-limit",
            )
        self.head = training.head()
        exact = training.features.double()
        self.bank = normalize(exact) * self.head.energy(exact)[:, None]

    def __call__(self, logits: "Tensor", features: "Tensor") -> "Tensor":
        """Confidences (n,)."""
        import torch
        from torch.nn.functional import normalize

        exact = features.double()
        directions = normalize(exact)
        near = [(rows @ self.bank.T).topk(self.k, dim=1).values.mean(1) for rows in directions.split(_ROWS)]
        return torch.cat(near) * self.head.energy(exact)
