"""ResNet-18 for images of 32 pixels, registered with timm.

timm's ResNet-18 with a 3x3 convolution of stride 1 in place of the stem and its pooling, so that the last map of a
32-pixel image has 4x4 cells: the network of most comparisons of mixers on CIFAR-100. Branches end with a BatchNorm
whose weights start at 1.
"""

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import BasicBlock, ResNet
from torch import nn

_STEM_REDUCTION = 4


class Cifar18(ResNet):
    """timm's ResNet without its stem; options are those of timm's class."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # timm's `stem_type` has deeper stems alone.
        stem = nn.Conv2d(options.get("in_chans", 3), 64, 3, 1, 1, bias=False)
        nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
        self.add_module("conv1", stem)
        self.add_module("maxpool", nn.Identity())
        stages: list[dict[str, Any]] = self.feature_info
        for stage in stages:
            stage["reduction"] = max(1, stage["reduction"] // _STEM_REDUCTION)


default_cfgs = generate_default_cfgs(
    {
        "resnet18_cifar": {
            "url": "",
            "num_classes": 100,
            "input_size": (3, 32, 32),
            "pool_size": (4, 4),
            "crop_pct": 1.0,
            "interpolation": "bilinear",
            "mean": (0.5071, 0.4865, 0.4409),
            "std": (0.2673, 0.2564, 0.2762),
            "first_conv": "conv1",
            "classifier": "fc",
        }
    }
)


@register_model
def resnet18_cifar(pretrained: bool = False, **options: Any) -> nn.Module:
    """ResNet-18 for CIFAR (11.22 M parameters for 100 classes)."""
    shape = {"block": BasicBlock, "layers": (2, 2, 2, 2), "zero_init_last": False}
    net: nn.Module = build_model_with_cfg(Cifar18, "resnet18_cifar", pretrained, **{**shape, **options})
    return net
