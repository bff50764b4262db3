"""MMDetection's own ResNet and ResNeXt in the place of timm's and torchvision's, where they are the same network."""

import copy
from typing import Any

import torch
from torch import nn

from eval_suite.backbones.structure.hooks import outputs_of
from eval_suite.backbones.structure.stages import residual_stages

_DEPTHS = {(2, 2, 2, 2): 18, (3, 4, 6, 3): 50, (3, 4, 23, 3): 101, (3, 8, 36, 3): 152}
_SIDE = 96


def own_resnet(net: nn.Module, *, stages: int, out: tuple[int, ...]) -> dict[str, Any] | None:
    """The config of MMDetection's backbone that computes the same as a network's first stages; None for any other.

    Which network it is, is read off its layers and then checked: every weight of the stem and of these stages must have
    its place, none may be left over, and the maps of a random image must be the same, also where weights of zero keep
    a residual branch from being seen.

    Args:
        net: a classifier.
        stages: residual stages the detector needs, from the first.
        out: which of them give a map, counted from 0.
    """
    config = _described(net)
    if config is None:
        return None
    config |= {
        "num_stages": stages,
        "strides": (1, 2, 2, 2)[:stages],
        "dilations": (1,) * stages,
        "out_indices": out,
    }
    from mmdet.registry import MODELS

    equivalent = MODELS.build({**config, "norm_cfg": {"type": "BN"}})
    places = {key: value.shape for key, value in equivalent.state_dict().items()}
    children = {key.split(".")[0] for key in places}
    shown = _shown(net)
    theirs = {key: value for key, value in shown.state_dict().items() if key.split(".")[0] in children}
    if places != {key: value.shape for key, value in theirs.items()}:
        return None
    equivalent.load_state_dict(theirs)
    return config if _same_maps(shown, equivalent, [f"layer{i + 1}" for i in out]) else None


def _described(net: nn.Module) -> dict[str, Any] | None:
    layers = [net.get_submodule(name) for name in residual_stages(net)]
    if len(layers) != 4 or not all(isinstance(layer, nn.Sequential) for layer in layers):
        return None
    first = layers[0][0]  # type: ignore[index]
    bottleneck = hasattr(first, "conv3")
    depth = _DEPTHS.get(tuple(len(layer) for layer in layers))  # type: ignore[arg-type]
    if depth == 50 and not bottleneck:
        depth = 34
    if (
        depth is None
        or bottleneck != (depth >= 50)
        or not isinstance(getattr(first, "conv2", None), nn.Conv2d)
    ):
        return None
    groups = first.conv2.groups
    if groups == 1:
        return {"type": "ResNet", "depth": depth, "style": "pytorch"}
    width = first.conv2.out_channels // groups
    return {"type": "ResNeXt", "depth": depth, "groups": groups, "base_width": width, "style": "pytorch"}


@torch.no_grad()
def _shown(net: nn.Module) -> nn.Module:
    """A copy whose normalisation hides no branch: the last one of a residual branch often begins at zero."""
    copied = copy.deepcopy(net)
    generator = torch.Generator().manual_seed(0)
    for layer in copied.modules():
        if isinstance(layer, nn.BatchNorm2d) and layer.affine:
            layer.weight.uniform_(0.2, 0.6, generator=generator)
    return copied


@torch.no_grad()
def _same_maps(net: nn.Module, equivalent: nn.Module, layers: list[str]) -> bool:
    image = torch.randn(1, 3, _SIDE, _SIDE, generator=torch.Generator().manual_seed(0))
    with outputs_of(net, layers) as kept:
        net.eval()(image)
    equivalent.eval()  # which gives nothing back in MMDetection's networks
    maps = equivalent(image)
    return all(
        a.shape == b.shape and torch.allclose(a, b, rtol=1e-4, atol=1e-5 * float(a.abs().max()))
        for a, b in zip(kept.values(), maps, strict=True)
    )
