"""Every regularizer that can be named, on the smallest network and images that it can do with."""

from typing import Any

import torch

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.building import build_net
from eval_suite.core.parts import parts
from eval_suite.training.network import Network
from eval_suite.training.regularizers import Regularizer

NAMES = sorted(parts("regularizer"))
SIDE = 32
# Options without which one would ask for larger images or for weights from elsewhere, or mix all images as one part.
OPTIONS: dict[str, dict[str, Any]] = {
    "attentive-cutmix": {"extractor": None, "layer": "layer2"},
    "co-mixup": {"part": 4},
    "dropblock": {"block_size": 2},
    "gridmask": {"period": [8, 17]},
}
_VIT = {"img_size": SIDE, "patch_size": 8, "depth": 1, "embed_dim": 24, "num_heads": 3}
# The architecture of those that are not for every residual network.
_ARCHITECTURES: dict[str, dict[str, Any]] = {
    "transmix": {"arch": "vit_tiny_patch16_224", "arch_options": _VIT}
}
_RESIDUAL: dict[str, Any] = {
    "arch": "resnet14_demo",
    "arch_options": {"blocks": 1, "channels": [4, 8, 16]},
}


def made(name: str) -> Regularizer:
    """The regularizer of a name."""
    return parts("regularizer")[name](**OPTIONS.get(name, {}))


def settings(name: str) -> dict[str, Any]:
    """What a recipe says to train with it."""
    return {
        **_ARCHITECTURES.get(name, _RESIDUAL),
        "regularizers": [{name: OPTIONS.get(name, {})}],
        "augmentation": "cifar",
        "input_size": [SIDE, SIDE],
    }


def installed(regularizer: Regularizer, classes: int) -> Network:
    """A network in training on which the regularizer is installed."""
    chosen = _ARCHITECTURES.get(regularizer.name, _RESIDUAL)
    torch.manual_seed(0)
    net = build_net(chosen["arch"], classes, chosen["arch_options"])
    backbone = Backbone.wrap(net, input_size=(SIDE, SIDE), mean=(0.5,) * 3, std=(0.25,) * 3).train()
    network = Network(net, chosen["arch"], (SIDE, SIDE), backbone)
    regularizer.install(network)
    return network
