"""Small backbones that the tests of localisation share."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from eval_suite.backbones.backbone import Backbone, finish
from eval_suite.backbones.building import build_net
from eval_suite.core.cards import BackboneCard

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def wrap(net: nn.Module, size: int, classes: Sequence[str] = (), **fields: Any) -> Backbone:
    card = BackboneCard(
        name="net",
        source="net",
        arch=fields.pop("arch", "net"),
        classes=list(classes),
        input_size=(size, size),
        mean=MEAN,
        std=STD,
        **fields,
    )
    return finish(net, card)


def backbone(arch: str, size: int, classes: int = 4, **options: Any) -> Backbone:
    """A randomly initialised one, with statistics of its batch normalisation that are not the initial ones."""
    torch.manual_seed(0)
    net = build_net(arch, classes, options)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    return wrap(net, size, arch=arch)


def tiny(classes: int = 4) -> Backbone:
    return backbone("resnet14_demo", 32, classes, blocks=2, channels=(4, 8, 16))


def images(count: int, size: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))
