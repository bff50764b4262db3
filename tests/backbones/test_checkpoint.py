"""Weights files: anyone's are read safely, ours are written whole and known by their hash."""

import argparse
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from eval_suite.backbones.checkpoint import (
    load_state,
    load_weights,
    read_weights,
    save_checkpoint,
    save_state,
    state_sha256,
)
from eval_suite.core.errors import EvalSuiteError, InputError
from eval_suite.core.records import BackboneCard
from eval_suite.core.store import read_card

State = dict[str, Tensor]


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def equal(a: State, b: State) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def prefixed(state: State, prefix: str) -> State:
    return {prefix + key: value for key, value in state.items()}


def card() -> BackboneCard:
    return BackboneCard(
        name="a", source="", arch="b", classes=[], input_size=(8, 8), mean=(0, 0, 0), std=(1, 1, 1)
    )


@pytest.mark.parametrize(
    ("wrap", "notes"),
    [
        (lambda s: s, []),
        (lambda s: {"state_dict": s, "epoch": 3, "best": 0.5}, ["took the entry 'state_dict'"]),
        (lambda s: {"model": s, "optimizer": {"lr": 1}}, ["took the entry 'model'"]),
        (lambda s: {"model_state_dict": s}, ["took the entry 'model_state_dict'"]),
        (lambda s: {"net": {"state_dict": s}}, ["took the entry 'net'", "took the entry 'state_dict'"]),
        (lambda s: prefixed(s, "module."), ["stripped the prefix 'module.'"]),
        (lambda s: prefixed(s, "_orig_mod."), ["stripped the prefix '_orig_mod.'"]),
        (
            lambda s: {"state_dict": prefixed(s, "module.")},
            ["took the entry 'state_dict'", "stripped the prefix 'module.'"],
        ),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_a_torch_file_is_unwrapped(
    wrap: Callable[[State], Any], notes: list[str], zipped: bool, tmp_path: Path
) -> None:
    state = net().state_dict()
    torch.save(wrap(state), tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    found, said = read_weights(tmp_path / "w.pth")
    assert equal(found, state)
    assert said == notes


def test_a_prefix_that_only_some_keys_have_is_part_of_the_name(tmp_path: Path) -> None:
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "w.pth")
    assert set(read_weights(tmp_path / "w.pth")[0]) == {"module.a", "b"}


def test_a_safetensors_file_is_read_like_a_torch_file(tmp_path: Path) -> None:
    state = net().state_dict()
    save_file(prefixed(state, "module."), tmp_path / "w.safetensors")
    found, notes = read_weights(tmp_path / "w.safetensors")
    assert equal(found, state)
    assert notes == ["stripped the prefix 'module.'"]


class _Runs:
    """On loading, a pickle of this runs a command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
def test_code_in_a_file_is_refused_and_does_not_run(kind: str, tmp_path: Path) -> None:
    mark, path = tmp_path / "it-ran", tmp_path / "w.pth"
    content = {"state_dict": {"a": torch.ones(2)}, "extra": _Runs(f"touch {mark}")}
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"extra": _Runs(f"touch {mark}")}, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(InputError) as caught:
        read_weights(path)
    message = str(caught.value)
    assert not mark.exists()
    assert "could execute code (it names posix.system)" in message
    assert "save it again as a plain state dict or as safetensors" in message
    assert "\n" not in message
    # The same file, loaded without care, does run: so it is not for being harmless that nothing happened.
    torch.load(path, weights_only=False) if kind != "pickle" else pickle.loads(path.read_bytes())
    assert mark.exists()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"args": argparse.Namespace(lr=1), "state_dict": {"a": torch.ones(1)}}, "argparse.Namespace"),
        ({"model": nn.Linear(2, 2)}, "torch.nn.modules.linear.Linear"),
    ],
)
def test_what_else_a_file_holds_is_named(content: Any, named: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(InputError, match=rf"it names {named}\)"):
        read_weights(tmp_path / "w.pth")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a weights file at .*none.pth, found none"):
        read_weights(tmp_path / "none.pth")


@pytest.mark.parametrize("name", ["w.pth", "legacy.pth", "w.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.4, 0.97])
def test_a_truncated_file_is_told_in_one_line(name: str, share: float, tmp_path: Path) -> None:
    state, path = {"w": torch.randn(50, 50)}, tmp_path / name
    if name.endswith("safetensors"):
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=name == "w.pth")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"cannot read weights from .*; it may be damaged") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)
    assert "execute" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"<!DOCTYPE html><html>404</html>", b"hello world\n", b"\x80\x02", b"\0" * 99]
)
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_file_of_something_else_is_not_called_an_attack(content: bytes, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=r"cannot read weights from .*; it may be damaged") as caught:
        read_weights(tmp_path / name)
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({}, "dict"),
        ({"state_dict": {}}, "dict"),
        ([1, 2], "list"),
        ({"a": 1.0}, "dict"),
        ({1: torch.ones(1)}, "dict"),
    ],
)
def test_a_file_without_tensors_is_refused(content: Any, found: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(InputError, match=f"expected a state dict in .*, found {found} without tensors"):
        read_weights(tmp_path / "w.pth")


def test_loading_copies_every_value_and_reports_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source, target = net(), net()
    torch.save({"state_dict": {**source.state_dict(), "extra.weight": torch.ones(1)}}, tmp_path / "w.pth")
    report = load_weights(target, tmp_path / "w.pth")
    assert equal(dict(target.state_dict()), dict(source.state_dict()))
    assert report.matched == len(source.state_dict()) == 9
    assert (report.missing, report.unexpected) == ([], ["extra.weight"])
    assert report.notes == ["took the entry 'state_dict'"]


def test_missing_and_misshapen_keys_are_listed_and_nothing_is_loaded(tmp_path: Path) -> None:
    state = dict(net().state_dict())
    del state["0.bias"], state["1.running_mean"]
    state["3.weight"] = torch.zeros(5, 4)
    state["fc.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "w.pth")
    target = net()
    before = {key: value.clone() for key, value in target.state_dict().items()}
    with pytest.raises(InputError) as caught:
        load_weights(target, tmp_path / "w.pth")
    message = str(caught.value)
    assert "2 missing: 0.bias, 1.running_mean" in message
    assert "1 of another shape: 3.weight (file (5, 4), network (2, 4))" in message
    assert "1 left over in the file: fc.weight" in message
    assert equal(dict(target.state_dict()), before)


def test_a_long_list_of_keys_is_cut_and_counted(tmp_path: Path) -> None:
    torch.save({"x": torch.ones(1)}, tmp_path / "w.pth")
    with pytest.raises(
        InputError, match=r"8 missing: 0.weight, .*, \.\.\. 2 more; 1 left over in the file: x"
    ):
        load_weights(net(), tmp_path / "w.pth")


def test_the_counter_of_batches_may_be_missing(tmp_path: Path) -> None:
    state = {
        key: value for key, value in net().state_dict().items() if not key.endswith("num_batches_tracked")
    }
    torch.save(state, tmp_path / "w.pth")
    assert load_weights(net(), tmp_path / "w.pth").matched == 8


def test_the_hash_knows_values_names_types_and_shapes_but_not_order() -> None:
    state = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(2), "n": torch.tensor(3), "e": torch.zeros(0)}
    own = state_sha256(state)
    assert own == state_sha256(dict(reversed(state.items())))
    assert own == state_sha256({**state, "a": torch.arange(6.0).view(3, 2).view(2, 3)})
    assert own == state_sha256({**state, "a": torch.arange(6.0).view(2, 3).t().contiguous().t()})
    assert own == state_sha256({**state, "a": nn.Parameter(torch.arange(6.0).view(2, 3))})
    others: list[State] = [
        {**state, "a": state["a"] + 1e-6},
        {**state, "a": state["a"].view(3, 2)},
        {**state, "b": torch.ones(2, dtype=torch.float64)},
        {**state, "b": torch.ones(2).view(torch.int32)},
        {**state, "n": torch.tensor(4)},
        {**state, "e": torch.zeros(0, 1)},
        {"c" if key == "b" else key: value for key, value in state.items()},
        {key: value for key, value in state.items() if key != "b"},
    ]
    assert len({own, *map(state_sha256, others)}) == 1 + len(others)


def test_the_hash_is_the_same_from_every_file_format(tmp_path: Path) -> None:
    state = dict(net().state_dict())
    torch.save({"state_dict": prefixed(state, "module.")}, tmp_path / "w.pth")
    save_file(state, tmp_path / "w.safetensors")
    hashes = {state_sha256(read_weights(tmp_path / name)[0]) for name in ("w.pth", "w.safetensors")}
    assert hashes == {state_sha256(state)}


def test_a_checkpoint_is_its_weights_and_its_card(tmp_path: Path) -> None:
    folder, state = tmp_path / "a" / "cutmix-s0", dict(net().state_dict())
    state["view"] = torch.arange(12.0).view(3, 4).t()
    state["tied"] = state["0.weight"]
    save_checkpoint(folder, state, card())
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "model.safetensors"]
    assert equal(load_file(folder / "model.safetensors"), state)
    assert read_card(folder) == card()


def test_the_card_comes_last_so_that_it_means_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise EvalSuiteError("cannot write")

    monkeypatch.setattr("eval_suite.backbones.checkpoint.write_json", stop)
    with pytest.raises(EvalSuiteError, match="cannot write"):
        save_checkpoint(tmp_path, net().state_dict(), card())
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_training_state_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    assert load_state(path) is None
    save_state(path, {"epoch": 3, "rows": [[1, 0.5]], "net": {"w": torch.ones(2)}})
    found = load_state(path)
    assert found is not None
    assert (found["epoch"], found["rows"]) == (3, [[1, 0.5]])
    assert torch.equal(found["net"]["w"], torch.ones(2))


@pytest.mark.parametrize("keep", [0, 7, 300])
def test_a_damaged_training_state_says_what_to_do(keep: int, tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    save_state(path, {"net": {"w": torch.ones(200)}})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(EvalSuiteError, match=r"cannot resume from .*remove it to train from the start"):
        load_state(path)
