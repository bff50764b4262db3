"""From any backbone to a network that localises: a larger last feature map and a new last layer."""

import copy
from collections import OrderedDict
from typing import NamedTuple

import torch
from torch import Tensor, nn

from eval_suite.backbones.architectures.vgg_gap import GapNet
from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.inference import require_finite
from eval_suite.backbones.structure.classifier import ClassifierLayer, pooled_classifier, pooled_weights
from eval_suite.backbones.structure.hooks import evaluating, outputs_of
from eval_suite.backbones.structure.stages import residual_stages
from eval_suite.backbones.structure.tokens import dense_layer, token_layer
from eval_suite.backbones.structure.vectors import vectors_of
from eval_suite.core.cards import BackboneCard
from eval_suite.core.errors import InputError, unknown_name
from eval_suite.tasks.wsol.gap import cut, has_no_pooled_map, vgg_places

_IMAGES = 8  # of noise, among which a wrong guess at the last layer shows
TRUNK = "trunk"
"""Where the network of a method that brings its own last layers keeps what `trunk` gave it."""


class Localiser(NamedTuple):
    """A network prepared for localisation.

    Attributes:
        net: normalised images (N, 3, H, W) → logits (N, classes); a copy, also of the weights.
        feature_layer: layer whose output (N, C, h, w) is pooled and classified by ``head``.
        head: the layer that classifies.
        body: layer with the last feature map that comes from the backbone's own weights.
        channels: of that map.
        classes: outputs of the network.
        new: layers initialised anew.
        attention: layers that ADL stands behind; empty where unknown.
        guides: layers that SPG's side branches start from; empty where unknown.
        notes: what a user should know of how the network was changed.
    """

    net: nn.Module
    feature_layer: str
    head: str
    body: str
    channels: int
    classes: int
    new: tuple[str, ...]
    attention: tuple[str, ...]
    guides: tuple[str, ...]
    notes: tuple[str, ...]


def with_map(backbone: Backbone) -> Backbone:
    """The backbone with its last tokens for a feature map, where it has tokens and no map; else as it is."""
    if backbone.card.feature_layer is not None:
        return backbone
    layer = token_layer(backbone.net, backbone.normalise(backbone.noise(2)))
    card = backbone.card.model_copy(update={"feature_layer": layer})
    return Backbone(backbone.net, card).eval() if layer is not None else backbone


def make_localiser(backbone: Backbone, classes: int, *, enlarge: bool) -> Localiser:
    """Prepare a copy of a backbone for localisation; the backbone itself is left alone.

    The last stage of a ResNet gets stride 1 and keeps its weights (``layer4`` for 14x14 maps of 224 pixels). VGG
    becomes VGG-GAP; GoogLeNet and Inception-v3 are cut off alike. A VGG-GAP is large as it is. Any other network keeps
    its map, said in a note.
    The last linear layer is initialised anew, by torch's global generator.

    Args:
        backbone: any network with a feature map or tokens of patches. Where it does not end in global average pooling and a
            linear layer, nor is a VGG, a new layer reads the mean of the map, and what stands behind the map is left out.
        classes: outputs of the new last layer.
        enlarge: whether to enlarge the last feature map.

    Raises:
        InputError: if it has neither.
    """
    given, backbone = backbone, with_map(backbone)
    net = copy.deepcopy(backbone.net)
    kept = cut(net) if enlarge or has_no_pooled_map(net) else None
    if kept is not None:
        return Localiser(
            GapNet(kept.features, kept.channels, classes),
            feature_layer="relu",
            head="fc",
            body="features",
            channels=kept.channels,
            classes=classes,
            new=("conv6", "fc"),
            attention=kept.places.attention,
            guides=kept.places.guides,
            notes=(),
        )
    layer = backbone.card.feature_layer
    stages = residual_stages(net)
    notes: tuple[str, ...] = ()
    head = linear_head(backbone)
    if head is not None:
        channels, head_name = head.weight.shape[1], head.name
        replace_layer(net, head.name, head.renewed(classes))
    else:
        images = backbone.normalise(backbone.noise(2))
        layer = given.card.feature_layer or dense_layer(backbone.net, images)
        if layer is None:
            raise InputError(
                expected=f"a feature map, or tokens of patches, of '{given.card.name}' ({given.card.arch}) for a fit",
                found="neither",
                remedy="name a layer with --feature-layer",
            )
        body = _MeanOf(net, layer, images)
        if not (backbone.card.headless and _returns_mean(backbone, body, images)):
            notes = (f"the new last layer reads the mean of '{layer}'; what stands behind that is left out",)
        channels, head_name = body.channels, "fc"
        net = nn.Sequential(OrderedDict(body=body, fc=nn.Linear(channels, classes)))
        inside = "body.net."
        layer, stages = f"{inside}{layer}", [f"{inside}{stage}" for stage in stages]
    assert layer is not None
    if isinstance(net, GapNet):  # its map is the enlarged one
        attention, guides = vgg_places(net.features)
    else:
        attention, guides = _residual_attention(net, stages), tuple(stages[-3:-1]) if len(stages) > 2 else ()
        notes += _enlarge(net, stages, layer, backbone.card) if enlarge else ()
    return Localiser(
        net,
        feature_layer=layer,
        head=head_name,
        body=layer,
        channels=channels,
        classes=classes,
        new=(head_name,),
        attention=attention,
        guides=guides,
        notes=notes,
    )


