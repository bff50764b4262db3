"""``eval-suite classify`` and every other task: a backbone to a record."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from eval_suite.backbones.spec import BackboneOptions, default_name
from eval_suite.cli.parsing import given, parse
from eval_suite.core.runtime import RuntimeOptions, first_process
from eval_suite.core.store import cell_name
from eval_suite.suite.suite import load_suite
from eval_suite.tasks.base import Task
from eval_suite.tasks.evaluate import cell_in, evaluate_cell, follow, headline, task_named


class TaskCommand(BaseModel):
    """Evaluate a backbone of a suite, or any other one on any data."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    backbone: str
    """Backbone of the suite; without a suite: a checkpoint folder, timm:NAME[@FILE], torchvision:NAME[/WEIGHTS][@FILE], path/to/model.py:FACTORY[@FILE], hf-hub:ORG/NAME or local-dir:FOLDER."""
    suite: str | None = None
    """Suite file, or the name of a bundled one; it gives data and options."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the backbone in the suite; without one, a number to file the record under."""
    name: str | None = None
    """Name of the backbone in records and reports; by default made from its source."""
    overwrite: bool = False
    """Replace a record that lies there and is of other weights, options or data, or of more items."""
    out: Path = Path("reports/single")
    """Folder for the record without a suite: reports/NAME under the current or another folder."""


def main(verb: str, arguments: list[str]) -> int:
    """Run the verb of a task."""
    task = task_named(verb)
    suite_name = given(arguments, "--suite")
    suite = load_suite(suite_name) if suite_name and not {"-h", "--help"} & set(arguments) else None
    command_type = command_for(task, TaskCommand)
    default = None
    if suite is not None:
        named = given(arguments, "--backbone") or ""
        default = command_type(
            backbone=named,
            task=suite.task_options(verb, named),
            runtime=suite.runtime,
        )
    command = parse(command_type, verb, arguments, default)
    if suite is not None:
        cell = suite.cell(command.backbone, command.seed)
        row = suite.backbones[command.backbone]
        source, flags = row.source_in(cell), row.options
    else:
        source, flags = command.backbone, command.network
        name, seed = default_name(source)
        cell = cell_in(command.out, cell_name(command.name, name), command.seed if seed is None else seed)
    if not first_process():
        follow(task, command.task, cell=cell, source=source, backbone_options=flags, runtime=command.runtime)
        return 0
    expected = suite is not None
    record = evaluate_cell(
        *(task, command.task, cell, source, flags, command.runtime),
        expected=expected,
        overwrite=command.overwrite,
    )
    fitted = f"; fine-tuned: {cell.checkpoint / task.name}" if task.fits(command.task) else ""
    print(f"{cell.name}  {headline(record.metrics)}  → {cell.record(task.name)}{fitted}")
    return 0


def command_for(task: Task, base: type[BaseModel]) -> Any:
    """A verb's options: those of ``base``, with the task's own, the backbone's and those of the run among them."""
    paper = f"{task.paper.title} ({task.paper.venue} {task.paper.year})"
    return create_model(
        f"{task.name.capitalize()}Command",
        __base__=base,
        __doc__=f"{type(task).__doc__} Source: {paper}.",
        task=(task.options, ...),
        network=(BackboneOptions, Field(default_factory=BackboneOptions)),
        runtime=(RuntimeOptions, Field(default_factory=RuntimeOptions)),
    )
