"""The frame of every fit: identity, state, guard, and torch's global generator."""

import json
import math
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file

from eval_suite.core.errors import BusyError, DivergenceError, InputError
from eval_suite.training.fit_run import STATE, WEIGHTS, FitRun, read_fitted


class Row(NamedTuple):
    step: int
    loss: float


def fit(folder: Path, digest: str = "a", seed: int = 0) -> FitRun:
    return FitRun(folder, {"digest": digest, "seed": seed}, purpose="fitting", save_interval=1e-9)


def test_a_state_comes_back_to_its_own_fit_alone(tmp_path: Path) -> None:
    fit(tmp_path).save({"step": 3, "weights": {"w": torch.ones(2)}}, [Row(1, 0.5)])
    state = fit(tmp_path).state()
    assert state is not None
    assert (state["step"], state["weights"]["w"].tolist()) == (3, [1, 1])
    assert [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [
        {"step": 1, "loss": 0.5}
    ]
    assert fit(tmp_path, digest="b").state() is None
    assert fit(tmp_path, seed=1).state() is None


def test_a_finished_fit_leaves_its_weights_and_description(tmp_path: Path) -> None:
    run = fit(tmp_path)
    run.save({"step": 1})
    tied = torch.arange(3.0)
    run.finish({"a": tied, "b": tied}, {"digest": "a", "seed": 0, "loss": 1.5}, [Row(2, 1.5)])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "fitted.json",
        "log.jsonl",
        "model.safetensors",
    ]
    assert load_file(tmp_path / "model.safetensors")["b"].tolist() == [0, 1, 2]
    finished = fit(tmp_path).finished()
    assert finished is not None
    assert finished["loss"] == 1.5
    assert fit(tmp_path, digest="b").finished() is None
    (tmp_path / "model.safetensors").unlink()
    assert fit(tmp_path).finished() is None


@pytest.mark.parametrize("content", ["", "[]", '{"digest": 1}'])
def test_a_damaged_description_is_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "fitted.json").write_text(content)
    assert fit(tmp_path).finished() is None


@pytest.mark.parametrize(
    ("loss", "weight", "diverged"),
    [(math.nan, 1.0, "the loss"), (math.inf, 1.0, "the loss"), (1.0, math.nan, "a weight")],
)
def test_what_is_not_finite_is_never_kept(loss: float, weight: float, diverged: str, tmp_path: Path) -> None:
    run = fit(tmp_path)
    weights = {"w": torch.tensor([1.0, weight])}
    with pytest.raises(DivergenceError, match=f"{diverged} .* in epoch 2; no state was saved yet") as caught:
        run.require_good(loss, weights, where="in epoch 2", remedy="lower the learning rate")
    assert caught.value.remedy == "lower the learning rate"
    run.save({"step": 1})
    with pytest.raises(DivergenceError, match="the last good state is kept"):
        run.require_good(loss, weights, where="in epoch 2", remedy="")
    run.require_good(1.0, {"w": torch.ones(2)}, where="", remedy="")


def test_the_folder_is_held_and_the_users_random_numbers_are_left_alone(tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    with fit(tmp_path).held():
        torch.manual_seed(3)
        torch.rand(5)
        with pytest.raises(BusyError), fit(tmp_path).held():
            pass
    assert torch.equal(torch.random.get_rng_state(), before)
    with fit(tmp_path).held():
        pass


def test_weights_other_than_those_of_the_fit_are_refused(tmp_path: Path) -> None:
    fit = FitRun(tmp_path, {"digest": "a"}, purpose="fitting")
    weights = {"a": torch.arange(3.0)}
    fit.finish(weights, {"digest": "a"})
    description = fit.finished()
    assert description is not None
    assert torch.equal(read_fitted(tmp_path, description, lambda held: held["a"]), weights["a"])
    with pytest.raises(InputError, match="KeyError: 'b'") as caught:
        read_fitted(tmp_path, description, lambda held: held["b"])
    assert caught.value.where == str(tmp_path / WEIGHTS)
    whole = (tmp_path / WEIGHTS).read_bytes()
    for damaged in (whole[:-1], whole[:9], b"", b"weights\n", b"\1" * 40):
        (tmp_path / WEIGHTS).write_bytes(damaged)
        with pytest.raises(InputError, match="remove that file to fit anew"):
            read_fitted(tmp_path, description, dict)
    save_file({"a": torch.zeros(3)}, tmp_path / WEIGHTS)
    with pytest.raises(InputError, match=r"weights [0-9a-f]{12} and not") as caught:
        read_fitted(tmp_path, description, dict)
    assert caught.value.where == str(tmp_path / WEIGHTS)


@pytest.mark.parametrize(
    "error", [KeyError("step"), RuntimeError("size mismatch"), ValueError("x"), TypeError("y")]
)
def test_a_state_that_does_not_fit_names_its_file(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="remove that file to fit anew") as caught, fit(tmp_path).resuming():
        raise error
    assert caught.value.where == str(tmp_path / STATE)
    with pytest.raises(MemoryError), fit(tmp_path).resuming():
        raise MemoryError
