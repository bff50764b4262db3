"""A backbone owns its normalisation, and knows its last feature map."""

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from eval_suite.backbones import architectures  # noqa: F401 - registers ours with timm
from eval_suite.backbones.backbone import Backbone, at_size, finish
from eval_suite.core.cards import BackboneCard
from eval_suite.core.errors import EvalSuiteError, InputError

MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.1)


def backbone(net: nn.Module, size: tuple[int, int] = (32, 32), layer: str | None = None) -> Backbone:
    card = BackboneCard(
        name="b", source="", arch="a", classes=[], input_size=size, mean=MEAN, std=STD, feature_layer=layer
    )
    return finish(net, card)


class Small(nn.Module):
    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 5, 3, 2), nn.BatchNorm2d(5), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(5, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.body(x)).flatten(1))


def images(n: int = 4, size: int = 32) -> Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_normalisation_is_per_channel_and_the_mean_becomes_exactly_zero() -> None:
    model = backbone(Small())
    x = images()
    expected = torch.stack([(x[:, c] - MEAN[c]) / STD[c] for c in range(3)], 1)
    torch.testing.assert_close(model.normalise(x), expected)
    assert not model.normalise(torch.tensor(MEAN).view(1, 3, 1, 1).expand(2, 3, 4, 4)).any()


def test_forward_is_the_network_on_normalised_images() -> None:
    net = Small()
    model = backbone(net)
    assert not model.training
    torch.testing.assert_close(model(images()), net((images() - model.mean) / model.std))


def test_the_normalisation_is_no_weight_and_follows_the_type() -> None:
    model = backbone(Small())
    assert set(model.state_dict()) == {f"net.{key}" for key in model.net.state_dict()}
    assert model.double()(images().double()).dtype == torch.float64


def test_predict_gives_the_same_logits_as_forward_and_leaves_no_hook() -> None:
    model = backbone(Small())
    logits, features = model.predict(images())
    assert torch.equal(logits, model(images()))
    assert torch.equal(features, model.features(images()))
    torch.testing.assert_close(model.net.head(features.mean((2, 3))), logits)
    assert features.shape == (4, 5, 15, 15)
    assert not any(module._forward_hooks for module in model.modules())


def test_features_carry_a_gradient() -> None:
    model = backbone(Small())
    logits, features = model.predict(images(1))
    (gradient,) = torch.autograd.grad(logits[0, 1], features)
    weight = model.net.head.weight[1].detach() / 225
    torch.testing.assert_close(gradient, weight.view(1, 5, 1, 1).expand(1, 5, 15, 15))


def test_a_card_is_filled_in_from_the_network() -> None:
    card = backbone(Small(7)).card
    assert (card.num_classes, card.feature_layer) == (7, "body")
    assert card.parameters == 3 * 5 * 9 + 5 + 5 + 5 + 5 * 7 + 7
    assert card.weights_sha256 is not None


def test_a_named_feature_layer_wins_and_must_exist() -> None:
    model = backbone(Small(), layer="body.0")
    x = model.normalise(images())
    assert torch.equal(model.features(images()), model.net.body[0](x))
    with pytest.raises(InputError, match=r"unknown feature layer 'bodi'. Did you mean 'body'\?"):
        backbone(Small(), layer="bodi")


