"""ACoL: a second classifier learns from what the first one did not look at (Zhang et al., CVPR 2018)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.inference import autocast
from eval_suite.backbones.structure.hooks import outputs_of
from eval_suite.tasks.wsol.localiser import TRUNK, Localiser, trunk
from eval_suite.tasks.wsol.maps import ClassMaps, Extractor, activation_maps, min_max
from eval_suite.tasks.wsol.methods.method import Method, hard_labels
from eval_suite.training.objective import Objective


class Acol(Method):
    """Adversarial complementary learning: two classifiers on one feature map; the map is the larger of theirs."""

    def prepare(self, localiser: Localiser) -> Localiser:
        """The network with two classifiers in place of its own."""
        net = AcolNet(
            trunk(localiser), localiser.body, localiser.channels, localiser.classes, self.settings.delta
        )
        return localiser._replace(
            net=net, feature_layer="first.features", head="first.linear", new=("first", "second")
        )

    def objective(self, backbone: Backbone, localiser: Localiser) -> Objective:
        """The sum of the cross entropies of both."""
        return _BothClassifiers(backbone, network=f"net.{TRUNK}")

    def extractor(self, backbone: Backbone, precision: str) -> Extractor:
        """The element-wise maximum of both normalised maps."""
        return _LargerMaps(backbone, precision)


class Branches(NamedTuple):
    """Logits (N, classes) of both classifiers and their maps (N, h, w) of one class."""

    first: Tensor
    second: Tensor
    first_map: Tensor
    second_map: Tensor


class Classifier(nn.Module):
    """Two 3x3 convolutions, global average pooling and a linear layer.

    Args:
        channels: of the feature map.
        classes: outputs.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.features = convolutions(channels)
        self.linear = nn.Linear(width_of(channels), classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of a feature map."""
        logits: Tensor = self.linear(self.features(x).mean((2, 3)))
        return logits

    def with_map(self, x: Tensor, wanted: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, and map and number of the wanted or else the predicted class."""
        features = self.features(x)
        logits = self.linear(features.mean((2, 3)))
        chosen = logits.argmax(1) if wanted is None else wanted
        return logits, activation_maps(features, self.linear.weight, chosen), chosen


class AcolNet(nn.Module):
    """A trunk with two classifiers, of which the second sees features without the first one's most certain part.

    Args:
        trunk: network whose layer ``body`` gives the feature map.
        body: dotted name of that layer.
        channels: of the map.
        classes: outputs.
        delta: value of the first classifier's normalised map from which features are erased.
    """

    def __init__(self, trunk: nn.Module, body: str, channels: int, classes: int, delta: float) -> None:
        super().__init__()
        self.trunk, self.body, self.delta = trunk, body, delta
        self.pool = nn.AvgPool2d(3, stride=1, padding=1)
        self.first = Classifier(channels, classes)
        self.second = Classifier(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of the first classifier."""
        logits: Tensor = self.first(self._features(x))
        return logits

    def branches(self, x: Tensor, wanted: Tensor | None) -> Branches:
        """Both classifiers on normalised images (N, 3, H, W); the predicted class where none is wanted."""
        features = self._features(x)
        first, first_map, chosen = self.first.with_map(features, wanted)
        keep = min_max(first_map.detach()) < self.delta
        second, second_map, _ = self.second.with_map(features * keep.unsqueeze(1), chosen)
        return Branches(first, second, first_map, second_map)

    def _features(self, x: Tensor) -> Tensor:
        with outputs_of(self.trunk, (self.body,)) as kept:
            self.trunk(x)
        pooled: Tensor = self.pool(kept[self.body])
        return pooled


def width_of(channels: int) -> int:
    """Channels of the new convolutions: 1024 on the networks of the papers, less on narrow ones."""
    return min(1024, 2 * channels)


def convolutions(channels: int) -> nn.Sequential:
    """Two 3x3 convolutions with ReLU."""
    width = width_of(channels)
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU()
    )


class _BothClassifiers(Objective):
    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        found = _branches(self.backbone, images, hard_labels(targets))
        return F.cross_entropy(found.first.float(), targets) + F.cross_entropy(found.second.float(), targets)


class _LargerMaps:
    def __init__(self, backbone: Backbone, precision: str) -> None:
        self._backbone, self._precision = backbone, precision

    @torch.inference_mode()
    def __call__(self, images: Tensor, wanted: Tensor | None) -> ClassMaps:
        with autocast(images.device, self._precision):
            found = _branches(self._backbone, images, wanted)
        return ClassMaps(
            found.first.float(), torch.maximum(min_max(found.first_map), min_max(found.second_map))
        )


def _branches(backbone: Backbone, images: Tensor, wanted: Tensor | None) -> Branches:
    assert isinstance(backbone.net, AcolNet)
    return backbone.net.branches(backbone.normalise(images), wanted)
