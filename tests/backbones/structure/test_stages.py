"""Cutting networks: the same places that timm names, and the same maps on both sides of the cut."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eval_suite.backbones.backbone import probe
from eval_suite.backbones.building import build_net
from eval_suite.backbones.structure.stages import Tail, Trunk, ends_of_stages, parts_of
from eval_suite.core.errors import InputError

SAME_AS_TIMM = [
    "resnet14_demo",
    "resnet18",
    "resnet18d",
    "mobilenetv3_small_050",
    "densenet121",
    "vgg11_bn",
    "dla34",
]


def opened(arch: str) -> tuple[nn.Module, list[Any], str]:
    net = build_net(arch, 10).eval()
    last = probe(net, (64, 64)).feature_layer
    assert last is not None
    return net, parts_of(net, last), last


@pytest.mark.parametrize("arch", SAME_AS_TIMM)
def test_stages_end_where_timm_says(arch: str) -> None:
    net, parts, _ = opened(arch)
    told = {info["reduction"]: info["num_chs"] for info in net.feature_info}  # type: ignore[union-attr]
    assert {end.stride: end.channels for end in ends_of_stages(parts)} == told


@pytest.mark.parametrize(
    "arch", ["resnet14_demo", "resnet18d", "mobilenetv3_small_050", "torchvision:resnet18"]
)
@torch.no_grad()
def test_trunk_and_tail_together_are_the_network(arch: str) -> None:
    net, parts, last = opened(arch)
    ends = ends_of_stages(parts)
    cut = copy.deepcopy(net)
    tail = Tail(cut, parts, ends[-2].name, frozen_norm=True).eval()
    trunk = Trunk(cut, parts, [ends[-3].name, ends[-2].name], frozen_norm=True).eval()
    images = torch.randn(2, 3, 96, 64)
    kept: dict[str, Tensor] = {}
    for name in (ends[-3].name, ends[-2].name, last):
        net.get_submodule(name).register_forward_hook(
            lambda _m, _i, out, name=name: kept.__setitem__(name, out.clone())
        )
    net(images)
    maps = trunk(images)
    assert torch.equal(maps[0], kept[ends[-3].name])
    assert torch.equal(maps[1], kept[ends[-2].name])
    assert torch.equal(tail(maps[1]), kept[last])
    # Each layer is on one side of the cut, and the classifier on none.
    on_both = sum(p.numel() for side in (trunk, tail) for p in side.parameters())
    assert on_both < sum(p.numel() for p in net.parameters())
    assert not {id(p) for p in trunk.parameters()} & {id(p) for p in tail.parameters()}


class Functional(nn.Module):
    """A user's own network, whose code does more than call modules."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 8, 3, 2, 1)
        self.third, self.fc = nn.Conv2d(8, 16, 3, 2, 1), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.third(F.relu(self.second(F.relu(self.first(x))))))
        return self.fc(x.mean((2, 3)))


def test_code_between_parts_keeps_the_last_stage_from_standing_alone() -> None:
    net = Functional().eval()
    parts = parts_of(net, "third")
    assert [part.name for part in parts] == ["first", "second", "third"]
    with torch.no_grad():
        maps = Trunk(copy.deepcopy(net), parts, ["first", "second"], frozen_norm=False)(
            torch.ones(1, 3, 64, 64)
        )
        wanted = net.second(F.relu(net.first(torch.ones(1, 3, 64, 64))))
    assert torch.equal(maps[1], wanted)
    with pytest.raises(InputError, match=r"before 'third'.*faster-rcnn-fpn"):
        Tail(net, parts, "second", frozen_norm=False)


def test_frozen_parts_stay_as_they_are() -> None:
    net, parts, _ = opened("resnet14_demo")
    trunk = Trunk(net, parts, ["layer2", "layer3"], frozen_norm=True, frozen_stride=2)
    trunk.train()
    norms = [m for m in trunk.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert not any(norm.training for norm in norms)
    learning = {name for name, p in trunk.named_parameters() if p.requires_grad}
    assert learning == {
        f"net.{layer}.{block}.{conv}.weight"
        for layer in ("layer2", "layer3")
        for block in (0, 1)
        for conv in ("conv1", "conv2")
    }


def test_token_networks_have_no_maps() -> None:
    net = build_net("vit_tiny_patch16_224", 10, {"dynamic_img_size": True})
    with pytest.raises(InputError, match="no feature maps"):
        parts_of(net, "blocks.11")
