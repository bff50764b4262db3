"""Preparing networks: larger maps, the same weights and features where nothing was changed, a new last layer."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eval_suite.backbones.architectures.vgg_gap import GapNet
from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.structure.hooks import outputs_of
from eval_suite.core.errors import EvalSuiteError, InputError
from eval_suite.tasks.wsol.localiser import (
    Localiser,
    linear_head,
    make_localiser,
    map_weights,
    require_layer,
)
from eval_suite.tasks.wsol.maps import PlainMaps
from tests.backbones.akamaster_resnet20 import resnet20
from tests.tasks.wsol.nets import backbone, images, tiny, wrap

# Without most of VGG's fully connected weights, which nothing here uses and which take seconds to draw.
_NARROW: dict[str, Any] = {"mlp_ratio": 0.01}
LIGHT: dict[str, dict[str, Any]] = {
    "vgg11": _NARROW,
    "vgg16": _NARROW,
    "torchvision:vgg11": {"init_weights": False},
}


def outputs(net: nn.Module, layers: tuple[str, ...], size: int) -> dict[str, Tensor]:
    with torch.no_grad(), outputs_of(net.eval(), layers) as kept:
        net(images(2, size))
    return kept


def side(found: Localiser, size: int) -> int:
    return outputs(found.net, (found.feature_layer,), size)[found.feature_layer].shape[-1]


@pytest.mark.parametrize(
    ("arch", "size", "before", "after"),
    [
        ("resnet14_demo", 64, 8, 16),
        ("resnet20_cifar", 32, 8, 16),
        ("resnet10t", 64, 2, 4),  # pooling in the shortcut
        ("torchvision:resnet18", 64, 2, 4),
        ("resnet26", 64, 2, 4),  # bottlenecks
    ],
)
def test_a_resnets_last_stage_loses_its_stride_and_keeps_its_weights(
    arch: str, size: int, before: int, after: int
) -> None:
    given = backbone(arch, size)
    untouched = copy.deepcopy(given.net.state_dict())
    found = make_localiser(given, 7, enlarge=True)
    assert given.predict(images(2, size)).features.shape[-1] == before
    assert side(found, size) == after
    assert found.notes == ()
    own, new = given.net.state_dict(), found.net.state_dict()
    assert own.keys() == new.keys() == untouched.keys()
    assert all(torch.equal(value, untouched[key]) for key, value in own.items())
    changed = {key for key in own if own[key].shape != new[key].shape or not torch.equal(own[key], new[key])}
    assert changed == {f"{found.head}.weight", f"{found.head}.bias"}
    assert found.net(images(2, size)).shape == (2, 7)


def test_features_before_the_last_stage_are_the_backbones() -> None:
    given = tiny()
    found = make_localiser(given, 4, enlarge=True)
    layers = ("layer1", "layer2")
    ours, theirs = outputs(found.net, layers, 32), outputs(given.net, layers, 32)
    assert all(torch.equal(ours[name], theirs[name]) for name in layers)


def test_every_second_pixel_of_the_first_convolution_is_that_of_the_strided_one() -> None:
    given = tiny()
    found = make_localiser(given, 4, enlarge=True)
    ours, theirs = (outputs(net, ("layer3.0.conv1",), 32)["layer3.0.conv1"] for net in (found.net, given.net))
    assert torch.allclose(ours[:, :, ::2, ::2], theirs, atol=1e-6)


def test_without_enlarging_only_the_last_layer_is_new() -> None:
    given = tiny()
    found = make_localiser(given, 4, enlarge=False)
    features = outputs(found.net, ("layer3",), 32)["layer3"]
    with torch.no_grad():
        assert torch.equal(features, outputs(given.net, ("layer3",), 32)["layer3"])
    assert found.notes == ()
    assert not torch.equal(found.net.fc.weight, given.net.fc.weight)  # type: ignore[union-attr,arg-type]


@pytest.mark.long
@pytest.mark.parametrize(
    ("arch", "map_side", "kept"),
    [
        ("vgg11", 14, "features.19"),
        ("torchvision:vgg11", 14, "features.19"),
        ("torchvision:googlenet", 14, "inception4e"),
        ("torchvision:inception_v3", 14, "Mixed_6e"),
        ("inception_v3", 14, "Mixed_6e"),
    ],
)
def test_vgg_googlenet_and_inception_become_their_gap_variants(arch: str, map_side: int, kept: str) -> None:
    given = backbone(arch, 224, **LIGHT.get(arch, {}))
    found = make_localiser(given, 6, enlarge=True)
    assert isinstance(found.net, GapNet)
    assert side(found, 224) == map_side
    assert found.net.conv6.out_channels == 1024
    assert (found.channels, found.head, found.new) == (found.net.conv6.in_channels, "fc", ("conv6", "fc"))
    shapes = outputs(found.net, found.guides, 224)
    assert [shapes[name].shape[-1] for name in found.guides] == [28, 14]
    for name in found.attention:
        require_layer(found.net, name)
    if "inception_v3" not in arch:  # whose unpadded layers are padded
        ours = outputs(found.net, ("features",), 224)["features"]
        assert torch.equal(ours, outputs(given.net, (kept,), 224)[kept])


def test_inceptions_input_transformation_is_kept() -> None:
    given = backbone("torchvision:inception_v3", 128, transform_input=True)
    found = make_localiser(given, 6, enlarge=True)
    x = images(1, 128)
    expected = given.net._transform_input(x)  # type: ignore[operator]
    assert torch.equal(
        outputs(found.net, ("features.transform_input",), 128)["features.transform_input"][:1], expected
    )


def test_vggs_conv_layers_end_where_the_fully_connected_ones_began_also_without_enlarging() -> None:
    found = make_localiser(backbone("vgg11", 32, **LIGHT["vgg11"]), 6, enlarge=False)
    assert isinstance(found.net, GapNet)
    assert not any(isinstance(layer, nn.MaxPool2d) for layer in [*found.net.features.children()][-3:])
    assert side(found, 32) == 2


def test_a_vgg_gap_trained_as_one_keeps_all_but_its_last_layer() -> None:
    given = backbone("vgg16_gap", 64)
    found = make_localiser(given, 6, enlarge=True)
    assert (found.feature_layer, found.head, found.new, found.notes) == ("relu", "fc", ("fc",), ())
    assert (found.body, found.channels) == ("relu", 1024)
    assert found.guides == ("features.22", "features.29")
    assert side(found, 64) == 4
    before, after = (outputs(net, ("relu",), 64)["relu"] for net in (given.net, found.net))
    assert torch.equal(before, after)
    # The layers are those of the GAP variant that a fit makes of VGG-16.
    narrow = make_localiser(backbone("vgg16", 32, **_NARROW), 4, enlarge=True).net
    shapes = {key: value.shape for key, value in narrow.state_dict().items()}
    assert shapes == {key: value.shape for key, value in given.net.state_dict().items()}


@pytest.mark.parametrize(
    ("arch", "size", "places"),
    [
        ("resnet50", 64, ("layer3.0", "layer4.0", "layer4.2")),
        ("resnet14_demo", 64, ("layer2.0", "layer3.0", "layer3.1")),
        ("vgg16", 32, ("features.16", "features.22", "features.29")),
        ("vgg16_gap", 32, ("features.16", "features.22", "features.29")),
    ],
)
def test_adl_stands_where_its_authors_put_it(arch: str, size: int, places: tuple[str, ...]) -> None:
    assert make_localiser(backbone(arch, size, **LIGHT.get(arch, {})), 4, enlarge=True).attention == places


def test_any_other_network_with_an_average_and_a_linear_layer_keeps_its_map_and_a_note_says_so() -> None:
    given = backbone("efficientnet_b0", 64)
    found = make_localiser(given, 5, enlarge=True)
    assert (found.head, found.attention, found.guides) == ("classifier", (), ())
    assert found.notes == (
        "efficientnet_b0 keeps its last feature map of 2x2: it is not known how to enlarge it",
    )
    with torch.no_grad():
        assert torch.equal(
            outputs(found.net, (found.feature_layer,), 64)[found.feature_layer],
            outputs(given.net, (found.feature_layer,), 64)[found.feature_layer],
        )


def test_a_stage_whose_stride_cannot_be_taken_out_stays_as_it_is() -> None:
    given = wrap(resnet20(4), 32)  # its shortcut adds channels only together with the stride
    found = make_localiser(given, 4, enlarge=True)
    assert found.notes == ("net keeps its last feature map of 8x8: it is not known how to enlarge it",)
    assert found.head == "linear"
    ours, theirs = (outputs(net, ("layer3",), 32)["layer3"] for net in (found.net, given.net))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("arch", ["mobilenetv3_small_050", "vgg11", "convnext_atto", "vit_tiny_patch16_224"])
def test_a_network_without_average_and_linear_layer_has_no_plain_maps(arch: str) -> None:
    size = 224 if arch.startswith("vit") else 64
    given = backbone(arch, size, **LIGHT.get(arch, {}))
    assert linear_head(given) is None
    with pytest.raises(InputError, match="plain maps") as caught:
        map_weights(given)
    assert "gradcam" in caught.value.remedy


class Ends(nn.Module):
    """A map, and logits that are the cosines to its mean, or the means of a map of the classes."""

    def __init__(self, *, cosine: bool) -> None:
        super().__init__()
        self.body, self.cosine = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()), cosine
        self.last = nn.Linear(8, 4, bias=False) if cosine else nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.body(x)
        if not self.cosine:
            return self.last(maps).mean((2, 3))
        return 9 * F.linear(F.normalize(maps.mean((2, 3))), F.normalize(self.last.weight))


@pytest.mark.parametrize("cosine", [True, False])
def test_plain_maps_of_cosines_and_of_maps_of_the_classes(cosine: bool) -> None:
    torch.manual_seed(0)
    given = wrap(Ends(cosine=cosine), 16)
    pictures = images(3, 16)
    found = PlainMaps(given)(pictures, torch.tensor([0, 3, 1]))
    chosen = found.logits[torch.arange(3), [0, 3, 1]]
    if cosine:
        length = given.features(pictures).mean((2, 3)).norm(dim=1)
        chosen = chosen / 9 * length
    torch.testing.assert_close(found.maps.mean((1, 2)), chosen)


@pytest.mark.parametrize("arch", ["mobilenetv3_small_050", "convnext_atto", "vit_tiny_patch16_224"])
def test_a_fit_puts_a_new_layer_behind_the_map_of_any_network(arch: str) -> None:
    settings = {"img_size": 64, "depth": 2} if arch.startswith("vit") else LIGHT.get(arch, {})
    given = backbone(arch, 64, **settings)
    found = make_localiser(given, 5, enlarge=False)
    assert found.net(images(2, 64)).shape == (2, 5)
    assert found.feature_layer == f"body.net.{given.card.feature_layer or 'norm'}"
    assert found.notes[0].endswith("what stands behind that is left out")
    card = given.card.model_copy(update={"feature_layer": found.feature_layer, "num_classes": 5})
    maps = PlainMaps(Backbone(found.net, card).eval())(images(2, 64), None)
    logits = maps.maps.mean((1, 2)) + found.net.get_submodule("fc").bias[maps.logits.argmax(1)]  # type: ignore[index,operator]
    torch.testing.assert_close(logits, maps.logits.max(1).values)
    # Every weight that learns has a gradient, for which processes that train together wait.
    found.net.train()(images(2, 64)).sum().backward()
    assert all(weight.grad is not None for weight in found.net.parameters() if weight.requires_grad)


def test_two_linear_layers_are_no_linear_head() -> None:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv2d(3, 8, 3, padding=1)
            self.hidden, self.last = nn.Linear(8, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.hidden(self.body(x).mean((2, 3))).relu())

    assert linear_head(wrap(Deep(), 16)) is None
    with pytest.raises(InputError, match="behind 'body'"):
        map_weights(wrap(Deep(), 16))


def test_a_layer_that_is_missing_is_named_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"unknown layer 'layer3\.9'. Did you mean 'layer3"):
        require_layer(tiny().net, "layer3.9")


def test_the_new_layer_is_drawn_from_the_global_generator() -> None:
    given = tiny()
    weights = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        weights.append(make_localiser(given, 4, enlarge=True).net.get_submodule("fc").weight)
    assert torch.equal(weights[0], weights[1])  # type: ignore[arg-type]
    assert not torch.equal(weights[0], weights[2])  # type: ignore[arg-type]


def test_unusable_weights_are_called_so() -> None:
    given = tiny()
    with torch.no_grad():
        given.net.get_submodule("fc").weight[0, 0] = float("nan")  # type: ignore[index,operator]
    with pytest.raises(EvalSuiteError, match="NaN or infinite logits; its weights are unusable"):
        linear_head(given)


def test_looking_for_the_head_leaves_the_mode_alone() -> None:
    given = tiny().train()
    linear_head(given)
    assert given.training
    assert given.net.training
