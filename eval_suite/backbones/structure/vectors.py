"""What a network without classes returns, as one vector an image; and how it differs from one with classes."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

_ENTRIES = (
    "image_embeds",
    "pooler_output",
    "last_hidden_state",
)  # of the Hub's model outputs, the best first
LAST_LAYERS = ("fc", "head", "heads", "classifier", "last_linear")
_MAP, _TOKENS, _VECTOR = 4, 3, 2


class Vectors(NamedTuple):
    """Vectors (N, D) and, in words, what of a network's output they are."""

    values: Tensor
    how: str


def vectors_of(output: object) -> Vectors | None:
    """The vectors in what a network without classes returns; None where it holds none.

    Args:
        output: (N, D); a map (N, C, h, w), of which the mean over its places is taken; tokens (N, T, C), of which the
            first is taken, the class token of the networks that return them all; or the Hub's mapping of outputs.
    """
    if isinstance(output, Mapping):
        name = next((entry for entry in _ENTRIES if isinstance(output.get(entry), Tensor)), None)
        inside = vectors_of(output[name]) if name else None
        return inside and Vectors(inside.values, f"'{name}', {inside.how}")
    if not isinstance(output, Tensor):
        return None
    if output.ndim == _VECTOR:
        return Vectors(output, "its output")
    if output.ndim == _MAP:
        return Vectors(output.mean((2, 3)), "the mean over the map that it returns")
    if output.ndim == _TOKENS:
        return Vectors(output[:, 0], "the first of the tokens that it returns")
    return None


def lacks_last_layer(net: nn.Module, last: str) -> bool:
    """Whether a network says that it has no classes: timm's by their number, others by nothing in the last layer's place.

    Args:
        net: the network.
        last: dotted name of the layer that finishes last.
    """
    if getattr(net, "num_classes", None) == 0:
        return True
    name = last.rpartition(".")[2]
    return name in LAST_LAYERS and isinstance(net.get_submodule(last), nn.Identity)
