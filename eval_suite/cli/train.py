"""``eval-suite train``: a recipe to a checkpoint."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from eval_suite.cli.parsing import given, parse
from eval_suite.core.errors import BusyError, EvalSuiteError, InputError, first_line
from eval_suite.core.runtime import RuntimeOptions, first_process
from eval_suite.core.store import Cell, cell_name
from eval_suite.suite.suite import Suite, load_recipe, load_suite
from eval_suite.training.replacing import require_no_other_backbone


class TrainCommand(BaseModel):
    """Train a backbone of a suite, or from a recipe file. A stopped training continues where it left off."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    suite: str | None = None
    """Suite file, or the name of a bundled one."""
    backbone: str | None = None
    """Backbone of the suite to train."""
    recipe: Path | None = None
    """Recipe file (YAML) to train instead of a suite's backbone."""
    name: str | None = None
    """Name of the backbone trained from a recipe file; by default the file's."""
    out: Path = Path("checkpoints/single")
    """Folder for the checkpoint of a recipe file; it goes to OUT/NAME-sSEED."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Decides initialisation, order and every random draw."""
    strict: bool = False
    """Stop at the first unreadable image instead of leaving it out."""
    overwrite: bool = False
    """Replace a finished backbone of this name that another recipe has trained."""
    runtime: RuntimeOptions = Field(default_factory=RuntimeOptions)
    """How to compute."""


def main(arguments: list[str]) -> int:
    """Run the verb."""
    suite_name = given(arguments, "--suite")
    suite = load_suite(suite_name) if suite_name and not {"-h", "--help"} & set(arguments) else None
    default = TrainCommand(runtime=suite.runtime) if suite else None
    command = parse(TrainCommand, "train", arguments, default)
    if (command.recipe is None) == (suite is None):
        raise InputError("expected either --suite SUITE --backbone NAME or --recipe FILE")
    if suite is None:
        assert command.recipe is not None
        recipe = load_recipe(command.recipe)
        name = cell_name(command.name, command.recipe.stem)
        folder = command.out / f"{name}-s{command.seed}"
    else:
        if command.backbone is None:
            raise InputError(f"expected --backbone with one of: {', '.join(suite.backbones)}")
        cell = suite.cell(command.backbone, command.seed)
        row = suite.backbones[command.backbone]
        if row.recipe is None:
            raise InputError(
                f"backbone '{command.backbone}' of suite '{suite.name}' is taken as it is, not trained"
            )
        home = row.trained_at(cell)
        recipe, name, folder = row.recipe, home.backbone, home.checkpoint
    if not command.overwrite:
        # Before anything is written: the records of the backbone that lies there stay as they are.
        require_no_other_backbone(recipe, command.seed, folder)
    from eval_suite.training.loop import train

    try:
        trained = train(
            recipe,
            name=name,
            seed=command.seed,
            folder=folder,
            runtime=command.runtime,
            strict=command.strict,
            overwrite=command.overwrite,
        )
    except BusyError:
        raise
    except Exception as error:
        if suite is not None and first_process():
            _leave_failed_records(suite, cell, command.runtime, error)
        raise
    if not first_process():
        return 0
    state = "already trained" if trained.already_done else "trained"
    last, best = (trained.card.training or {})["last"], (trained.card.training or {})["best"]
    print(
        f"{state}: {trained.folder}  top-1 error {last['top1_error']:.1%} after epoch {last['epoch']}, "
        f"best {best['top1_error']:.1%} at epoch {best['epoch']}"
    )
    return 0


def _leave_failed_records(suite: Suite, failed: Cell, runtime: RuntimeOptions, error: Exception) -> None:
    """No cell of the report shall be empty without a word: its tasks say why they could not start."""
    from eval_suite.tasks.evaluate import task_named, write_failed

    home = suite.backbones[failed.backbone].trained_at(failed)
    kind = type(error).__name__ if isinstance(error, EvalSuiteError) else "Error"
    for name, row in suite.backbones.items():
        cell = suite.cell(name, failed.seed)
        if row.recipe is None or row.trained_at(cell) != home:
            continue
        for task, options in row.tasks.items():
            write_failed(
                task_named(task),
                options,
                cell=cell,
                runtime=runtime,
                type_name=kind,
                message=f"training failed: {first_line(error)}",
            )
