"""Maps against their formulas, and the grad-cam package's against each other, the plain ones and a loop by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eval_suite.backbones.backbone import Backbone
from eval_suite.core.errors import InputError
from eval_suite.tasks.wsol.maps import PackageMaps, PlainMaps, activation_maps, min_max
from eval_suite.tasks.wsol.options import MapName
from tests.tasks.wsol.nets import backbone, images, tiny

FAMILY = [name for name in MapName.__args__ if name not in ("cam", "rollout", "legrad")]  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def net() -> Backbone:
    return tiny()


def test_a_map_is_the_weighted_sum_of_the_channels() -> None:
    features = torch.tensor([[[[1.0, 2.0]], [[10.0, 20.0]]], [[[3.0, 4.0]], [[30.0, 40.0]]]])
    weights = torch.tensor([[1.0, 0.5], [-1.0, 0.0]])
    maps = activation_maps(features, weights, torch.tensor([0, 1]))
    assert maps.tolist() == [[[6.0, 12.0]], [[-3.0, -4.0]]]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_maps_are_the_einsum_in_any_memory_layout(layout: torch.memory_format) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(3, 5, 4, 6, generator=generator).contiguous(memory_format=layout)
    weights, wanted = torch.randn(7, 5, generator=generator), torch.tensor([6, 0, 3])
    expected = torch.einsum("nchw,nc->nhw", features, weights[wanted])
    assert torch.allclose(activation_maps(features, weights, wanted), expected, atol=1e-6)


def test_min_max_is_per_map_and_a_constant_one_is_zero() -> None:
    maps = torch.tensor([[[1.0, 3.0], [2.0, 5.0]], [[4.0, 4.0], [4.0, 4.0]], [[-8.0, 0.0], [0.0, 0.0]]])
    assert min_max(maps).tolist() == [[[0, 0.5], [0.25, 1]], [[0, 0], [0, 0]], [[0, 1], [1, 1]]]


def test_the_mean_of_a_plain_map_is_the_logit_without_the_bias(net: Backbone) -> None:
    x, wanted = images(5, 32), torch.tensor([0, 1, 2, 3, 0])
    found = PlainMaps(net)(x, wanted)
    assert found.maps.shape == (5, 4, 4)
    assert found.maps.dtype == torch.float32
    with torch.no_grad():
        logits = net(x)
    assert torch.equal(found.logits, logits)
    own = logits.gather(1, wanted[:, None])[:, 0] - net.net.fc.bias[wanted]  # type: ignore[union-attr,index]
    assert torch.allclose(found.maps.mean((1, 2)), own, atol=1e-5)


def test_without_a_wanted_class_it_is_the_predicted_one(net: Backbone) -> None:
    x = images(6, 32)
    found = PlainMaps(net)(x, None)
    assert torch.equal(found.maps, PlainMaps(net)(x, found.logits.argmax(1)).maps)
    package = PackageMaps(net, "gradcam")
    assert torch.allclose(package(x, None).maps, package(x, found.logits.argmax(1)).maps, atol=1e-6)


def test_bf16_gives_nearly_the_same_maps_in_single_precision(net: Backbone) -> None:
    x, wanted = images(4, 32), torch.tensor([0, 1, 2, 3])
    exact, rough = PlainMaps(net)(x, wanted).maps, PlainMaps(net, "bf16")(x, wanted).maps
    assert rough.dtype == torch.float32
    assert not torch.equal(exact, rough)
    assert (exact - rough).abs().max() < 0.05 * exact.abs().max()


def test_plain_maps_need_an_average_and_a_linear_layer() -> None:
    with pytest.raises(InputError, match="plain maps are read off"):
        PlainMaps(backbone("mobilenetv3_small_050", 64))


def test_the_package_needs_a_map_of_height_and_width() -> None:
    with pytest.raises(InputError, match="has no feature map of height and width, which gradcam needs"):
        PackageMaps(backbone("vit_tiny_patch16_224", 224), "gradcam")


@pytest.mark.parametrize("name", ["gradcam", "hirescam", "gradcam-elementwise", "xgradcam"])
def test_gradient_maps_of_such_networks_are_the_plain_ones_without_their_negative_part(
    net: Backbone, name: MapName
) -> None:
    x, wanted = images(6, 32), torch.tensor([0, 1, 2, 3, 0, 1])
    plain = PlainMaps(net)(x, wanted).maps
    found = PackageMaps(net, name)(x, wanted).maps
    if name == "gradcam-elementwise":  # which drops negative parts channel by channel
        features, weights = net.features(x), net.net.fc.weight[wanted]  # type: ignore[union-attr,index]
        plain = (features * weights[:, :, None, None]).relu().sum(1).detach()
    expected = min_max(plain.relu())
    # The package adds 1e-7 to what it divides by; gradients are 1/16 of the weights here.
    assert torch.allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("name", FAMILY)
def test_every_map_of_the_package_comes_by_name_at_the_features_resolution(
    net: Backbone, name: MapName, capfd: pytest.CaptureFixture[str]
) -> None:
    x, wanted = images(3, 32), torch.tensor([2, 0, 1])
    extract = PackageMaps(net, name)
    found = extract(x, wanted)
    assert found.maps.shape == (3, 4, 4)
    assert found.maps.dtype == torch.float32
    assert found.maps.isfinite().all()
    assert found.maps.min() >= 0
    assert found.maps.max() <= 1 + 1e-6
    with torch.no_grad():
        assert torch.allclose(found.logits, net(x), atol=1e-6)
    assert not found.logits.requires_grad
    assert all(parameter.grad is None for parameter in net.parameters())
    one_by_one = [extract(x[i : i + 1], wanted[i : i + 1]).maps for i in range(3)]
    assert torch.allclose(torch.cat(one_by_one), found.maps, atol=1e-4)
    again = PackageMaps(net, name)(x, wanted).maps
    assert torch.allclose(again, found.maps, atol=1e-6)
    assert capfd.readouterr().err == ""


def test_score_cam_is_that_of_its_paper(net: Backbone) -> None:
    x, wanted = images(1, 32), 2
    found = PackageMaps(net, "scorecam")(x, torch.tensor([wanted])).maps[0]
    with torch.no_grad():
        features = net.features(x)[0]
        scores = []
        for channel in features:
            mask = F.interpolate(channel[None, None], size=(32, 32), mode="bilinear", align_corners=True)
            mask = (mask - mask.min()) / (mask.max() - mask.min() + 1e-8)
            scores.append(net(x * mask)[0, wanted])
        weights = torch.stack(scores).softmax(0)
    expected = (weights[:, None, None] * features).sum(0).relu()
    assert torch.allclose(found, min_max(expected[None])[0], atol=1e-4)


def test_the_passes_of_score_cam_are_not_kept(net: Backbone) -> None:
    extract = PackageMaps(net, "scorecam")
    extract(images(2, 32), torch.tensor([0, 1]))
    kept: list[Tensor] = extract._cam.activations_and_grads.activations
    assert len(kept) == 1


class BothLayouts(nn.Module):
    """One map twice: from ``last`` with its channels last, and from ``first`` with them first."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last, self.first = nn.Conv2d(3, 12, 4, 4), nn.LayerNorm(12), nn.Identity()
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        maps = self.first(self.last(self.conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        logits: Tensor = self.head(maps.mean((2, 3)))
        return logits


@pytest.mark.parametrize("name", [name for name in FAMILY if name != "ablationcam"])
def test_maps_of_a_channels_last_layer_are_those_of_the_map_turned(name: MapName) -> None:
    torch.manual_seed(0)
    net, x, wanted = BothLayouts(), images(2, 32), torch.tensor([1, 3])
    last, first = (Backbone.wrap(net, input_size=(32, 32), feature_layer=each) for each in ("last", "first"))
    found = PackageMaps(last, name)(x, wanted).maps
    assert found.shape == (2, 8, 8)
    assert torch.allclose(found, PackageMaps(first, name)(x, wanted).maps, atol=1e-6)
    assert torch.equal(PlainMaps(last)(x, wanted).maps, PlainMaps(first)(x, wanted).maps)


def test_ablation_cam_refuses_a_channels_last_layer() -> None:
    backbone = Backbone.wrap(BothLayouts(), input_size=(32, 32), feature_layer="last")
    with pytest.raises(InputError, match="gives its channels last"):
        PackageMaps(backbone, "ablationcam")(images(1, 32), torch.tensor([0]))
