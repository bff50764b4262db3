"""Networks by name, of the libraries and ours."""

from typing import Any

import pytest
import timm
import torch

from eval_suite.backbones.building import architecture_names, build_net, native_config
from eval_suite.core.errors import InputError
from tests.backbones.test_sources import FACTORY, TINY, images


def test_a_net_is_built_by_name_in_either_library() -> None:
    for arch in ("resnet20_cifar", "timm:resnet20_cifar"):
        assert build_net(arch, 6).fc.out_features == 6
    assert build_net("torchvision:squeezenet1_1", 6).num_classes == 6
    assert native_config("resnet20_cifar", build_net("resnet20_cifar", 6))["input_size"] == (32, 32)
    names = architecture_names()
    assert "resnet14_demo" in names["timm"]
    assert {"resnet50", "vgg16"} <= set(names["torchvision"])
    assert "fasterrcnn_resnet50_fpn" not in names["torchvision"]


@pytest.mark.parametrize(
    ("arch", "options", "message"),
    [
        ("resnet20_cifra", {}, "Did you mean 'resnet20_cifar'"),
        (
            "torchvison:resnet18",
            {},
            "unknown library of architectures 'torchvison'. Did you mean 'torchvision'",
        ),
        ("resnet18.none", {}, "unknown weights of timm:resnet18 'none'"),
        ("resnet20_cifar", {"blcks": 2}, "does not accept its options {'blcks': 2}"),
        ("torchvision:squeezenet1_1", {"blcks": 2}, "does not accept its options {'blcks': 2}"),
    ],
)
def test_a_net_that_cannot_be_built_is_wrong_input(arch: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_net(arch, 5, options)


def test_our_resnet20_has_the_parameters_of_the_paper() -> None:
    def conv(inputs: int, outputs: int) -> int:
        return 9 * inputs * outputs + 2 * outputs

    stage = {16: 6 * conv(16, 16), 32: conv(16, 32) + 5 * conv(32, 32), 64: conv(32, 64) + 5 * conv(64, 64)}
    by_hand = conv(3, 16) + sum(stage.values()) + 64 * 10 + 10
    net = timm.create_model("resnet20_cifar")
    assert sum(p.numel() for p in net.parameters()) == by_hand == 269_722
    assert sum(p.numel() for p in timm.create_model("resnet56_cifar").parameters()) == 853_018


def test_our_resnet20_computes_what_the_public_one_does() -> None:
    namespace: dict[str, Any] = {}
    exec(FACTORY.read_text(), namespace)
    torch.manual_seed(5)
    theirs, ours = namespace["resnet20"](10), build_net("resnet20_cifar", 10)
    state = {key.replace("linear.", "fc."): value for key, value in theirs.state_dict().items()}
    ours.load_state_dict(state, strict=True)
    for mode in (True, False):
        torch.testing.assert_close(ours.train(mode)(images(4)), theirs.train(mode)(images(4)))


@pytest.mark.parametrize(
    ("name", "size", "strides"), [("resnet20_cifar", 32, [1, 2, 4]), ("resnet14_demo", 64, [2, 4, 8])]
)
def test_our_networks_give_timm_their_stages(name: str, size: int, strides: list[int]) -> None:
    net = timm.create_model(name, features_only=True)
    assert net.feature_info.reduction() == strides
    maps = net(images(1, size))
    assert [size // found.shape[-1] for found in maps] == strides
    assert [found.shape[1] for found in maps] == net.feature_info.channels()


def test_our_networks_have_timms_classifier_interface() -> None:
    net = build_net("resnet14_demo", 5, TINY)
    assert net(images(2, 64)).shape == (2, 5)
    assert net.get_classifier() is net.fc
    pooled = net.forward_head(net.forward_features(images(2, 64)), pre_logits=True)
    assert pooled.shape == (2, net.num_features) == (2, 16)
    net.reset_classifier(3)
    assert net(images(2, 64)).shape == (2, 3)
    net.reset_classifier(0)
    torch.testing.assert_close(net(images(2, 64)), pooled)
    net.reset_classifier(0, "")
    assert net(images(2, 64)).shape == (2, 16, 8, 8)