class _MeanOf(nn.Module):
    """The mean over a layer's map, whatever the network does behind it, which is left out and does not learn."""

    def __init__(self, net: nn.Module, layer: str, images: Tensor) -> None:
        super().__init__()
        self.net = net
        self._layer = layer
        # Processes that train together wait for the gradient of every weight that learns.
        with torch.enable_grad():
            mean = self.eval()(images)
            used = [name for name, weight in net.named_parameters() if weight.requires_grad]
            weights = [net.get_parameter(name) for name in used]
            gradients = torch.autograd.grad(mean.sum(), weights, allow_unused=True)
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.requires_grad_(gradient is not None)
        self.channels: int = mean.shape[1]

    def forward(self, images: Tensor) -> Tensor:
        with outputs_of(self.net, [self._layer]) as kept:
            self.net(images)
        return kept[self._layer].mean((2, 3))


def _returns_mean(backbone: Backbone, body: _MeanOf, images: Tensor) -> bool:
    """Whether a network of features returns the mean of its map, behind which nothing stands then."""
    with evaluating(backbone.net) as net:
        found = vectors_of(net(images))
        mean = body(images)
    same_shape = found is not None and found.values.shape == mean.shape
    return same_shape and torch.allclose(found.values, mean, rtol=1e-3, atol=1e-5)  # type: ignore[union-attr]


def linear_head(backbone: Backbone) -> ClassifierLayer | None:
    """The layer that classifies the average of the last feature map; None where the network does not end so.

    Raises:
        EvalSuiteError: if its logits are not finite.
    """
    card = backbone.card
    image = backbone.noise(1)
    with evaluating(backbone):
        require_finite(bool(backbone(image).isfinite().all()), card, "")
    if card.feature_layer is None or card.headless:
        return None
    return pooled_classifier(backbone.net, backbone.normalise(image), card.feature_layer)


def map_weights(backbone: Backbone) -> Tensor:
    """What plain class maps weigh the channels of the last feature map by: (classes, C).

    Raises:
        InputError: if the logits are no linear function of the map's mean, and no cosine to it.
        EvalSuiteError: if its logits are not finite.
    """
    card = backbone.card
    layer = linear_head(backbone)
    if layer is not None:
        return layer.weight
    if card.feature_layer is not None:
        weights = pooled_weights(
            backbone.net, backbone.normalise(backbone.noise(_IMAGES)), card.feature_layer
        )
        if weights is not None:
            return weights
    behind = f"behind '{card.feature_layer}'" if card.feature_layer else "without a feature map"
    raise InputError(
        expected=f"logits of '{card.name}' ({card.arch}) that one layer makes of the mean of the last feature map, which "
        "plain maps are read off",
        found=f"another end, {behind}",
        remedy="choose another --cam-method, such as gradcam, or let a fit (--fit.preset) put a new last layer behind the map",
    )


def require_layer(net: nn.Module, name: str) -> nn.Module:
    """A layer by its dotted name.

    Raises:
        InputError: if there is none; the message gives the nearest.
    """
    layers = dict(net.named_modules())
    if name not in layers or not name:
        raise unknown_name("layer", name, [known for known in layers if known])
    return layers[name]


def replace_layer(net: nn.Module, name: str, layer: nn.Module) -> None:
    """Put another layer in the place of one."""
    parent, _, own = name.rpartition(".")
    setattr(net.get_submodule(parent), own, layer)


def trunk(localiser: Localiser) -> nn.Module:
    """The network without the layers initialised anew, for methods that bring their own; its output is not used."""
    for name in localiser.new:
        replace_layer(localiser.net, name, nn.Identity())
    return localiser.net


def _residual_attention(net: nn.Module, stages: list[str]) -> tuple[str, ...]:
    """Behind the first block of the last but one stage, and the first and last blocks of the last one.

    For ResNet-50: layer3 block 0, layer4 blocks 0 and 2.
    """
    if len(stages) < 2:
        return ()
    before, last = ([name for name, _ in net.get_submodule(stage).named_children()] for stage in stages[-2:])
    places = (f"{stages[-2]}.{before[0]}", f"{stages[-1]}.{last[0]}", f"{stages[-1]}.{last[-1]}")
    return tuple(dict.fromkeys(places))


def _enlarge(net: nn.Module, stages: list[str], layer: str, card: BackboneCard) -> tuple[str, ...]:
    """Take the stride out of the last stage; where that cannot be done the stage stays as it is, said in a note."""
    before = _map_size(net, layer, card)
    if stages and layer.startswith(stages[-1]):
        stage = net.get_submodule(stages[-1])
        original = copy.deepcopy(stage)
        _take_stride_out(stage)
        try:
            after = _map_size(net, layer, card)
        except RuntimeError:
            after = before
        if min(after) > min(before):
            return ()
        replace_layer(net, stages[-1], original)
    return (
        f"{card.arch} keeps its last feature map of {before[0]}x{before[1]}: it is not known how to enlarge it",
    )


def _take_stride_out(stage: nn.Module) -> None:
    for name, module in list(stage.named_modules()):
        stride = getattr(module, "stride", 1)
        if stride in (1, (1, 1)):
            continue
        if isinstance(module, nn.Conv2d):
            module.stride = (1, 1)
        elif any(True for _ in module.parameters()):
            setattr(module, "stride", 1)  # noqa: B010 - a block that keeps the number for its shortcut
        else:
            replace_layer(stage, name, nn.Identity())  # pooling in the shortcut, or against aliasing


def _map_size(net: nn.Module, layer: str, card: BackboneCard) -> tuple[int, int]:
    with evaluating(net), outputs_of(net, (layer,)) as kept:
        net(torch.zeros(1, 3, *card.input_size))
    height, width = kept[layer].shape[-2:]
    return height, width
