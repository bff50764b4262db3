"""Experiment trackers that get each epoch's line of the log, through Accelerate; the log on disk stays the truth."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import get_available_trackers

from eval_suite.core.errors import InputError, first_line
from eval_suite.core.packages import install_command
from eval_suite.core.runtime import first_process
from eval_suite.training.history import Row
from eval_suite.training.recipe import Recipe

log = logging.getLogger(__name__)


def require_trackers(recipe: Recipe) -> None:
    """Check that the packages of a recipe's trackers are installed.

    Raises:
        InputError: naming those that are not.
    """
    installed = {str(one) for one in get_available_trackers()}
    missing = [name for name in recipe.trackers if name not in installed]
    if missing:
        raise InputError(
            expected=f"the packages of the trackers {', '.join(recipe.trackers)}",
            found=f"no {', '.join(missing)}",
            remedy=f"run {install_command(missing[0])}, or leave the tracker out of the recipe",
        )


class Tracking:
    """Hands on what is logged to the recipe's trackers; with none it does nothing.

    A tracker that fails is warned of once and left alone: it never costs a training.

    Args:
        accelerator: made with the recipe's trackers.
        recipe: its settings are what a tracker shows of the run.
        folder: of the training; its name is the run's, its parent's the project's; TensorBoard and W&B write to ``trackers`` there.
    """

    def __init__(self, accelerator: Accelerator, recipe: Recipe, folder: Path) -> None:
        self._accelerator, self._alive = accelerator, bool(recipe.trackers)
        settings = {key: _plain(value) for key, value in recipe.model_dump(mode="json").items()}
        project, run, local = folder.resolve().parent.name, folder.name, folder / "trackers"
        names = {
            "wandb": {"name": run, "dir": str(local)},
            "mlflow": {"run_name": run},
            "trackio": {"name": run},
        }
        self._try(lambda: local.mkdir(parents=True, exist_ok=True))
        self._try(lambda: accelerator.init_trackers(project, config=settings, init_kwargs=names))

    def log(self, row: Row) -> None:
        """Hand on an epoch."""
        values = {key: value for key, value in row._asdict().items() if value is not None and key != "epoch"}
        self._try(lambda: self._accelerator.log(values, step=row.epoch))

    def finish(self) -> None:
        """Close the trackers."""
        self._try(self._accelerator.end_training)

    def _try(self, call: Callable[[], Any]) -> None:
        if not self._alive:
            return
        try:
            call()
        except Exception as error:  # noqa: BLE001  # whatever a tracker meets, a network that is down included
            self._alive = False
            if first_process():
                log.warning(
                    f"a tracker failed and is left alone from here on: {first_line(error)}; log.jsonl has everything"
                )


def _plain(value: Any) -> int | float | str | bool:
    """A setting as every tracker takes it."""
    return value if isinstance(value, int | float | str | bool) else json.dumps(value)
