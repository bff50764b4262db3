"""ASH: the energy of the logits of features of which each image keeps only the largest, in three variants."""

from typing import TYPE_CHECKING, Any, ClassVar

from eval_suite.core.records import Paper
from eval_suite.tasks.ood.confidences.base import FitOptions, OodScore, TrainingFeatures

if TYPE_CHECKING:
    from torch import Tensor


class _Ash(OodScore):
    """What the variants share: an image's smallest activations become 0, the rest is shaped.

    Reference: Djurisic et al., ICLR 2023, algorithms 1 to 3, on the features of the last layer.
    """

    paper: ClassVar[Paper] = Paper(
        "Extremely Simple Activation Shaping for Out-of-Distribution Detection",
        "ICLR",
        2023,
        "https://arxiv.org/abs/2209.09858",
        "https://github.com/andrijazz/ash",
    )
    of_layer: ClassVar[bool] = True
    of_activations: ClassVar[bool] = True
    candidates: ClassVar[dict[str, tuple[Any, ...]]] = {
        "ash_percentile": (0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
    }
    published: ClassVar[float]
    """The share of activations removed that the paper reports on ImageNet."""

    def fit(self, training: TrainingFeatures, options: FitOptions) -> None:
        """Take the last layer and the percentile."""
        self.head = training.head()
        self.percentile = self.published if options.ash_percentile is None else options.ash_percentile

    def __call__(self, logits: "Tensor", features: "Tensor") -> "Tensor":
        """Confidences (n,)."""
        exact = features.double()
        return self.head.energy(self.shaped(exact, largest(exact, self.percentile)))

    def shaped(self, features: "Tensor", kept: "Tensor") -> "Tensor":
        """Features (n, D) from the whole ones and those that are kept, the others 0, as `largest` gives them."""
        raise NotImplementedError


class AshP(_Ash):
    """ASH-P: the energy of the kept activations as they are."""

    name: ClassVar[str] = "ash-p"
    title: ClassVar[str] = "ASH-P"
    published: ClassVar[float] = 0.6

    def shaped(self, features: "Tensor", kept: "Tensor") -> "Tensor":
        """The kept ones."""
        return kept


class AshB(_Ash):
    """ASH-B: the energy of the kept activations all set to one value, so that their sum is that of all before."""

    name: ClassVar[str] = "ash-b"
    title: ClassVar[str] = "ASH-B"
    published: ClassVar[float] = 0.65

    def shaped(self, features: "Tensor", kept: "Tensor") -> "Tensor":
        """The sum of all, spread evenly over the places of the kept ones."""
        import torch

        places = largest(features, self.percentile, mark=True)
        return torch.where(places > 0, features.sum(1, keepdim=True) / places.sum(1, keepdim=True), 0)


class AshS(_Ash):
    """ASH-S: the energy of the kept activations scaled by exp(sum of all / sum of the kept)."""

    name: ClassVar[str] = "ash-s"
    title: ClassVar[str] = "ASH-S"
    published: ClassVar[float] = 0.9

    def shaped(self, features: "Tensor", kept: "Tensor") -> "Tensor":
        """The kept ones, scaled."""
        return kept * sharpening(features, kept)


def largest(features: "Tensor", percentile: float, *, mark: bool = False) -> "Tensor":
    """Of each row of (n, D) the largest values, at least one, at their places; 0 in the others, a share ``percentile``.

    Args:
        features: (n, D).
        percentile: share of the values that is set to 0, in [0, 1).
        mark: give 1 in place of the kept values.
    """
    import torch

    width = features.shape[1]
    values, places = features.topk(max(1, width - round(width * percentile)), dim=1)
    return torch.zeros_like(features).scatter_(1, places, torch.ones_like(values) if mark else values)


def sharpening(features: "Tensor", kept: "Tensor") -> "Tensor":
    """exp(sum of all / sum of the kept) for each row: (n, 1); 1 where both are 0, as of an image without activations."""
    import torch

    whole, part = features.sum(1, keepdim=True), kept.sum(1, keepdim=True)
    return torch.where(part == 0, torch.zeros_like(part), whole / part).exp()
