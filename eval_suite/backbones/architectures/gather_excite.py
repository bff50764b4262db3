"""Residual networks with Gather-Excite, registered with timm, whose own GatherExcite cannot be built since 1.0.21.

Hu et al., "Gather-Excite: Exploiting Feature Context in Convolutional Neural Networks", NeurIPS 2018, the variant
GE-theta+ with global extent: behind a block's last BatchNorm, a depthwise convolution as large as the map and a
BatchNorm gather one value per channel, two 1x1 convolutions with a sixteenth of the channels between them excite, and
the sigmoid of the result scales the channel. The gathering convolutions have the size of the maps, so the input size
belongs to the network: 224 pixels unless ``img_size`` says otherwise.
"""

from functools import partial
from typing import Any

import torch.nn.functional as F
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import Bottleneck, ResNet
from torch import Tensor, nn

_REDUCTION = 16


class GatherExcite(nn.Module):
    """Scale the channels of a map by what a depthwise convolution over all of it and a small network make of them.

    Args:
        channels: of the map.
        size: (h, w) of the map.
    """

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.gather = nn.Conv2d(channels, channels, size, groups=channels)
        self.norm = nn.BatchNorm2d(channels)
        self.fc1 = nn.Conv2d(channels, channels // _REDUCTION, 1)
        self.fc2 = nn.Conv2d(channels // _REDUCTION, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w) to the same shape.

        Raises:
            ValueError: if the map has not the size it was made for.
        """
        if x.shape[-2:] != self.gather.kernel_size:
            raise ValueError(
                f"expected maps of {self.gather.kernel_size}, found {tuple(x.shape[-2:])}; the network was made for "
                "another input size, see its option img_size"
            )
        gathered = self.norm(self.gather(x))
        return x * self.fc2(F.relu(self.fc1(gathered), inplace=True)).sigmoid()


class _Block(Bottleneck):
    def __init__(self, inplanes: int, planes: int, *arguments: Any, img_size: int, **options: Any) -> None:
        super().__init__(inplanes, planes, *arguments, **options)
        # A stage with 64 * 2^k planes works at a quarter, an eighth, ... of the input's side.
        side = img_size * 16 // planes
        self.se = GatherExcite(planes * self.expansion, (side, side))


def _cfg() -> dict[str, Any]:
    return {
        "url": "",
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "pool_size": (7, 7),
        "crop_pct": 0.875,
        "interpolation": "bilinear",
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "first_conv": "conv1",
        "classifier": "fc",
    }


default_cfgs = generate_default_cfgs({"geresnet50": _cfg(), "geresnet101": _cfg()})


@register_model
def geresnet50(pretrained: bool = False, **options: Any) -> nn.Module:
    """ResNet-50 with Gather-Excite, GE-theta+ with global extent (33.7 M parameters)."""
    return _build("geresnet50", pretrained, **{"layers": (3, 4, 6, 3), **options})


@register_model
def geresnet101(pretrained: bool = False, **options: Any) -> nn.Module:
    """ResNet-101 with Gather-Excite, GE-theta+ with global extent (58.4 M parameters)."""
    return _build("geresnet101", pretrained, **{"layers": (3, 4, 23, 3), **options})


def _build(variant: str, pretrained: bool, img_size: int = 224, **options: Any) -> nn.Module:
    block = partial(_Block, img_size=img_size)
    block.expansion = _Block.expansion  # type: ignore[attr-defined]
    net: nn.Module = build_model_with_cfg(ResNet, variant, pretrained, block=block, **options)
    return net
