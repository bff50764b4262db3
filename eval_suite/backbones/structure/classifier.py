"""The layer that classifies: found by what it computes, in any network."""

from typing import NamedTuple, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from eval_suite.backbones.structure.hooks import evaluating, outputs_of, watching

_TOLERANCE = 1e-4


class ClassifierLayer(NamedTuple):
    """A linear map from features (N, C) to logits (N, classes): a linear layer, or a convolution of one pixel."""

    name: str
    module: nn.Linear | nn.Conv2d

    @property
    def weight(self) -> Tensor:
        """(classes, C)."""
        return self.module.weight.flatten(1)

    def logits(self, features: Tensor) -> Tensor:
        """Logits (N, classes) of features (N, C)."""
        shaped = features[:, :, None, None] if isinstance(self.module, nn.Conv2d) else features
        logits: Tensor = self.module(shaped)
        return logits.flatten(1)

    def vectors(self, given: Tensor) -> Tensor:
        """Features (N, C) of what the layer is given: of maps (N, C, h, w), whose logits are averaged behind it, the mean."""
        return given.mean((2, 3)) if isinstance(self.module, nn.Conv2d) else given.flatten(1)

    def linear(self) -> nn.Linear:
        """The same map as a linear layer."""
        if isinstance(self.module, nn.Linear):
            return self.module
        layer = nn.Linear(self.weight.shape[1], self.weight.shape[0], bias=self.module.bias is not None)
        layer.load_state_dict(
            {
                key: value.flatten(1) if value.ndim > 1 else value
                for key, value in self.module.state_dict().items()
            }
        )
        return layer.to(self.weight)

    def renewed(self, classes: int) -> nn.Module:
        """A layer of its kind with so many outputs, initialised by torch's global generator."""
        channels = self.weight.shape[1]
        if isinstance(self.module, nn.Conv2d):
            return nn.Conv2d(channels, classes, 1)
        return nn.Linear(channels, classes)


def classifier_layer(net: nn.Module, images: Tensor) -> ClassifierLayer | None:
    """The layer whose outputs are the logits, or whose maps have them for their mean; None where there is none.

    Args:
        net: the network.
        images: normalised images (N, 3, H, W) to find it with; of noise, since a constant one may not tell layers apart.
    """
    seen: list[tuple[ClassifierLayer, Tensor]] = []

    def see(name: str, module: nn.Module, _inputs: tuple[object, ...], output: object) -> None:
        if _is_linear(module) and isinstance(output, Tensor):
            seen.append((ClassifierLayer(name, module), output))

    with evaluating(net), watching(net, see):
        logits = net(images)
    for layer, output in reversed(seen):
        if output.flatten(1).shape == logits.shape and torch.equal(output.flatten(1), logits):
            return layer
        if output.ndim == 4 and output.shape[:2] == logits.shape and isinstance(layer.module, nn.Conv2d):
            off = (output.mean((2, 3)) - logits).abs().max()
            if off <= _TOLERANCE * logits.abs().max():
                return layer
    return None


def pooled_classifier(net: nn.Module, images: Tensor, feature_layer: str) -> ClassifierLayer | None:
    """The layer that makes the logits of the mean of the last feature map, which plain class maps take their weights from.

    Args:
        net: the network.
        images: normalised images (N, 3, H, W) to find it with.
        feature_layer: dotted name of the layer with the last feature map (N, C, h, w).

    Returns:
        The layer; None where the network ends otherwise, also where its logits are not finite.
    """
    with evaluating(net), outputs_of(net, [feature_layer]) as kept:
        logits = net(images)
        features = kept[feature_layer]
        if features.ndim != 4:
            return None
        pooled = features.mean((2, 3))
        tolerance = _TOLERANCE * float(logits.abs().max())
        for name, module in net.named_modules():
            if not (name and _is_linear(module) and module.weight.shape[1] == pooled.shape[1]):
                continue
            layer = ClassifierLayer(name, module)
            made = layer.logits(pooled)
            if made.shape == logits.shape and (made - logits).abs().max() <= tolerance:
                return layer
    return None


def pooled_weights(net: nn.Module, images: Tensor, feature_layer: str) -> Tensor | None:
    """What the channels of the last feature map weigh in the logits, where no layer reads its mean.

    Args:
        net: the network.
        images: normalised images (N, 3, H, W) to find out with, several.
        feature_layer: dotted name of the layer with the last feature map (N, C, h, w).

    Returns:
        (classes, C): ones on the diagonal where the logits are the map's means; a weight's rows of length one where the logits
        are the cosines between them and the mean of the map, times a number; None where they are neither.
    """
    with evaluating(net), outputs_of(net, [feature_layer]) as kept:
        logits = net(images)
        features = kept[feature_layer]
        if features.ndim != 4:
            return None
        pooled = features.mean((2, 3))
        tolerance = _TOLERANCE * float(logits.abs().max())
        if pooled.shape == logits.shape and (pooled - logits).abs().max() <= tolerance:
            return torch.eye(logits.shape[1], device=logits.device)
        for _, weight in net.named_parameters():
            if weight.shape != (logits.shape[1], pooled.shape[1]):
                continue
            rows = normalize(weight.detach())
            cosines = normalize(pooled) @ rows.T
            scale = (cosines * logits).sum() / cosines.square().sum()
            if scale > 0 and (scale * cosines - logits).abs().max() <= tolerance:
                return rows
    return None


def _is_linear(module: nn.Module) -> TypeGuard[nn.Linear | nn.Conv2d]:
    return isinstance(module, nn.Linear) or (
        isinstance(module, nn.Conv2d)
        and (module.kernel_size, module.padding, module.groups) == ((1, 1), (0, 0), 1)
    )
