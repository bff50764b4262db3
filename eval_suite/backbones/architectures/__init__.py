"""Architectures that timm and torchvision lack; importing this package registers them with timm."""

from eval_suite.backbones.architectures import (
    cifar_resnet,
    gather_excite,
    pyramidnet,
    resnet18_cifar,
    vgg_gap,
)

__all__ = ["cifar_resnet", "gather_excite", "pyramidnet", "resnet18_cifar", "vgg_gap"]
