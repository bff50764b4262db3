"""Token networks: where patch tokens lie in the image, and which layer gives the last that the logits depend on."""

from typing import Any

import torch
from torch import Tensor, nn

from eval_suite.backbones.structure.hooks import evaluating, watching
from eval_suite.backbones.structure.layout import map_of


def token_layer(net: nn.Module, images: Tensor) -> str | None:
    """The last layer whose places in the image the outputs depend on, in a network without a feature map (N, C, h, w).

    Where the outputs are made of a class token, that token alone reads what the last block gives, and no patch has a gradient
    there: the layer is then one before the last attention, as in ``blocks.11.norm1``.

    Args:
        net: the network.
        images: normalised images (N, 3, H, W) to find it with.

    Returns:
        Its dotted name; None where no layer gives tokens (N, prefix + h*w, C) of patches whose grid is known, or maps with
        their channels last.
    """
    size = (images.shape[2], images.shape[3])
    seen: list[tuple[str, Tensor]] = []

    def see(name: str, _layer: nn.Module, _inputs: tuple[object, ...], output: object) -> None:
        if not (isinstance(output, Tensor) and output.requires_grad):
            return
        places = map_of(output, size, net)
        if places is not None and places.shape[2] * places.shape[3] > 1:
            seen.append((name, output))

    with evaluating(net), torch.enable_grad(), watching(net, see):
        outputs = net(images.detach().requires_grad_())
    if not seen or not isinstance(outputs, Tensor):
        return None
    channels = seen[-1][1].shape[-1]
    # A random direction, as a sum over classes may have no gradient by symmetry.
    direction = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(0)).to(outputs)
    for name, output in reversed(seen):
        if output.shape[-1] != channels:
            continue
        (gradient,) = torch.autograd.grad(
            (outputs * direction).sum(), output, retain_graph=True, allow_unused=True
        )
        places = None if gradient is None else map_of(gradient, size, net)
        if places is not None and bool(places.any()):
            return name
    return None


def dense_layer(net: nn.Module, images: Tensor) -> str | None:
    """The last layer that gives a map, or tokens of patches, as wide as the network is where timm says how wide.

    Unlike `token_layer`'s, the outputs need not depend on its places: what a class token reads last has been there before.

    Args:
        net: the network.
        images: normalised images (N, 3, H, W) to find it with.

    Returns:
        Its dotted name; None where no layer gives maps, or tokens of patches whose grid is known.
    """
    size = (images.shape[2], images.shape[3])
    width = getattr(net, "num_features", None)
    seen: list[tuple[str, int]] = []

    def see(name: str, _layer: nn.Module, _inputs: tuple[object, ...], output: object) -> None:
        places = map_of(output, size, net) if isinstance(output, Tensor) else None
        if places is not None and places.shape[2] * places.shape[3] > 1:
            seen.append((name, places.shape[1]))

    with evaluating(net), watching(net, see):
        net(images)
    of_width = [name for name, channels in seen if channels == width]
    return next(reversed(of_width or [name for name, _ in seen]), None)


def attention_layers(net: nn.Module) -> list[tuple[str, Any]]:
    """The self-attention layers over all tokens that can show their attention, by dotted name, in order: timm's."""
    return [
        (name, module)
        for name, module in net.named_modules()
        if isinstance(getattr(module, "attn_drop", None), nn.Module)
        and hasattr(module, "fused_attn")
        and hasattr(module, "qkv")
    ]
