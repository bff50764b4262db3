"""Confidences from logits and from the features of the last layer, larger for in-distribution images.

Max softmax, max logit, energy, ReAct and ViM are those of pytorch-ood with the sign turned, the logits in double
precision: in single precision the softmax of a sure network is 1 for very many images. Mahalanobis is written out:
pytorch-ood inverts the covariance of features in single precision, which fails for features that hardly vary. The
neighbours of KNN are found by scikit-learn: pytorch-ood starts a process for every core whatever ``--threads`` says.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from pytorch_ood.detector import EnergyBased, MaxLogit, MaxSoftmax, ReAct, ViM
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from eval_suite.core.errors import InputError

Confidence = Callable[[Tensor, Tensor], Tensor]
"""Logits (n, classes) and features (n, D) to confidences (n,)."""


class TrainingFeatures(NamedTuple):
    """Features (n, D) and labels (n,) of training images, and the layer (weight, bias) that makes logits of features."""

    features: Tensor
    labels: Tensor
    layer: nn.Linear


class FitOptions(NamedTuple):
    """Neighbours of KNN, percentile of ReAct as a fraction, and ViM's principal dimension (None for the paper's rule)."""

    neighbours: int
    percentile: float
    dimension: int | None


def make_confidences(
    names: Iterable[str], training: TrainingFeatures | None, options: FitOptions
) -> dict[str, Confidence]:
    """The confidences of that name, fitted where they need it; ODIN is none of them, since it needs the images.

    Raises:
        InputError: if there are fewer training images than a score needs.
    """
    made: dict[str, Confidence] = {}
    for name in names:
        if name in _OF_LOGITS:
            made[name] = _OF_LOGITS[name]
        elif name in _FITTED:
            assert training is not None
            made[name] = _FITTED[name](training, options)
    return made


class Mahalanobis:
    """Minus the squared Mahalanobis distance to the nearest class mean, with one covariance for all classes.

    Reference: Lee et al., NeurIPS 2018, eq. 2, on the features of the last layer, without input perturbation.
    """

    def __init__(self, features: Tensor, labels: Tensor) -> None:
        """Fit to training features (n, D) and labels (n,); a covariance without inverse gets its pseudo-inverse."""
        features = features.double()
        present, place = labels.unique(return_inverse=True)
        means = torch.zeros(len(present), features.shape[1], dtype=torch.float64)
        means.index_add_(0, place, features)
        self.means = means / torch.bincount(place, minlength=len(present))[:, None]
        centred = features - self.means[place]
        self.precision = torch.linalg.pinv(centred.T @ centred / len(features), hermitian=True)

    def __call__(self, features: Tensor) -> Tensor:
        """Confidences (n,) of features (n, D)."""
        features = features.double()
        nearest = torch.full((len(features),), torch.inf, dtype=torch.float64)
        for mean in self.means:
            centred = features - mean
            nearest = torch.minimum(nearest, ((centred @ self.precision) * centred).sum(dim=1))
        return -nearest


class Neighbours:
    """Minus the distance to the k-th nearest training image, features scaled to unit length.

    Reference: Sun et al., ICML 2022, sec. 3.
    """

    def __init__(self, features: Tensor, k: int) -> None:
        """Keep the training features (n, D).

        Raises:
            InputError: if there are fewer than k of them.
        """
        if len(features) < k:
            raise InputError(
                f"expected at least {k} training images for the score 'knn', found {len(features)}; "
                "lower --knn-k or raise --fit-limit"
            )
        self.k = k
        # One process; the threads are those that torch is given.
        self.index = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(
            F.normalize(features.double()).numpy()
        )

    def __call__(self, features: Tensor) -> Tensor:
        """Confidences (n,) of features (n, D)."""
        with threadpool_limits(torch.get_num_threads()):
            distances, _ = self.index.kneighbors(F.normalize(features.double()).numpy())
        return -torch.from_numpy(distances[:, -1])


def _mahalanobis(training: TrainingFeatures, options: FitOptions) -> Confidence:
    fitted = Mahalanobis(training.features, training.labels)
    return lambda _logits, features: fitted(features)


def _neighbours(training: TrainingFeatures, options: FitOptions) -> Confidence:
    fitted = Neighbours(training.features, options.neighbours)
    return lambda _logits, features: fitted(features)


def _react(training: TrainingFeatures, options: FitOptions) -> Confidence:
    """Energy of the logits of features cut at a percentile of all training activations."""
    weight, bias = _weights(training.layer)
    fitted = ReAct(
        backbone=nn.Identity(),
        head=lambda features: F.linear(features, weight, bias),
        percentile=options.percentile,
    ).fit_feature_maps(training.features.double(), training.labels)
    return lambda _logits, features: -fitted.predict_feature_maps(features.double())


def _vim(training: TrainingFeatures, options: FitOptions) -> Confidence:
    """Energy of the logits minus the virtual logit; the dimension by the paper's rule if not given, half of narrow ones."""
    width = training.features.shape[1]
    by_rule = 1000 if width > 1500 else 512 if width > 512 else width // 2
    dimension = options.dimension or by_rule
    if not 0 < dimension < width:
        raise InputError(
            f"expected a --vim-dimension from 1 to {width - 1} for features of width {width}, found {dimension}"
        )
    weight, bias = _weights(training.layer)
    fitted = ViM(None, d=dimension, w=weight, b=bias).fit_features(training.features, training.labels)
    return lambda _logits, features: -fitted.predict_features(features).double()


def _weights(layer: nn.Linear) -> tuple[Tensor, Tensor]:
    weight = layer.weight.detach().cpu().double()
    bias = (
        torch.zeros(len(weight), dtype=torch.float64)
        if layer.bias is None
        else layer.bias.detach().cpu().double()
    )
    return weight, bias


_OF_LOGITS: dict[str, Confidence] = {
    "max-softmax": lambda logits, _features: -MaxSoftmax.score(logits.double()),
    "max-logit": lambda logits, _features: -MaxLogit.score(logits.double()),
    "energy": lambda logits, _features: -EnergyBased.score(logits.double()),
}
_FITTED: dict[str, Callable[[TrainingFeatures, FitOptions], Confidence]] = {
    "mahalanobis": _mahalanobis,
    "knn": _neighbours,
    "react": _react,
    "vim": _vim,
}
