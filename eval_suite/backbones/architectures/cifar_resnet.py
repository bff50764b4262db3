"""Residual networks for small images, registered with timm.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, sec. 4.2: a 3x3 convolution, three stages of
n basic blocks with 16, 32 and 64 channels at full, half and quarter resolution, global average pooling: depth 6n+2.
Shortcuts that change shape take every second pixel and pad zero channels (option A), so they carry no weights.

With bottleneck blocks, four times as wide at their ends and with projections as shortcuts (option B), the depth is
9n+2. The ResNet-110 of the CutMix paper is such a one: it has 1.17 M parameters where the basic blocks give 1.74 M.
"""

from typing import Any

import torch.nn.functional as F
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

_MEAN, _STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation around a parameter-free shortcut."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride = stride
        self.padding = channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, h, w) to (N, channels, h/stride, w/stride)."""
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        shortcut = x[:, :, :: self.stride, :: self.stride] if self.stride > 1 else x
        if self.padding:
            shortcut = F.pad(shortcut, (0, 0, 0, 0, self.padding // 2, self.padding - self.padding // 2))
        return F.relu(out + shortcut, inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with batch normalisation; a projection where the shape changes."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        width = channels * self.expansion
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.downsample: nn.Module | None = None
        if stride > 1 or in_channels != width:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, h, w) to (N, 4 * channels, h/stride, w/stride)."""
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = F.relu(self.bn2(self.conv2(out)), inplace=True)
        out = self.bn3(self.conv3(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(out + shortcut, inplace=True)


class CifarResNet(nn.Module):
    """A three-stage residual network with timm's classifier interface.

    Args:
        blocks: blocks per stage (n of depth 6n+2, or 9n+2 with bottlenecks).
        channels: channels of the three stages; bottlenecks end with four times as many.
        bottleneck: bottleneck blocks in place of basic ones.
        stem_stride: stride of the first convolution; 2 for images of about 64 pixels.
        num_classes: outputs of the last layer; 0 leaves the pooled features.
        in_chans: input channels.
        global_pool: 'avg', or '' for the unpooled map.
    """

    def __init__(
        self,
        blocks: int = 3,
        channels: tuple[int, int, int] = (16, 32, 64),
        bottleneck: bool = False,
        stem_stride: int = 1,
        num_classes: int = 10,
        in_chans: int = 3,
        global_pool: str = "avg",
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        block: type[BasicBlock] | type[Bottleneck] = Bottleneck if bottleneck else BasicBlock
        expansion = Bottleneck.expansion if bottleneck else 1
        self.num_features = self.head_hidden_size = channels[-1] * expansion
        self.global_pool = global_pool
        self.conv1 = nn.Conv2d(in_chans, channels[0], 3, stem_stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.act1 = nn.ReLU(inplace=True)
        self.feature_info: list[dict[str, Any]] = []
        width, reduction = channels[0], stem_stride
        for stage, stage_width in enumerate(channels, start=1):
            stride = 1 if stage == 1 else 2
            reduction *= stride
            first = block(width, stage_width, stride)
            width = stage_width * expansion
            rest = (block(width, stage_width, 1) for _ in range(blocks - 1))
            self.add_module(f"layer{stage}", nn.Sequential(first, *rest))
            self.feature_info.append({"num_chs": width, "reduction": reduction, "module": f"layer{stage}"})
        self.fc: nn.Module = nn.Linear(width, num_classes) if num_classes else nn.Identity()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def get_classifier(self) -> nn.Module:
        """The last layer."""
        return self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the last layer by a new one with ``num_classes`` outputs."""
        self.num_classes = num_classes
        self.global_pool = self.global_pool if global_pool is None else global_pool
        self.fc = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def forward_features(self, x: Tensor) -> Tensor:
        """The last feature map (N, C, h, w)."""
        x = self.act1(self.bn1(self.conv1(x)))
        return self.layer3(self.layer2(self.layer1(x)))  # type: ignore[operator]

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits (N, classes) of a feature map; the pooled features with ``pre_logits``."""
        if self.global_pool:
            x = x.mean((2, 3))
        return x if pre_logits else self.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of normalised images (N, 3, H, W)."""
        return self.forward_head(self.forward_features(x))


def _cfg(size: int) -> dict[str, Any]:
    return {
        "url": "",
        "num_classes": 10,
        "input_size": (3, size, size),
        "pool_size": (size // 4, size // 4),
        "crop_pct": 1.0,
        "interpolation": "bilinear",
        "mean": _MEAN,
        "std": _STD,
        "first_conv": "conv1",
        "classifier": "fc",
    }


default_cfgs = generate_default_cfgs(
    {
        "resnet20_cifar": _cfg(32),
        "resnet56_cifar": _cfg(32),
        "resnet110_bottleneck_cifar": _cfg(32),
        "resnet14_demo": _cfg(64),
    }
)


@register_model
def resnet20_cifar(pretrained: bool = False, **options: Any) -> nn.Module:
    """ResNet-20 for CIFAR (0.27 M parameters)."""
    return _build("resnet20_cifar", pretrained, **{"blocks": 3, **options})


@register_model
def resnet56_cifar(pretrained: bool = False, **options: Any) -> nn.Module:
    """ResNet-56 for CIFAR (0.85 M parameters)."""
    return _build("resnet56_cifar", pretrained, **{"blocks": 9, **options})


@register_model
def resnet110_bottleneck_cifar(pretrained: bool = False, **options: Any) -> nn.Module:
    """ResNet-110 for CIFAR with bottleneck blocks (1.17 M parameters), the one of the CutMix paper."""
    return _build("resnet110_bottleneck_cifar", pretrained, **{"blocks": 12, "bottleneck": True, **options})


@register_model
def resnet14_demo(pretrained: bool = False, **options: Any) -> nn.Module:
    """The demo's network: two blocks a stage behind a stem of stride 2, 8x8 map for 64-pixel images."""
    shape = {"blocks": 2, "stem_stride": 2}
    return _build("resnet14_demo", pretrained, **{**shape, **options})


def _build(variant: str, pretrained: bool, **options: Any) -> nn.Module:
    net: nn.Module = build_model_with_cfg(
        CifarResNet, variant, pretrained, feature_cfg={"out_indices": (0, 1, 2)}, **options
    )
    return net
