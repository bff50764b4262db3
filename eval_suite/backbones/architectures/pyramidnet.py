"""Pyramidal residual networks for small images, registered with timm.

Han et al., "Deep Pyramidal Residual Networks", CVPR 2017: as residual networks with three stages at full, half and
quarter resolution, but every block is a little wider than the one before it, by alpha over the number of blocks. A
block normalises before its first convolution and behind its last, and its sum passes through no ReLU. Shortcuts pool
where the map shrinks and pad zero channels, so they carry no weights.
"""

from typing import Any

import torch.nn.functional as F
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

_MEAN = (125.3 / 255, 123.0 / 255, 113.9 / 255)
_STD = (63.0 / 255, 62.1 / 255, 66.7 / 255)


class _Block(nn.Module):
    """A branch around a shortcut that pools where the branch has a stride, and pads the channels that it lacks."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.downsample = nn.AvgPool2d(2, 2, ceil_mode=True) if stride == 2 else nn.Identity()

    def _branch(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w) to (N, C', h/stride, w/stride) with C' >= C."""
        out, shortcut = self._branch(x), self.downsample(x)
        return out + F.pad(shortcut, (0, 0, 0, 0, 0, out.shape[1] - shortcut.shape[1]))


class BasicBlock(_Block):
    """BN, 3x3, BN, ReLU, 3x3, BN."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__(stride)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)

    def _branch(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn2(self.conv1(self.bn1(x))), inplace=True)
        return self.bn3(self.conv2(out))


class Bottleneck(_Block):
    """BN, 1x1, BN, ReLU, 3x3, BN, ReLU, 1x1 to four times the channels, BN."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__(stride)
        width = channels * self.expansion
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn4 = nn.BatchNorm2d(width)

    def _branch(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn2(self.conv1(self.bn1(x))), inplace=True)
        out = F.relu(self.bn3(self.conv2(out)), inplace=True)
        return self.bn4(self.conv3(out))


class PyramidNet(nn.Module):
    """A three-stage pyramidal network with timm's classifier interface.

    Args:
        depth: 9n+2 with bottlenecks, 6n+2 with basic blocks, n blocks a stage.
        alpha: channels that are added over all blocks, to the 16 of the first convolution.
        bottleneck: bottleneck blocks, four times as wide at their ends.
        num_classes: outputs of the last layer; 0 leaves the pooled features.
        in_chans: input channels.
        global_pool: 'avg', or '' for the unpooled map.

    Raises:
        TypeError: if the depth is none of those.
    """

    def __init__(
        self,
        depth: int = 110,
        alpha: int = 64,
        bottleneck: bool = True,
        num_classes: int = 100,
        in_chans: int = 3,
        global_pool: str = "avg",
    ) -> None:
        super().__init__()
        block: type[BasicBlock] | type[Bottleneck] = Bottleneck if bottleneck else BasicBlock
        layers = 9 if bottleneck else 6
        blocks = (depth - 2) // layers
        if depth != layers * blocks + 2 or blocks < 1:
            raise TypeError(f"depth must be {layers}n+2 with n >= 1, found {depth}")
        self.num_classes, self.global_pool = num_classes, global_pool
        self.conv1 = nn.Conv2d(in_chans, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        width, grown = 16, 16.0
        self.feature_info: list[dict[str, Any]] = []
        for stage in (1, 2, 3):
            made = []
            for number in range(blocks):
                grown += alpha / (3 * blocks)
                stride = 2 if stage > 1 and number == 0 else 1
                made.append(block(width, round(grown), stride))
                width = round(grown) * block.expansion
            self.add_module(f"layer{stage}", nn.Sequential(*made))
            self.feature_info.append(
                {"num_chs": width, "reduction": 2 ** (stage - 1), "module": f"layer{stage}"}
            )
        self.num_features = self.head_hidden_size = width
        self.bn_final = nn.BatchNorm2d(width)
        self.act_final = nn.ReLU(inplace=True)
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
        x = self.bn1(self.conv1(x))
        x = self.layer3(self.layer2(self.layer1(x)))  # type: ignore[operator]
        return self.act_final(self.bn_final(x))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits (N, classes) of a feature map; the pooled features with ``pre_logits``."""
        if self.global_pool:
            x = x.mean((2, 3))
        return x if pre_logits else self.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of normalised images (N, 3, H, W)."""
        return self.forward_head(self.forward_features(x))


_CFG: dict[str, Any] = {
    "url": "",
    "num_classes": 100,
    "input_size": (3, 32, 32),
    "pool_size": (8, 8),
    "crop_pct": 1.0,
    "interpolation": "bilinear",
    "mean": _MEAN,
    "std": _STD,
    "first_conv": "conv1",
    "classifier": "fc",
}
default_cfgs = generate_default_cfgs({"pyramidnet110_a64": _CFG, "pyramidnet200_a240": _CFG})


@register_model
def pyramidnet110_a64(pretrained: bool = False, **options: Any) -> nn.Module:
    """PyramidNet-110 with bottlenecks, alpha 64 (1.7 M parameters)."""
    return _build("pyramidnet110_a64", pretrained, **{"depth": 110, "alpha": 64, **options})


@register_model
def pyramidnet200_a240(pretrained: bool = False, **options: Any) -> nn.Module:
    """PyramidNet-200 with bottlenecks, alpha 240 (26.8 M parameters)."""
    return _build("pyramidnet200_a240", pretrained, **{"depth": 200, "alpha": 240, **options})


def _build(variant: str, pretrained: bool, **options: Any) -> nn.Module:
    net: nn.Module = build_model_with_cfg(
        PyramidNet, variant, pretrained, feature_cfg={"out_indices": (0, 1, 2)}, **options
    )
    return net
