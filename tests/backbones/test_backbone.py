"""A backbone owns its normalisation, and knows its last feature map."""

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from eval_suite.backbones import architectures  # noqa: F401 - registers ours with timm
from eval_suite.backbones.backbone import Backbone, Probe, finish, probe
from eval_suite.core.errors import EvalSuiteError, InputError
from eval_suite.core.records import BackboneCard

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


def test_the_feature_layer_of_vgg_is_its_last_map() -> None:
    net = torchvision.models.vgg11(num_classes=2, init_weights=False)
    found = probe(net, (224, 224))
    assert found == Probe(2, "avgpool")  # 7 x 7 to 7 x 7: the same map as `features`
    x = images(1, 224)
    torch.testing.assert_close(net.eval().avgpool(net.features(x)), net.features(x))


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


def test_probing_changes_nothing() -> None:
    net = Small().train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    assert probe(net, (32, 48)) == Probe(3, "body")
    assert net.training
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize(
    "net", [Small(), timm.create_model("vit_tiny_patch16_224", depth=1, num_classes=2)], ids=["conv", "vit"]
)
def test_a_size_the_network_cannot_take_is_wrong_input(net: nn.Module) -> None:
    with pytest.raises(InputError, match=r"cannot take a 2x1 image: .*; see --input-size") as caught:
        probe(net, (2, 1))
    assert "\n" not in str(caught.value)
    assert not any(module._forward_hooks for module in net.modules())


class _Returns(nn.Module):
    def __init__(self, output: object) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: Tensor) -> object:
        return self.output


@pytest.mark.parametrize(
    ("output", "found"),
    [
        (torch.zeros(1, 3, 4), r"\(1, 3, 4\)"),
        ({"logits": torch.zeros(1, 3)}, "dict"),
        ((torch.zeros(1, 3),), "tuple"),
    ],
)
def test_what_is_no_classifier_is_wrong_input(output: object, found: str) -> None:
    with pytest.raises(
        InputError, match=rf"expected a classifier returning logits \(N, classes\), found {found}"
    ):
        probe(_Returns(output), (32, 32))