@pytest.mark.parametrize(
    ("name", "size", "layer", "shape"),
    [
        ("resnet18", 64, "layer4", (512, 2, 2)),
        ("mobilenetv3_small_050", 64, "blocks", (288, 2, 2)),
        ("resnet56_cifar", 32, "layer3", (64, 8, 8)),
        ("resnet20_cifar", 32, "layer3", (64, 8, 8)),
    ],
)
def test_features_are_those_of_timm(name: str, size: int, layer: str, shape: tuple[int, int, int]) -> None:
    model = backbone(timm.create_model(name, num_classes=3), (size, size))
    assert model.card.feature_layer == layer
    with torch.no_grad():
        found = model.predict(images(2, size))
        assert found.features.shape == (2, *shape)
        assert torch.equal(found.features, model.net.forward_features(model.normalise(images(2, size))))
        torch.testing.assert_close(model.net.forward_head(found.features), found.logits)


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("vit_tiny_patch16_224", {"img_size": 32, "depth": 2}, 32),
        (
            "swin_tiny_patch4_window7_224",
            {"img_size": 64, "embed_dim": 8, "depths": (1,) * 4, "num_heads": (1,) * 4, "window_size": 2},
            64,
        ),
    ],
)
def test_token_models_and_maps_with_channels_last_have_no_feature_map(
    name: str, options: dict[str, object], size: int
) -> None:
    model = backbone(timm.create_model(name, num_classes=3, **options), (size, size))
    assert model.card.feature_layer is None
    assert model(images(2, size)).shape == (2, 3)
    with pytest.raises(EvalSuiteError, match=r"has no feature map of height and width; .*--feature-layer"):
        model.features(images(2, size))


class Squeezes(nn.Module):
    """As many published networks end: all axes of length 1 are dropped, that of a batch of one too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 5, 3), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x).mean((2, 3), keepdim=True).squeeze())


class SqueezesAndNormalises(Squeezes):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) - super().forward(x).mean(1, keepdim=True)


@pytest.mark.parametrize("net", [Squeezes(), SqueezesAndNormalises()])
def test_a_network_that_squeezes_takes_the_last_batch_of_one_too(net: nn.Module) -> None:
    model = backbone(net, layer="conv")
    whole, one = model(images(3)), model.predict(images(3)[2:])
    assert one.logits.shape == (1, 3)
    torch.testing.assert_close(one.logits, whole[2:])
    torch.testing.assert_close(one.features, model.features(images(3))[2:])


def test_what_fails_for_another_reason_still_fails_with_a_batch_of_one() -> None:
    model = backbone(Small())
    with pytest.raises(RuntimeError, match="size"):
        model(torch.rand(1, 3, 1, 1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_network_in_memory_of_another_precision_is_left_alone_and_refused(dtype: torch.dtype) -> None:
    net = Small().to(dtype)
    with pytest.raises(InputError, match=rf"found weights of {dtype}; pass net.float\(\)"):
        Backbone.wrap(net, input_size=(32, 32))
    assert net.head.weight.dtype == dtype


def test_what_is_odd_about_a_network_is_on_its_card() -> None:
    half = (0.5, 0.5, 0.5)
    wrapped = Backbone.wrap(nn.Sequential(Small(), nn.Softmax(1)), input_size=(32, 32), mean=half, std=half)
    assert [line.partition(":")[0] for line in wrapped.card.load.warnings] == ["probabilities"]
    assert backbone(Small()).card.load.warnings == []


def test_settings_and_names_may_be_arrays() -> None:
    card = Backbone.wrap(
        Small(),
        classes=np.array(["a", "b", "c"]),
        input_size=np.int64(32),
        mean=np.array(MEAN),
        std=torch.tensor(STD, dtype=torch.float64),
    ).card
    assert (card.classes, card.input_size) == (["a", "b", "c"], (32, 32))
    assert (card.mean, card.std) == (MEAN, STD)


def test_a_network_of_patches_in_memory_has_the_size_that_it_was_made_for() -> None:
    net = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, depth=1, num_classes=3)
    assert Backbone.wrap(net).card.input_size == (32, 32)
    assert Backbone.wrap(timm.create_model("resnet18", num_classes=3)).card.input_size == (224, 224)


def test_a_network_that_takes_no_small_images_behaves_at_the_size_that_it_is_given() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 80, 16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    there = at_size(Backbone.wrap(net, input_size=96), (128, 128)).card
    assert there.behaviour == Backbone.wrap(net, input_size=128).card.behaviour
