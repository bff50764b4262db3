"""What a confidence function is, and how those that an evaluation names are made (no torch, so help stays fast)."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from eval_suite.core.parts import part
from eval_suite.core.records import Paper

if TYPE_CHECKING:
    from torch import Tensor, nn


class TrainingFeatures(NamedTuple):
    """Features (n, D) and labels (n,) of training images, and the layer that makes logits of them, if the network has one."""

    features: "Tensor"
    labels: "Tensor"
    layer: "nn.Linear | None" = None

    def weights(self) -> "tuple[Tensor, Tensor]":
        """Weight (classes, D) and bias (classes,) of the layer, in double precision on the CPU."""
        assert self.layer is not None  # scores that ask for it are kept from networks without
        weight = self.layer.weight.detach().cpu().double()
        bias = self.layer.bias
        return weight, weight.new_zeros(len(weight)) if bias is None else bias.detach().cpu().double()


class FitOptions(NamedTuple):
    """Neighbours of KNN, percentile of ReAct as a fraction, and ViM's principal dimension (None for the paper's rule)."""

    neighbours: int
    percentile: float
    dimension: int | None


class OodScore:
    """A confidence: larger for images that look more in-distribution.

    Attributes:
        name: in options and in params of metrics.
        title: in the names of metrics.
        paper: where it comes from.
        fitted: whether `fit` has to see features of training images first; only then are features computed.
        of_covariance: whether it rests on how the features of training images vary together, which few images do not show.
        of_features: whether it takes nothing but features, so that a network without classes will do.
        of_images: whether it needs the images and the network themselves, as ODIN does; the task then runs it.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[Paper]
    fitted: ClassVar[bool] = False
    of_covariance: ClassVar[bool] = False
    of_images: ClassVar[bool] = False
    of_features: ClassVar[bool] = False

    def fit(self, training: TrainingFeatures, options: FitOptions) -> None:
        """Learn from training images.

        Raises:
            InputError: if there are fewer than the score needs.
        """

    def __call__(self, logits: "Tensor", features: "Tensor") -> "Tensor":
        """Confidences (n,), float64, of logits (n, classes) and features (n, D), which are empty unless ``fitted``."""
        raise NotImplementedError


def make_confidences(
    names: Iterable[str], training: TrainingFeatures | None, options: FitOptions
) -> dict[str, OodScore]:
    """The confidences of some names by their own, fitted where they need it; without those of images.

    Raises:
        InputError: if there are fewer training images than a score needs.
    """
    made: dict[str, OodScore] = {}
    for spec in names:
        score: OodScore = part("ood_score", spec)()
        if score.of_images:
            continue
        if score.fitted:
            assert training is not None
            score.fit(training, options)
        made[score.name] = score
    return made
