"""Networks of tokens in a detector: the classifier's own maps, at the strides wanted, at any size."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eval_suite.backbones.backbone import Backbone
from eval_suite.core.cards import BackboneCard
from eval_suite.tasks.detect.pyramid import OwnMap, Pyramid, _resampled, open_source
from tests.tasks.detect.conftest import EVA, MEAN, MIXER, STD, SWIN, make_backbone

ARCHS: list[tuple[str, int, dict[str, Any], int]] = [
    # Architecture, its input's side, options, and the stride at which its last map is.
    ("test_vit", 64, {}, 16),
    ("vit_tiny_patch16_224", 224, {}, 16),
    ("vit_tiny_patch16_224", 64, {"img_size": 64, "patch_size": 8, "depth": 2}, 8),
    ("swin_tiny_patch4_window7_224", 64, SWIN, 32),
    ("swin_tiny_patch4_window7_224", 224, {}, 32),
    ("swinv2_tiny_window8_256", 64, SWIN, 32),
    ("test_vit_relpos", 160, {}, 16),
    ("gmlp_ti16_224", 64, MIXER, 16),
]


def pyramid_of(backbone: Backbone, strides: tuple[int, ...] = (8, 16, 32), frozen_stride: int = 0) -> Pyramid:
    import copy

    source = open_source(copy.deepcopy(backbone.net), backbone.card)
    assert source is not None
    return Pyramid(source, strides, frozen_norm=True, frozen_stride=frozen_stride).eval()


def classifier_maps(net: nn.Module, images: Tensor) -> Sequence[Tensor]:
    """Maps of all blocks or stages, the last one after the final norm, out of the layers that the logits come from."""
    kept: list[Tensor] = []
    blocks = net.layers if hasattr(net, "layers") else net.blocks
    watched = [*blocks, net.norm]  # type: ignore[misc]
    handles = [layer.register_forward_hook(lambda _m, _i, out: kept.append(out.clone())) for layer in watched]
    net(images)
    for handle in handles:
        handle.remove()
    return [*kept[:-2], kept[-1]]


def as_map(tokens: Tensor, prefix: int) -> Tensor:
    if tokens.ndim == 4:
        return tokens.permute(0, 3, 1, 2)
    side = round((tokens.shape[1] - prefix) ** 0.5)
    return tokens[:, prefix:].transpose(1, 2).reshape(tokens.shape[0], -1, side, side)


@pytest.mark.parametrize(("arch", "side", "options", "last"), ARCHS)
@torch.no_grad()
def test_maps_are_the_classifiers(arch: str, side: int, options: dict[str, Any], last: int) -> None:
    backbone = make_backbone(arch, side, **options)
    images = torch.randn(2, 3, side, side)
    pyramid = pyramid_of(backbone)
    maps = pyramid(images)
    prefix = getattr(backbone.net, "num_prefix_tokens", 0)
    wanted = [as_map(tokens, prefix) for tokens in classifier_maps(backbone.net, images)]
    at = (8, 16, 32).index(last)
    torch.testing.assert_close(maps[at], wanted[-1], rtol=1e-4, atol=1e-4)
    if "swin" in arch:
        torch.testing.assert_close(maps[0], wanted[1], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(maps[1], wanted[2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("arch", "side", "options"),
    [
        ("test_vit", 64, {}),
        ("swin_tiny_patch4_window7_224", 64, SWIN),
        ("eva02_tiny_patch14_224", 56, EVA),
        ("gmlp_ti16_224", 64, MIXER),
        ("pit_ti_224", 224, {}),
        # Patches of 7 pixels, of which it leaves out a part.
        (
            "sequencer2d_s",
            56,
            {"layers": (1, 1, 1, 1), "embed_dims": (8, 16, 16, 16), "hidden_sizes": (4, 4, 4, 4)},
        ),
    ],
)
@pytest.mark.parametrize("size", [(300, 300), (217, 333)])
@torch.no_grad()
def test_maps_have_their_strides_at_any_size(
    arch: str, side: int, options: dict[str, Any], size: tuple[int, int]
) -> None:
    pyramid = pyramid_of(make_backbone(arch, side, **options))
    maps = pyramid(torch.randn(1, 3, *size))
    for each, stride, channels in zip(maps, (8, 16, 32), pyramid.channels, strict=True):
        assert each.shape == (1, channels, -(-size[0] // stride), -(-size[1] // stride))
        assert each.isfinite().all()


@torch.no_grad()
def test_a_network_of_one_size_sees_tiles() -> None:
    backbone = make_backbone("gmlp_ti16_224", **MIXER)
    pyramid = pyramid_of(backbone)
    images = torch.randn(1, 3, 100, 128)
    maps = pyramid(images)[1]
    assert maps.shape == (1, 128, 7, 8)
    second = backbone.net.forward_features(images[..., :64, 64:])  # type: ignore[operator]
    torch.testing.assert_close(maps[..., :4, 4:], as_map(second, 0), rtol=1e-4, atol=1e-4)
    assert pyramid.said().endswith(
        "8 (deconvolved from 16), 16, 32 (pooled from 16) from the network itself, in tiles of 64x64"
    )


@torch.no_grad()
def test_images_are_padded_to_whole_patches() -> None:
    pyramid = pyramid_of(make_backbone("test_vit"))
    images = torch.zeros(1, 3, 96, 64)
    images[..., :90, :50] = torch.randn(1, 3, 90, 50)
    for whole, part in zip(pyramid(images), pyramid(images[..., :90, :50]), strict=True):
        assert torch.equal(whole[..., : part.shape[2], : part.shape[3]], part)


def test_cells_of_14_pixels_are_resampled_to_16() -> None:
    centres = 14 * (torch.arange(22) + 0.5)
    maps = centres.expand(1, 1, 22, 22)
    found = _resampled(maps, OwnMap(0, 1, (14.0, 14.0), 16))
    assert found.shape == (1, 1, 19, 19)
    torch.testing.assert_close(found[0, 0, 3, :-1], 16 * (torch.arange(18) + 0.5), rtol=1e-3, atol=1e-2)


def learning(pyramid: Pyramid) -> set[str]:
    return {name for name, weight in pyramid.named_parameters() if weight.requires_grad}


def test_gradients_reach_every_weight_that_learns() -> None:
    for pyramid in (
        pyramid_of(make_backbone("test_vit")),
        pyramid_of(make_backbone("swin_tiny_patch4_window7_224", **SWIN), (8, 16)),
    ):
        pyramid.train()
        sum(each.square().sum() for each in pyramid(torch.randn(2, 3, 70, 90))).backward()
        reached = {name for name, weight in pyramid.named_parameters() if weight.grad is not None}
        assert reached == learning(pyramid) != set()


def test_the_first_stage_is_frozen_where_there_are_several() -> None:
    swin = make_backbone("swin_tiny_patch4_window7_224", **SWIN)
    pyramid = pyramid_of(swin, (4, 8, 16, 32), frozen_stride=4)
    frozen = {name for name, _ in pyramid.named_parameters()} - learning(pyramid)
    assert frozen == {
        f"net.{name}"
        for name, _ in swin.net.named_parameters()
        if name.startswith(("patch_embed", "layers.0"))
    }
    plain = pyramid_of(make_backbone("vit_tiny_patch16_224", img_size=64, patch_size=4, depth=1), (4, 8), 4)
    assert learning(plain) == {name for name, _ in plain.named_parameters()}


class Idle(nn.Module):
    """A network with a weight that its maps do not depend on, and maps of one stride that only it numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.token = nn.Conv2d(3, 4, 16, 16), nn.Parameter(torch.zeros(4))

    def forward_intermediates(
        self,
        images: Tensor,
        *,
        indices: list[int] | None,
        norm: bool,
        output_fmt: str,
        intermediates_only: bool,
    ) -> list[Tensor]:
        if indices is not None or norm:
            raise ValueError("all there is, as it is")
        assert (output_fmt, intermediates_only) == ("NCHW", True)
        map_ = self.embed(images) + 0 * self.token.detach().sum()
        return [map_, 2 * map_]


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
def test_weights_behind_no_map_do_not_learn() -> None:
    card = BackboneCard(name="a", source="a", arch="a", classes=[], input_size=(64, 64), mean=MEAN, std=STD)
    source = open_source(Idle(), card)
    assert source is not None
    pyramid = Pyramid(source, (16, 32), frozen_norm=False)
    assert learning(pyramid) == {"net.embed.weight", "net.embed.bias"}
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(pyramid(images)[0], 2 * source.net.embed(images))  # type: ignore[operator]


def test_networks_from_elsewhere_are_not_opened() -> None:
    backbone = make_backbone()
    assert open_source(nn.Sequential(backbone.net), backbone.card) is None
