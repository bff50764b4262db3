"""VGG, GoogLeNet and Inception-v3 cut off at stride 16, to stand in a GapNet.

The networks that class activation maps were introduced with: "VGG-GAP" and "GoogLeNet-GAP" (Zhou et al., CVPR 2016,
sec. 3.1), whose maps are 14x14 for images of 224 pixels. All that remains of the network keeps its weights.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import NamedTuple

import timm
import torchvision
from torch import Tensor, nn

_GOOGLENET_LAST, _INCEPTION_LAST = "inception4e", "Mixed_6e"
_VGG = (timm.models.VGG, torchvision.models.VGG)
_INCEPTION = (timm.models.InceptionV3, torchvision.models.Inception3)


class Places(NamedTuple):
    """Where methods attach to a GapNet, by names of its layers.

    Attributes:
        attention: what ADL stands behind.
        guides: ends of the last two resolutions, which SPG's side branches start from.
    """

    attention: tuple[str, ...]
    guides: tuple[str, ...]


class Cut(NamedTuple):
    """What is kept of a network.

    Attributes:
        features: the kept layers, with an output of ``channels`` at a sixteenth of the input's sides.
        channels: channels of that output.
        places: in a GapNet of these features.
    """

    features: nn.Sequential
    channels: int
    places: Places


def cut(net: nn.Module) -> Cut | None:
    """The part of a VGG, GoogLeNet or Inception-v3 to keep; None for any other network."""
    if isinstance(net, _VGG):
        return _cut_vgg(net)
    if isinstance(net, torchvision.models.GoogLeNet):
        children = _until(net, _GOOGLENET_LAST)
        guides = ("inception3b", _GOOGLENET_LAST)
        return Cut(_sequence(net, children), 832, _places(("maxpool2", *guides), guides))
    if isinstance(net, _INCEPTION):
        return _cut_inception(net)
    return None


def vgg_places(features: nn.Module) -> Places:
    """Where methods attach to VGG-GAP: ADL behind pool3, conv4_3 and conv5_3, as its authors have it.

    Args:
        features: VGG's layers to conv5_3 with its ReLU.
    """
    layers = list(features.children())
    pools = [place for place, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
    before_pool4, last = str(pools[3] - 1), str(len(layers) - 1)
    return _places((str(pools[2]), before_pool4, last), (before_pool4, last))


def has_no_pooled_map(net: nn.Module) -> bool:
    """Whether a network can be localised with only when it is cut, as VGG with its fully connected layers."""
    return isinstance(net, _VGG)


def _places(attention: tuple[str, ...], guides: tuple[str, ...]) -> Places:
    return Places(*(tuple(f"features.{name}" for name in names) for names in (attention, guides)))


def _cut_vgg(net: nn.Module) -> Cut:
    """To conv5_3 with its ReLU."""
    layers = list(net.get_submodule("features").children())
    last_pool = max(place for place, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d))
    features = nn.Sequential(*layers[:last_pool])
    channels = next(layer.out_channels for layer in reversed(features) if isinstance(layer, nn.Conv2d))
    return Cut(features, channels, vgg_places(features))


def _cut_inception(net: nn.Module) -> Cut:
    """To Mixed_6e, padded where the original is not, so that every stride of 2 halves the sides exactly."""
    children = _until(net, _INCEPTION_LAST)
    for name in ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_4a_3x3"):
        convolution = children[name].get_submodule("conv")
        assert isinstance(convolution, nn.Conv2d)
        convolution.padding = (1, 1)
    pools = {name: layer for name, layer in children.items() if isinstance(layer, nn.MaxPool2d)}
    for pool in pools.values():
        pool.padding = 1
    # Mixed_6a pools inside its forward; a border of zeros below and right pads all its branches.
    padded = {"Mixed_6a": nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), children["Mixed_6a"])}
    guides = ("Mixed_5d", _INCEPTION_LAST)
    return Cut(_sequence(net, {**children, **padded}), 768, _places(([*pools][-1], *guides), guides))


def _until(net: nn.Module, last: str) -> dict[str, nn.Module]:
    children = list(net.named_children())
    names = [name for name, _ in children]
    kept = children[: names.index(last) + 1]
    return {name: layer for name, layer in kept if not name.startswith(("Aux", "aux"))}


def _sequence(net: nn.Module, children: dict[str, nn.Module]) -> nn.Sequential:
    first: Iterable[tuple[str, nn.Module]] = ()
    if getattr(net, "transform_input", False):
        first = [("transform_input", _Call(net._transform_input))]  # type: ignore[arg-type]  # noqa: SLF001 - torchvision has no public name for it
    return nn.Sequential(OrderedDict([*first, *children.items()]))


class _Call(nn.Module):
    """torchvision's published weights of these networks want another normalisation, which their class applies."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._function = function

    def forward(self, x: Tensor) -> Tensor:
        return self._function(x)
