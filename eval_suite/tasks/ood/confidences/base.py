"""What a confidence function is, and how those that an evaluation names are made (no torch, so help stays fast)."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from eval_suite.core.parts import part
from eval_suite.core.records import Paper

if TYPE_CHECKING:
    from torch import Tensor, nn

    from eval_suite.backbones.backbone import Backbone


class Head(NamedTuple):
    """The layer that makes logits: ``weight`` (classes, D) and ``bias`` (classes,) in double precision on the CPU."""

    weight: "Tensor"
    bias: "Tensor"

    def logits(self, features: "Tensor") -> "Tensor":
        """Logits (n, classes) of features (n, D), float64."""
        return features.double() @ self.weight.T + self.bias

    def energy(self, features: "Tensor") -> "Tensor":
        """log Σ_c exp(z_c) of their logits: (n,) float64."""
        return self.logits(features).logsumexp(1)


class TrainingFeatures(NamedTuple):
    """What scores learn from.

    Attributes:
        features: (n, D) of training images; (0, D) or empty where no score is fitted.
        labels: (n,) of the same images.
        layer: the layer that makes logits of features, if the network has one.
        logits: (n, classes) of the same images.
    """

    features: "Tensor"
    labels: "Tensor"
    layer: "nn.Linear | None" = None
    logits: "Tensor | None" = None

    def head(self) -> Head:
        """The layer's weights."""
        assert self.layer is not None  # scores that ask for it are kept from networks without
        weight = self.layer.weight.detach().cpu().double()
        bias = self.layer.bias
        return Head(weight, weight.new_zeros(len(weight)) if bias is None else bias.detach().cpu().double())


class FitOptions(NamedTuple):
    """The hyper-parameters of all scores, under the names that the task's options have."""

    knn_k: int
    react_percentile: float
    vim_dimension: int | None
    ash_percentile: float | None
    scale_percentile: float
    dice_sparsity: float
    nnguide_k: int
    vra_percentiles: tuple[float, float]

    @classmethod
    def of(cls, options: Any) -> "FitOptions":
        """Those among the options of the task."""
        return cls(*(getattr(options, name) for name in cls._fields))


class OodScore:
    """A confidence: larger for images that look more in-distribution.

    Attributes:
        name: in options and in params of metrics.
        title: in the names of metrics.
        paper: where it comes from.
        fitted: whether `fit` has to see training images first.
        of_layer: whether it needs the features and the last layer of the network, training images or not.
        of_covariance: whether it rests on how the features of training images vary together, which few images do not show.
        of_features: whether it takes nothing but features, so that a network without classes will do.
        of_logits: whether it takes nothing but logits, also where it is fitted.
        of_activations: whether it is defined for activations of at least 0, as a ReLU leaves them.
        of_labels: whether it compares labels of training images with the network's outputs.
        of_maps: whether it needs feature maps; `prepare` then finds them in the network, and what `statistics` keeps of
            each image takes the place of its features.
        of_images: whether it needs the images and the network themselves, as ODIN does; the task then runs it.
        candidates: its hyper-parameters by the task's option, each with the values among which validation sets choose.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[Paper]
    fitted: ClassVar[bool] = False
    of_layer: ClassVar[bool] = False
    of_covariance: ClassVar[bool] = False
    of_images: ClassVar[bool] = False
    of_features: ClassVar[bool] = False
    of_logits: ClassVar[bool] = False
    of_activations: ClassVar[bool] = False
    of_labels: ClassVar[bool] = False
    of_maps: ClassVar[bool] = False
    candidates: ClassVar[Mapping[str, tuple[Any, ...]]] = {}

    def prepare(self, backbone: "Backbone") -> None:
        """Find the layers whose maps are needed, for a score ``of_maps``.

        Raises:
            InputError: if the network has none.
        """

    def looking(self) -> AbstractContextManager[object]:
        """Inside, the backbone runs on a batch: a score ``of_maps`` may keep what its layers give."""
        return nullcontext()

    def statistics(self, images: "Tensor") -> "Tensor":
        """What is kept of each image (B, S), for a score ``of_maps``, after the backbone ran on them.

        Args:
            images: (B, 3, H, W) in [0, 1], on the device of the backbone that was prepared.
        """
        raise NotImplementedError

    def fit(self, training: TrainingFeatures, options: FitOptions) -> None:
        """Learn from training images, or take what is needed of the last layer and the hyper-parameters.

        Raises:
            InputError: if there are fewer than the score needs.
        """

    def __call__(self, logits: "Tensor", features: "Tensor") -> "Tensor":
        """Confidences (n,), float64, of logits (n, classes) and features (n, D), which are empty where no score needs them."""
        raise NotImplementedError


def needs_features(score: type[OodScore]) -> bool:
    """Whether features have to be computed for a score, which are the input of a linear layer where the network has classes."""
    return score.of_layer or (score.fitted and not (score.of_logits or score.of_maps or score.of_images))


def make_confidences(
    names: Iterable[str], training: TrainingFeatures, options: FitOptions
) -> dict[str, OodScore]:
    """The confidences of some names by their own, fitted; without those of images or maps, which need the network.

    Raises:
        InputError: if there are fewer training images than a score needs.
    """
    made: dict[str, OodScore] = {}
    for spec in names:
        kind: type[OodScore] = part("ood_score", spec)
        if kind.of_images or kind.of_maps:
            continue
        score = kind()
        score.fit(training, options)
        made[score.name] = score
    return made
