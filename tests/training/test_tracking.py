"""Trackers get what is logged, and never cost a training."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.tracking import GeneralTracker
from accelerate.utils import LoggerType

from eval_suite.core.errors import InputError
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.training import loop
from eval_suite.training.recipe import Recipe
from eval_suite.training.tracking import require_trackers

MakeRecipe = Callable[..., Recipe]
CPU = RuntimeOptions(device="cpu", workers=0, threads=1)


class Notebook(GeneralTracker):
    """Keeps what it is given; fails from an epoch on where it shall."""

    name = "notebook"
    requires_logging_directory = False

    def __init__(self, fails_from: int = 99) -> None:
        super().__init__()
        self.rows: dict[int, dict[str, Any]] = {}
        self.settings: dict[str, Any] = {}
        self.fails_from, self.finished = fails_from, False

    @property
    def tracker(self) -> Any:
        return self

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.settings = values

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        if step is not None and step >= self.fails_from:
            raise ConnectionError("no route to the tracker")
        self.rows[step or 0] = values

    def finish(self) -> None:
        self.finished = True


def run(recipe: Recipe, folder: Path, tracker: Notebook, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    real = loop.accelerator_on
    monkeypatch.setattr(loop, "require_trackers", lambda _: None)
    monkeypatch.setattr(
        loop,
        "accelerator_on",
        lambda device, precision, _trackers, at: real(device, precision, [tracker], at),
    )
    loop.train(recipe, name="net", seed=0, folder=folder, runtime=CPU)
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_tracker_gets_every_epoch_and_the_settings(
    tiny_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = Notebook()
    logged = run(tiny_recipe(trackers=["tensorboard"], epochs=2), tmp_path, tracker, monkeypatch)
    assert [{"epoch": epoch, **row} for epoch, row in tracker.rows.items()] == logged
    assert (tracker.settings["lr"], tracker.finished) == (0.05, True)


def test_a_tracker_that_fails_leaves_the_training_as_it_is(
    tiny_recipe: MakeRecipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tracker = Notebook(fails_from=2)
    logged = run(tiny_recipe(trackers=["wandb"]), tmp_path, tracker, monkeypatch)
    assert (len(logged), list(tracker.rows)) == (3, [1])
    assert [one for one in caplog.messages if "no route" in one] == [
        one for one in caplog.messages if "tracker" in one
    ]
    assert torch.is_grad_enabled()


def test_a_tracker_that_is_not_installed_is_named(
    tiny_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eval_suite.training.tracking.get_available_trackers", lambda: [LoggerType.WANDB])
    require_trackers(tiny_recipe(trackers=["wandb"]))
    with pytest.raises(InputError) as caught:
        require_trackers(tiny_recipe(trackers=["wandb", "mlflow"]))
    assert caught.value.found == "no mlflow"
