"""``eval-suite score``: predictions and ground truth to metrics, without a model."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from eval_suite.cli.flags import Marker
from eval_suite.cli.parsing import parse
from eval_suite.core.parts import is_file_spec, parts
from eval_suite.core.store import write_json
from eval_suite.tasks.evaluate import cell_in, headline, metric_line, task_named
from eval_suite.tasks.external import score


class ScoreCommand(BaseModel):
    """Metrics from saved predictions, also those made by other tools (classify: .npz with 'logits', 'probabilities' or 'predicted', and 'ids', 'labels', or .npy; wsol: with 'maps', 'ids'; robustness: what the task leaves; ood: 'known/SCORE', 'outliers/SET/SCORE'; probe: 'scores/PROBE'; caption: COCO results; segment: a folder of PNG masks)."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    task: Annotated[str, Marker.POSITIONAL]
    """Task whose metrics to compute."""
    predictions: Path
    """Predictions file of that task."""
    truth: str | None = None
    """Ground truth as KIND:PATH, for captions also a captions file, where the predictions do not carry their own."""
    split: str | None = None
    """Split of the ground truth."""
    out: Path | None = None
    """Write a record to this folder: reports/NAME under the current or another folder."""
    name: str | None = None
    """Name of the backbone in the record; by default that of the predictions file."""
    seed: Annotated[int, Field(ge=0)] = 0
    """A number to file the record under."""
    overwrite: bool = False
    """Replace a record that lies there and is of other predictions, options or data."""
    json_file: Path | None = None
    """Write the metrics to this file too."""


def main(arguments: list[str]) -> int:
    """Run the verb."""
    command = parse(_command_type(arguments), "score", arguments)
    options = command.model_dump(exclude_none=True, exclude=set(ScoreCommand.model_fields))
    record = score(
        command.task,
        command.predictions,
        truth=command.truth,
        split=command.split,
        out=command.out,
        name=command.name,
        seed=command.seed,
        overwrite=command.overwrite,
        **options,
    )
    for metric in record.metrics:
        print(metric_line(metric))
    if command.json_file is not None:
        write_json(command.json_file, [metric.model_dump(mode="json") for metric in record.metrics])
        print(f"written: {command.json_file}")
    items = record.data.n_scored if record.data else 0
    closing = f"scored {items:,} items of {command.predictions}: {headline(record.metrics)}"
    if command.out is not None:
        cell = cell_in(command.out, record.backbone.name, command.seed)
        closing += f"  → {cell.record(record.task.name)}"
    print(closing)
    return 0


def _command_type(arguments: list[str]) -> type[ScoreCommand]:
    """The verb's options, with those that scoring the task takes."""
    name = next((word for word in arguments if word in parts("task") or is_file_spec(word)), None)
    if name is None:
        return ScoreCommand
    task = task_named(name)
    fields = (task.score_options or task.options).model_fields
    own: dict[str, Any] = {field: (fields[field].annotation, fields[field]) for field in task.score_fields}
    return create_model("ScoreTaskCommand", __base__=ScoreCommand, __doc__=ScoreCommand.__doc__, **own)
