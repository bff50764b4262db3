"""The network's own keys decide which tensors of a file are its weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eval_suite.backbones.weights_file import read_weights_file
from eval_suite.backbones.weights_match import Match, OutputsError, match_weights
from eval_suite.core.errors import InputError

State = dict[str, Tensor]


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def matched(content: Any, folder: Path, entry: str | None = None) -> Match:
    torch.save(content, folder / "w.pth")
    return match_weights(net().state_dict(), read_weights_file(folder / "w.pth"), folder / "w.pth", entry)


def same(found: State, expected: State) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[key], expected[key]) for key in found)


def prefixed(state: State, prefix: str) -> State:
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize(
    ("wrap", "where"),
    [
        (lambda s: s, None),
        (lambda s: {**s, "epoch": 3}, None),
        (lambda s: {"state_dict": s, "epoch": 3, "best": 0.5}, "state_dict"),
        (lambda s: {"model": s, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}}, "model"),
        (lambda s: {"model": {"name": "small", "width": 32}, "params": s}, "params"),
        (lambda s: {"net": {"state_dict": s}}, "net.state_dict"),
        (lambda s: prefixed(s, "module."), "module"),
        (lambda s: prefixed(s, "module._orig_mod.model."), "module._orig_mod.model"),
        (lambda s: {"state_dict": prefixed(s, "model.")}, "state_dict.model"),
        (lambda s: {"any": {"thing": prefixed(s, "trunk.")}}, "any.thing.trunk"),
        (lambda s: [s], "0"),
    ],
)
def test_the_weights_are_found_under_any_wrapping(
    wrap: Callable[[State], Any], where: str | None, tmp_path: Path
) -> None:
    state = dict(net().state_dict())
    found = matched(wrap(state), tmp_path)
    assert same(found.state, state)
    assert found.notes == ([] if where is None else [f"took the weights under '{where}'"])
    assert found.unexpected == []


def test_dictionaries_of_modules_are_joined(tmp_path: Path) -> None:
    state = dict(net().state_dict())
    nested: dict[str, Any] = {}
    for key, value in state.items():
        module, _, name = key.partition(".")
        nested.setdefault(module, {})[name] = value
    assert same(matched(nested, tmp_path).state, state)


def test_other_tensors_next_to_the_weights_are_named(tmp_path: Path) -> None:
    state = prefixed(dict(net().state_dict()), "model.")
    others = {"criterion.weight": torch.ones(2), "model.3.scale_of": torch.ones(1)}
    found = matched({"state_dict": {**state, **others}, "ema_count": torch.ones(1)}, tmp_path)
    assert found.unexpected == ["3.scale_of", "criterion.weight"]
    under, outside = found.notes[1:]
    assert "3.scale_of" in under
    assert "architecture" in under
    assert "criterion.weight" in outside


@pytest.mark.parametrize("average", ["state_dict_ema", "model_ema", "ema", "ema_state_dict", "swa_model"])
def test_of_weights_and_their_average_the_average_is_taken_and_said(average: str, tmp_path: Path) -> None:
    raw, averaged = dict(net().state_dict()), dict(net().state_dict())
    content = {"state_dict": raw, average: {"n_averaged": torch.tensor(3), **prefixed(averaged, "module.")}}
    found = matched(content, tmp_path)
    assert same(found.state, averaged)
    assert any(f"'state_dict' and '{average}.module'" in note for note in found.notes)
    for entry in ("state_dict", "state_dict."):
        assert same(matched(content, tmp_path, entry).state, raw)
    assert same(matched(content, tmp_path, average).state, averaged)


def test_weights_at_the_top_can_be_chosen_too(tmp_path: Path) -> None:
    raw, averaged = dict(net().state_dict()), dict(net().state_dict())
    content = {**raw, "ema": averaged}
    assert same(matched(content, tmp_path).state, averaged)
    assert same(matched(content, tmp_path, ".").state, raw)


def test_two_sets_of_weights_are_named_and_none_is_guessed(tmp_path: Path) -> None:
    one, other = dict(net().state_dict()), dict(net().state_dict())
    content = {"state_dict": {**prefixed(one, "encoder_q."), **prefixed(other, "encoder_k.")}}
    with pytest.raises(InputError) as caught:
        matched(content, tmp_path)
    assert "under 'state_dict.encoder_q' and 'state_dict.encoder_k'" in str(caught.value)
    assert same(matched(content, tmp_path, "state_dict.encoder_k").state, other)
    with pytest.raises(InputError, match=r"Did you mean 'state_dict\.encoder_q'"):
        matched(content, tmp_path, "encoder_q")


def test_the_same_weights_twice_are_no_choice(tmp_path: Path) -> None:
    state = dict(net().state_dict())
    found = matched({"model": state, "best": {key: value.clone() for key, value in state.items()}}, tmp_path)
    assert same(found.state, state)
    assert any("the same weights under 'model' and 'best'" in note for note in found.notes)


def test_a_prefix_that_only_some_keys_have_is_part_of_the_name(tmp_path: Path) -> None:
    state = dict(net().state_dict())
    broken = {("module." if key.startswith("3") else "") + key: value for key, value in state.items()}
    with pytest.raises(InputError, match=r"2 missing: 3.weight, 3.bias; .*module.3.weight"):
        matched(broken, tmp_path)


def test_missing_and_misshapen_keys_are_listed_without_the_prefix(tmp_path: Path) -> None:
    state = dict(net().state_dict())
    del state["0.bias"], state["1.running_mean"]
    state["3.weight"] = torch.zeros(5, 4)
    state["fc.weight"] = torch.zeros(1)
    with pytest.raises(InputError) as caught:
        matched({"state_dict": prefixed(state, "module.")}, tmp_path)
    message = str(caught.value)
    assert "taken under 'state_dict.module'" in message
    assert "2 missing: 0.bias, 1.running_mean" in message
    assert "1 of another shape: 3.weight (file (5, 4), network (2, 4))" in message
    assert "1 left over in the file: fc.weight" in message


def test_a_long_list_of_keys_is_cut_and_counted(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"8 missing: 0.weight, .*, \.\.\. 2 more; 1 left over in the file: x"
    ):
        matched({"x": torch.ones(1)}, tmp_path)


def test_another_number_of_outputs_is_told_by_its_count(tmp_path: Path) -> None:
    state = {**net().state_dict(), "3.weight": torch.zeros(9, 4), "3.bias": torch.zeros(9)}
    with pytest.raises(OutputsError) as caught:
        matched(state, tmp_path)
    assert caught.value.outputs == 9
    with pytest.raises(InputError) as other:
        matched({**state, "0.bias": torch.zeros(7)}, tmp_path)
    assert not isinstance(other.value, OutputsError)


def test_the_counter_of_batches_may_be_missing(tmp_path: Path) -> None:
    state = {key: value for key, value in net().state_dict().items() if "num_batches" not in key}
    assert len(matched(state, tmp_path).state) == 8


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda w: w.fill_(float("nan")), "1 tensor with NaN or infinity: 3.weight"),
        (
            lambda w: w.index_fill(0, torch.tensor([1]), float("inf")),
            "1 tensor with NaN or infinity: 3.weight",
        ),
        (lambda w: w.to_sparse(), "1 sparse tensor: 3.weight"),
        (lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8), "1 quantised tensor: 3.weight"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_tensors_that_are_no_usable_weights_are_named(
    change: Callable[[Tensor], Tensor], found: str, tmp_path: Path
) -> None:
    state = dict(net().state_dict())
    state["3.weight"] = change(state["3.weight"])
    with pytest.raises(InputError, match=f"found {found}; "):
        matched(state, tmp_path)


def test_weights_for_images_of_other_channels_are_called_so(tmp_path: Path) -> None:
    torch.save(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Linear(4, 2)).state_dict(), tmp_path / "w.pth")
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(4, 2)).state_dict()
    with pytest.raises(InputError) as refused:
        match_weights(network, read_weights_file(tmp_path / "w.pth"), tmp_path / "w.pth")
    assert (refused.value.found, "Grayscale()" in refused.value.remedy) == (
        "a first convolution of 1 channels",
        True,
    )


def test_negative_running_variances_are_refused(tmp_path: Path) -> None:
    state = dict(net().state_dict())
    state["1.running_var"] = torch.tensor([0.0, *[1.0] * (len(state["1.running_var"]) - 1)])
    assert matched(state, tmp_path).state["1.running_var"][0] == 0
    state["1.running_var"][-1] = -1e-3
    with pytest.raises(InputError) as refused:
        matched(state, tmp_path)
    assert refused.value.expected == "running variances of 0 or more"
    assert refused.value.found == "1 tensor with negative ones: 1.running_var"


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_quantised_network_is_called_so(tmp_path: Path) -> None:
    quantised = torch.ao.quantization.quantize_dynamic(net(), {nn.Linear}, dtype=torch.qint8)
    with pytest.raises(InputError, match="found quantised ones"):
        matched(quantised.state_dict(), tmp_path)
