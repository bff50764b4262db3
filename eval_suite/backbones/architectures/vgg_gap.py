"""VGG-GAP, registered with timm: VGG-16 up to conv5_3, a 3x3 convolution, global average pooling and one linear layer.

Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016, sec. 3.1: the fully connected layers
and the pooling before them are gone, so that the last map is 14x14 for images of 224 pixels.
"""

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

CONV6_CHANNELS = 1024
# Channels of the convolutions of each stage; a pooling stands between the stages, none behind the last.
_VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class GapNet(nn.Module):
    """Features → 3x3 convolution → ReLU → global average pooling → linear layer, with timm's classifier interface.

    Args:
        features: layers of a network that end with a map.
        channels: channels of that map.
        classes: outputs; 0 leaves the pooled features.
    """

    def __init__(self, features: nn.Module, channels: int, classes: int) -> None:
        super().__init__()
        self.num_features = self.head_hidden_size = CONV6_CHANNELS
        self.features = features
        self.conv6 = nn.Conv2d(channels, CONV6_CHANNELS, 3, padding=1)
        self.relu = nn.ReLU()
        self.reset_classifier(classes)

    def get_classifier(self) -> nn.Module:
        """The last layer."""
        return self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the last layer by a new one with ``num_classes`` outputs; the average is part of the network."""
        self.num_classes = num_classes
        self.fc: nn.Module = nn.Linear(CONV6_CHANNELS, num_classes) if num_classes else nn.Identity()

    def forward_features(self, x: Tensor) -> Tensor:
        """The last feature map (N, 1024, h, w)."""
        found: Tensor = self.relu(self.conv6(self.features(x)))
        return found

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits (N, classes) of a feature map; the pooled features with ``pre_logits``."""
        pooled = x.mean((2, 3))
        return pooled if pre_logits else self.fc(pooled)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of normalised images (N, 3, H, W)."""
        return self.forward_head(self.forward_features(x))


class Vgg16Gap(GapNet):
    """VGG-16's layers under the keys that timm and torchvision give them, at their initialisation.

    Args:
        num_classes: outputs of the last layer.
        in_chans: input channels.
    """

    def __init__(self, num_classes: int = 1000, in_chans: int = 3) -> None:
        layers: list[nn.Module] = []
        width = in_chans
        for stage in _VGG16:
            layers += [nn.MaxPool2d(2, 2)] if layers else []
            for channels in stage:
                layers += [nn.Conv2d(width, channels, 3, padding=1), nn.ReLU(inplace=True)]
                width = channels
        super().__init__(nn.Sequential(*layers), width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)


default_cfgs = generate_default_cfgs(
    {
        "vgg16_gap": {
            "url": "",
            "num_classes": 1000,
            "input_size": (3, 224, 224),
            "pool_size": (14, 14),
            "crop_pct": 0.875,
            "interpolation": "bilinear",
            "mean": (0.485, 0.456, 0.406),
            "std": (0.229, 0.224, 0.225),
            "first_conv": "features.0",
            "classifier": "fc",
        }
    }
)


@register_model
def vgg16_gap(pretrained: bool = False, **options: Any) -> nn.Module:
    """VGG-GAP, VGG-16 with global average pooling behind a sixth stage of one convolution (20.5 M parameters)."""
    net: nn.Module = build_model_with_cfg(Vgg16Gap, "vgg16_gap", pretrained, **options)
    return net
