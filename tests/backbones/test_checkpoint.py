"""Weights files: anyone's are read safely, ours are written whole and known by their hash."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from eval_suite.backbones.checkpoint import (
    load_state,
    load_weights,
    save_checkpoint,
    save_state,
    state_sha256,
)
from eval_suite.core.cards import BackboneCard
from eval_suite.core.errors import EvalSuiteError, InputError
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


def test_loading_copies_every_value_and_reports_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source, target = net(), net()
    torch.save({"state_dict": {**source.state_dict(), "extra.weight": torch.ones(1)}}, tmp_path / "w.pth")
    report = load_weights(target, tmp_path / "w.pth")
    assert equal(dict(target.state_dict()), dict(source.state_dict()))
    assert report.matched == len(source.state_dict()) == 9
    assert (report.missing, report.unexpected) == ([], ["extra.weight"])
    assert report.notes[0] == "took the weights under 'state_dict'"


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


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_the_hash_knows_quantised_weights_and_other_state() -> None:
    def state(weight: float, extra: object) -> dict[str, Any]:
        linear = nn.Sequential(nn.Linear(2, 2))
        nn.init.constant_(linear[0].weight, weight)
        nn.init.zeros_(linear[0].bias)
        quantised = torch.ao.quantization.quantize_dynamic(linear, {nn.Linear}, dtype=torch.qint8)
        return {**quantised.state_dict(), "extra": extra}

    assert state_sha256(state(1.0, 1)) == state_sha256(state(1.0, 1))
    assert len({state_sha256(s) for s in (state(1.0, 1), state(2.0, 1), state(1.0, None))}) == 3


def test_the_hash_is_the_same_from_every_file_format(tmp_path: Path) -> None:
    state = dict(net().state_dict())
    torch.save({"state_dict": prefixed(state, "module.")}, tmp_path / "w.pth")
    save_file(state, tmp_path / "w.safetensors")
    hashes = set()
    for name in ("w.pth", "w.safetensors"):
        target = net()
        load_weights(target, tmp_path / name)
        hashes.add(state_sha256(target.state_dict()))
    assert hashes == {state_sha256(state)}


class Versioned(nn.Linear):
    """Refuses a state dict that does not say its version, as torchvision's MNASNet does."""

    _version = 2

    def _load_from_state_dict(self, state: Any, prefix: str, metadata: Any, *rest: Any) -> None:
        if metadata.get("version") != 2:
            raise ValueError(f"version {metadata.get('version')}")
        super()._load_from_state_dict(state, prefix, metadata, *rest)


@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.parametrize("kept", [True, False])
def test_what_modules_note_of_their_version_arrives(prefix: str, kept: bool, tmp_path: Path) -> None:
    whole = nn.Module()
    whole.model = nn.Sequential(Versioned(2, 2))
    state = whole.state_dict() if prefix else whole.model.state_dict()
    torch.save({"state_dict": state if kept else dict(state)}, tmp_path / "w.pth")
    target = nn.Sequential(Versioned(2, 2))
    load_weights(target, tmp_path / "w.pth")
    assert torch.equal(target[0].weight, whole.model[0].weight)
    if kept:
        state._metadata["model.0" if prefix else "0"]["version"] = 1
        torch.save({"state_dict": state}, tmp_path / "old.pth")
        with pytest.raises(InputError, match="version 1"):
            load_weights(target, tmp_path / "old.pth")


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
    with pytest.raises(InputError, match="remove that file to fit anew") as caught:
        load_state(path)
    assert caught.value.where == str(path)


def test_a_state_is_a_mapping(tmp_path: Path) -> None:
    torch.save([torch.ones(1)], tmp_path / "state.pt")
    with pytest.raises(InputError, match="a list"):
        load_state(tmp_path / "state.pt")
