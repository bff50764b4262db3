"""Feature maps come out channels first, whatever layer gives them."""

import pytest
import torch
from torch import Tensor, nn

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.structure.layout import channels_first
from eval_suite.core.errors import InputError


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [
        ((2, 768, 7, 7), (224, 224), (2, 768, 7, 7)),
        ((2, 7, 7, 768), (224, 224), (2, 768, 7, 7)),
        ((1, 12, 16, 24), (192, 256), (1, 24, 12, 16)),
        ((1, 24, 12, 16), (192, 256), (1, 24, 12, 16)),
        ((1, 8, 7, 7), (224, 224), (1, 8, 7, 7)),
        ((1, 8, 8, 8), (224, 224), (1, 8, 8, 8)),
    ],
)
def test_the_shape_tells_the_layout(
    shape: tuple[int, ...], size: tuple[int, int], expected: tuple[int, ...]
) -> None:
    assert channels_first(torch.zeros(shape), size, nn.Identity()).shape == expected


def test_timm_decides_where_the_shape_does_not() -> None:
    net = nn.Identity()
    net.output_fmt = "NHWC"  # type: ignore[assignment]
    maps = torch.arange(512.0).view(1, 8, 8, 8)
    assert torch.equal(channels_first(maps, (32, 32), net), maps.permute(0, 3, 1, 2))
    assert channels_first(torch.zeros(1, 16, 8, 8), (32, 32), net).shape == (1, 16, 8, 8)


class ChannelsLast(nn.Module):
    """A convolution whose map is handed on with the channels last, as in Swin."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 4, 4)
        self.norm = nn.LayerNorm(12)
        self.tokens = nn.Identity()
        self.head = nn.Linear(12, 5)

    def forward(self, images: Tensor) -> Tensor:
        last = self.norm(self.conv(images).permute(0, 2, 3, 1))
        logits: Tensor = self.head(self.tokens(last.flatten(1, 2)).mean(1))
        return logits


def wrapped(layer: str) -> Backbone:
    torch.manual_seed(0)
    return Backbone.wrap(ChannelsLast(), input_size=(32, 32), feature_layer=layer)


def test_a_named_channels_last_layer_gives_what_the_head_averages() -> None:
    backbone = wrapped("norm")
    found = backbone.predict(torch.rand(2, 3, 32, 32))
    assert found.features.shape == (2, 12, 8, 8)
    head = backbone.net.get_submodule("head")
    torch.testing.assert_close(head(found.features.mean((2, 3))), found.logits)


def test_a_named_layer_without_a_map_is_refused() -> None:
    with pytest.raises(InputError, match=r"expected a map .* from the feature layer 'tokens'"):
        wrapped("tokens")
