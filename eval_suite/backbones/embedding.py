"""The vector of an image: what a network without classes returns, or what the layer that classifies is given."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.structure.classifier import ClassifierLayer, classifier_layer
from eval_suite.core.errors import InputError


class Embedding(NamedTuple):
    """Images (N, 3, H, W) in [0, 1] → vectors (N, D), and in words what they are."""

    of: Callable[[Tensor], Tensor]
    how: str


def embedding_of(backbone: Backbone) -> Embedding:
    """How vectors of images are had from a backbone: from its output, its last layer's input, its last feature map, or by timm.

    Raises:
        InputError: if it has none of them.
    """
    card = backbone.card
    if card.headless:
        return Embedding(backbone, "the network's output")
    layer = classifier_layer(backbone.net, backbone.normalise(backbone.noise(2)))
    if layer is not None:
        return Embedding(_InputOf(backbone, layer), f"the input of '{layer.name}'")
    if card.feature_layer is not None:
        return Embedding(
            lambda images: backbone.features(images).mean((2, 3)), f"the mean of '{card.feature_layer}'"
        )
    of = _before_the_head(backbone)
    if of is not None:
        return Embedding(of, "what timm gives before the head")
    raise InputError(
        expected=f"features of backbone '{card.name}' ({card.arch})",
        found="neither a linear layer at its end nor a feature map",
        remedy="name a layer with --feature-layer, or let the network return its features and say --headless",
    )


def _before_the_head(backbone: Backbone) -> Callable[[Tensor], Tensor] | None:
    """Vectors of timm's networks that end in several linear layers, such as a distilled DeiT: the mean of what these are given."""
    net: Any = backbone.net
    if not (hasattr(net, "forward_features") and hasattr(net, "forward_head")):
        return None

    def of(images: Tensor) -> Tensor:
        vectors: Tensor = net.forward_head(net.forward_features(backbone.normalise(images)), pre_logits=True)
        return vectors

    with torch.no_grad():
        found = of(backbone.noise(2))
    return of if found.ndim == 2 else None


class _InputOf:
    """What a layer is given while a backbone runs."""

    def __init__(self, backbone: Backbone, layer: ClassifierLayer) -> None:
        self._backbone, self._layer = backbone, layer

    def __call__(self, images: Tensor) -> Tensor:
        given: list[Tensor] = []
        handle = self._layer.module.register_forward_pre_hook(lambda _layer, inputs: given.append(inputs[0]))
        try:
            self._backbone(images)
        finally:
            handle.remove()
        return self._layer.vectors(given[-1])[: len(images)]
