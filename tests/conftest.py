"""What many tests stand on: a tiny demo world, a tiny recipe, and the command line in this process."""

import math
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from eval_suite.cli.main import main
from eval_suite.core import runtime
from eval_suite.core.logs import log_to_stderr
from eval_suite.core.statistics import bootstrap_normal, bootstrap_values
from eval_suite.demo.world import make_demo
from eval_suite.training.recipe import Recipe


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """What a test and its fixtures draw does not hang on the tests that the same process ran before."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _as_the_command_line_runs() -> None:
    torch.set_num_threads(1)
    log_to_stderr()
    # A shell that starts the tests in the background leaves it ignored, to every command that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # On a slow machine lines of progress would stand between what a test looks for.
    runtime._LINE_EVERY_SECONDS = math.inf


@pytest.fixture(scope="session")
def demo_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo(tmp_path_factory.mktemp("world") / "demo", "tiny").out


@pytest.fixture
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bootstraps of ten resamples, for tests that evaluate often and look at no interval."""
    for resampling in (bootstrap_normal, bootstrap_values):
        monkeypatch.setitem(resampling.__kwdefaults__, "resamples", 10)
    monkeypatch.setattr("eval_suite.tasks.ood.resamples.RESAMPLES", 10)


@pytest.fixture
def tiny_recipe(demo_world: Path) -> Callable[..., Recipe]:
    """A recipe that trains in about a second; keyword arguments override."""

    def make(**changes: object) -> Recipe:
        settings: dict[str, object] = {
            "arch": "resnet14_demo",
            "arch_options": {"blocks": 1, "channels": [4, 8, 16]},
            "data": f"folder:{demo_world / 'images'}",
            "augmentation": "cifar",
            "input_size": [64, 64],
            "epochs": 3,
            "batch_size": 16,
            "lr": 0.05,
            **changes,
        }
        return Recipe.model_validate(settings)

    return make


class Said(NamedTuple):
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run ``eval-suite`` with these words in this process."""

    def call(*words: object) -> Said:
        capsys.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:  # argparse ends the process itself after help
            code = stop.code if isinstance(stop.code, int) else 1
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return call
