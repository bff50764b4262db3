"""Distance to the k-th nearest training image, found by scikit-learn.

pytorch-ood starts a process for every core whatever ``--threads`` says.
"""

from typing import TYPE_CHECKING, Any, ClassVar

from eval_suite.core.errors import InputError
from eval_suite.core.records import Paper
from eval_suite.tasks.ood.confidences.base import FitOptions, OodScore, TrainingFeatures

if TYPE_CHECKING:
    from torch import Tensor


class Neighbours(OodScore):
    """Minus the distance to the k-th nearest training image, features scaled to unit length.

    Reference: Sun et al., ICML 2022, sec. 3.
    """

    name: ClassVar[str] = "knn"
    title: ClassVar[str] = "KNN"
    paper: ClassVar[Paper] = Paper(
        "Out-of-Distribution Detection with Deep Nearest Neighbors",
        "ICML",
        2022,
        "https://arxiv.org/abs/2204.06507",
    )
    fitted: ClassVar[bool] = True
    of_features: ClassVar[bool] = True
    candidates: ClassVar[dict[str, tuple[Any, ...]]] = {"knn_k": (10, 20, 50, 100, 200)}

    def fit(self, training: TrainingFeatures, options: FitOptions) -> None:
        """Keep the training features.

        Raises:
            InputError: if there are fewer than k of them.
        """
        from sklearn.neighbors import NearestNeighbors
        from torch.nn.functional import normalize

        if len(training.features) < options.knn_k:
            raise InputError(
                expected=f"at least {options.knn_k} training images for the score 'knn'",
                found=f"{len(training.features)}",
                remedy="lower --knn-k or raise --fit-limit",
            )
        index = NearestNeighbors(n_neighbors=options.knn_k, algorithm="brute")
        self.index = index.fit(normalize(training.features.double()).numpy())

    def __call__(self, logits: "Tensor", features: "Tensor") -> "Tensor":
        """Confidences (n,) in [-2, 0]."""
        import torch
        from threadpoolctl import threadpool_limits

        # One process; its threads are those that torch is given.
        with threadpool_limits(torch.get_num_threads()):
            distances, _ = self.index.kneighbors(torch.nn.functional.normalize(features.double()).numpy())
        return -torch.from_numpy(distances[:, -1])
