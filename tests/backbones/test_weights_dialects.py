"""Weights in two parts, and in the keys of an architecture's authors."""

import re
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from eval_suite.backbones.checkpoint import load_weights
from eval_suite.backbones.weights_match import OutputsError
from eval_suite.core.errors import InputError

State = dict[str, Tensor]


class Small(nn.Module):
    def __init__(self, outputs: int = 2) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3)
        self.bn1 = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, outputs)


def parts(state: State, body: str, head: str) -> State:
    return {(head if key.startswith("fc") else body) + key: value for key, value in state.items()}


def loaded(net: nn.Module, content: Any, folder: Path, entry: str | None = None) -> list[str]:
    torch.save(content, folder / "w.pth")
    return load_weights(net, folder / "w.pth", entry).notes


def same(one: nn.Module, state: State) -> bool:
    return all(torch.equal(value, state[key]) for key, value in one.state_dict().items())


@pytest.mark.parametrize("around", ["", "module."])
def test_a_backbone_and_a_head_side_by_side(tmp_path: Path, around: str) -> None:
    state = Small().state_dict()
    net = Small()
    content = {"meta": {"epoch": 1}, "state_dict": parts(state, f"{around}backbone.", f"{around}head.")}
    notes = loaded(net, content, tmp_path)
    assert same(net, state)
    assert any("backbone" in note and "head" in note for note in notes)


def test_another_number_of_classes_is_told_of_parts_too(tmp_path: Path) -> None:
    content = parts(Small(5).state_dict(), "backbone.", "head.")
    with pytest.raises(OutputsError) as caught:
        loaded(Small(), content, tmp_path)
    assert caught.value.outputs == 5


@pytest.mark.parametrize(
    "content",
    [
        {**parts(Small().state_dict(), "a.", "head."), **parts(Small().state_dict(), "b.", "head.")},
        {**parts(Small().state_dict(), "a.", "head."), **parts(Small().state_dict(), "a.", "aux_head.")},
        {"x": parts(Small().state_dict(), "a.", "head."), "y": parts(Small().state_dict(), "b.", "head.")},
        {
            key: value
            for key, value in parts(Small().state_dict(), "a.", "head.").items()
            if "bias" not in key
        },
    ],
)
def test_parts_that_fit_in_two_ways_or_in_none_are_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(InputError, match="do not cover the network"):
        loaded(Small(), content, tmp_path)


@pytest.mark.parametrize(
    "wrapper", ["module", "_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"]
)
@pytest.mark.parametrize("around", ["", "model."])
def test_parts_that_were_wrapped(tmp_path: Path, wrapper: str, around: str) -> None:
    state = Small().state_dict()
    net = Small()
    wrapped = {f"{around}{key.replace('bn1.', f'bn1.{wrapper}.')}": value for key, value in state.items()}
    notes = loaded(net, {"state_dict": wrapped}, tmp_path)
    assert same(net, state)
    assert any("wrappers" in note for note in notes)
    with pytest.raises(InputError, match="do not cover the network"):
        loaded(
            net,
            {**wrapped, **{f"{around}{key}": value + 1 for key, value in state.items() if "bn1.w" in key}},
            tmp_path,
        )


@pytest.mark.parametrize(
    "change", [lambda v: (v * 100).to(torch.int8), lambda v: v.to(torch.complex64), lambda v: v.to("meta")]
)
def test_what_torch_would_cast_silently_is_refused(tmp_path: Path, change: Any) -> None:
    state = {
        key: change(value) if key == "fc.weight" else value for key, value in Small().state_dict().items()
    }
    with pytest.raises(InputError, match=r"fc\.weight"):
        loaded(Small(), state, tmp_path)


def of_its_authors(key: str) -> str:
    """ConvNeXt's keys as its authors have them."""
    key = re.sub(r"^stem\.", "downsample_layers.0.", key)
    key = re.sub(r"^stages\.(\d)\.blocks\.", r"stages.\1.", key)
    key = re.sub(r"^stages\.(\d)\.downsample\.", r"downsample_layers.\1.", key)
    key = key.replace("head.norm.", "norm.").replace("head.fc.", "head.")
    return key.replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")


@pytest.mark.parametrize(
    "wrap",
    [lambda s: s, lambda s: {"model": s}, lambda s: {"model": {f"module.{k}": v for k, v in s.items()}}],
)
def test_the_keys_of_an_architectures_authors_are_converted_by_timm(tmp_path: Path, wrap: Any) -> None:
    def net(outputs: int = 3) -> nn.Module:
        return timm.create_model("convnext_atto", num_classes=outputs)

    state, mine = net().state_dict(), net()
    theirs = {of_its_authors(key): value for key, value in state.items()}
    assert theirs.keys().isdisjoint(state.keys() - theirs.keys())
    notes = loaded(mine, wrap(theirs), tmp_path)
    assert same(mine, state)
    assert any("checkpoint_filter_fn" in note for note in notes)
    with pytest.raises(OutputsError):
        loaded(net(7), wrap(theirs), tmp_path)
    with pytest.raises(InputError, match="do not cover the network"):
        loaded(mine, Small().state_dict(), tmp_path)
