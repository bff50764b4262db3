"""Our architectures: sizes of the papers, timm's interface, and layers where regularizers look for them."""

from itertools import pairwise

import pytest
import timm
import torch
from torch import nn

from eval_suite.backbones.backbone import probe
from eval_suite.backbones.building import build_net
from eval_suite.core.errors import InputError


def pyramid_count(depth: int, alpha: int, classes: int, bottleneck: bool) -> int:
    """Parameters by the paper's arithmetic, written out once more."""
    blocks = (depth - 2) // (9 if bottleneck else 6)
    total, wide = 3 * 16 * 9 + 2 * 16, 16
    for k in range(1, 3 * blocks + 1):
        c = round(16 + k * alpha / (3 * blocks))
        out = 4 * c if bottleneck else c
        convolutions = wide * c + 9 * c * c + c * out if bottleneck else 9 * wide * c + 9 * c * c
        norms = 2 * (wide + c + c + out) if bottleneck else 2 * (wide + c + out)
        total, wide = total + convolutions + norms, out
    return total + 2 * wide + wide * classes + classes


def resnet110_count(classes: int) -> int:
    total, wide = 3 * 16 * 9 + 2 * 16, 16
    for c in (16, 32, 64):
        total += wide * 4 * c + 2 * 4 * c  # the projection
        for _ in range(12):
            total += wide * c + 9 * c * c + 4 * c * c + 2 * (c + c + 4 * c)
            wide = 4 * c
    return total + wide * classes + classes


def vgg16_gap_count(classes: int) -> int:
    widths = [3, *[64] * 2, *[128] * 2, *[256] * 3, *[512] * 6, 1024]
    convolutions = sum(9 * a * b + b for a, b in pairwise(widths))
    return convolutions + 1024 * classes + classes


@pytest.mark.parametrize(
    ("arch", "classes", "options", "parameters", "millions"),
    [
        ("pyramidnet200_a240", 100, {}, pyramid_count(200, 240, 100, True), "26.84"),
        ("pyramidnet200_a240", 10, {}, pyramid_count(200, 240, 10, True), "26.75"),
        ("pyramidnet110_a64", 100, {}, pyramid_count(110, 64, 100, True), "1.725"),
        ("pyramidnet110_a64", 100, {"bottleneck": False}, pyramid_count(110, 64, 100, False), "2.62"),
        ("resnet110_bottleneck_cifar", 100, {}, resnet110_count(100), "1.171"),
        # torchvision's ResNet-18 has 11,689,512 for 1000 classes, 513,000 of them in its last layer and 9,408 in its stem.
        ("resnet18_cifar", 100, {}, 11_689_512 - 513_000 - 9_408 + 51_300 + 1_728, "11.22"),
        ("resnet50", 1000, {}, 25_557_032, "25.557"),
        ("seresnet50", 1000, {}, 28_088_024, "28.088"),
        ("geresnet50", 1000, {}, 33_652_696, "33.7"),
        ("vgg16_gap", 1000, {}, vgg16_gap_count(1000), "20.5"),
    ],
)
def test_parameter_counts(
    arch: str, classes: int, options: dict[str, object], parameters: int, millions: str
) -> None:
    with torch.device("meta"):
        net = timm.create_model(arch, num_classes=classes, **options)
    count = sum(parameter.numel() for parameter in net.parameters())
    assert count == parameters
    assert f"{count / 1e6:.{len(millions.partition('.')[2])}f}" == millions


@pytest.mark.parametrize(
    ("arch", "options", "side", "layer"),
    [
        ("pyramidnet110_a64", {"depth": 20, "alpha": 12}, 32, "act_final"),
        ("pyramidnet110_a64", {"depth": 14, "alpha": 12, "bottleneck": False}, 32, "act_final"),
        ("resnet110_bottleneck_cifar", {"blocks": 1}, 32, "layer3"),
        ("geresnet50", {"layers": [1, 1, 1, 1], "img_size": 64}, 64, "layer4"),
        ("vgg16_gap", {}, 32, "relu"),
    ],
)
def test_they_are_classifiers_of_timms_kind(
    arch: str, options: dict[str, object], side: int, layer: str
) -> None:
    net = build_net(arch, 7, options)
    found = probe(net, (side, side))
    assert (found.outputs, found.feature_layer) == (7, layer)
    images = torch.rand(2, 3, side, side)
    logits = net(images)
    assert torch.equal(net.train().forward_head(net.forward_features(images)), logits)
    assert net.forward_head(net.forward_features(images), pre_logits=True).shape == (2, net.num_features)
    net.reset_classifier(3)
    assert net(images).shape == (2, 3)
    logits.sum().backward()
    assert all(
        parameter.grad is not None for name, parameter in net.named_parameters() if "fc." not in name[:3]
    )


def test_pyramids_shortcut_pools_and_pads() -> None:
    net = build_net("pyramidnet110_a64", 3, {"depth": 11, "alpha": 9})
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.zeros_(module.weight)  # branches give nothing
    x = torch.rand(1, 76, 9, 9)
    out = net.layer2(x)
    assert out.shape == (1, 88, 5, 5)
    torch.testing.assert_close(out[:, :76], nn.functional.avg_pool2d(x, 2, 2, ceil_mode=True))
    assert not out[:, 76:].any()


def test_a_depth_that_no_pyramid_has() -> None:
    with pytest.raises(InputError, match=r"depth must be 9n\+2 with n >= 1, found 100"):
        build_net("pyramidnet200_a240", 10, {"depth": 100})


def test_gather_excite_scales_channels_and_knows_its_size() -> None:
    net = build_net("geresnet50", 5, {"layers": [1, 1, 1, 1], "img_size": 64})
    gate = net.layer4[0].se.eval()
    x = torch.rand(2, 2048, 2, 2)
    scale = gate(x) / x
    torch.testing.assert_close(scale, scale[:, :, :1, :1].expand_as(scale))
    by_hand = gate.norm(
        (x * gate.gather.weight[:, 0]).sum((2, 3), keepdim=True) + gate.gather.bias.view(1, -1, 1, 1)
    )
    torch.testing.assert_close(gate(x), x * gate.fc2(torch.relu(gate.fc1(by_hand))).sigmoid())
    with pytest.raises(ValueError, match="was made for another input size"):
        net(torch.rand(1, 3, 96, 96))
