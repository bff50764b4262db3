"""ADL: attention-based dropout layers within the network, in training only (Choe and Shim, CVPR 2019)."""

import torch
from torch import Tensor, nn

from eval_suite.core.errors import InputError
from eval_suite.tasks.wsol.localiser import Localiser, require_layer
from eval_suite.tasks.wsol.methods.method import Method


class Adl(Method):
    """Attention-based dropout behind some layers; the network has no further parameters and is unchanged at test."""

    def prepare(self, localiser: Localiser) -> Localiser:
        """Put a dropout layer behind each layer named, or behind those of the authors.

        Raises:
            InputError: if a layer does not exist, or none is named and the authors' are not known for this network.
        """
        layers = self.settings.layers or localiser.attention
        if not layers:
            raise InputError(
                "it is not known behind which layers ADL stands in this network (it is for ResNets, VGG, GoogLeNet and "
                "Inception-v3); name them: method: {adl: {layers: [...]}}"
            )
        for name in layers:
            require_layer(localiser.net, name).register_forward_hook(
                AttentionDropout(self.settings.drop_rate, self.settings.gamma)
            )
        return localiser


class AttentionDropout:
    """A forward hook that weights a layer's output by its attention, or takes the attention's peak away.

    Args:
        drop_rate: probability of the latter, drawn once for a batch from torch's global generator.
        gamma: share of the attention's maximum from which a pixel belongs to the peak.
    """

    def __init__(self, drop_rate: float, gamma: float) -> None:
        self.drop_rate, self.gamma = drop_rate, gamma

    def __call__(self, module: nn.Module, _inputs: object, output: Tensor) -> Tensor | None:
        """The changed output in training; None, which leaves it, else."""
        if not module.training:
            return None
        attention = output.mean(1, keepdim=True)
        if float(torch.rand(())) < self.drop_rate:
            return output * drop_mask(attention, self.gamma)
        return output * attention.sigmoid()


def drop_mask(attention: Tensor, gamma: float) -> Tensor:
    """0 where the attention (N, 1, h, w) reaches ``gamma`` times its maximum over the pixels, 1 elsewhere."""
    peak = attention.amax((2, 3), keepdim=True)
    return (attention < gamma * peak).to(attention.dtype)
