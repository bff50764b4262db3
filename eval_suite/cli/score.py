"""``eval-suite score``: predictions and ground truth to metrics, without a model."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict

from eval_suite.cli.flags import Marker
from eval_suite.cli.parsing import parse
from eval_suite.core.store import write_json
from eval_suite.tasks.evaluate import headline, metric_line, score_file, task_named


class ScoreCommand(BaseModel):
    """Metrics from saved predictions, also those made by other tools (classify: .npz with 'logits', 'ids', 'labels'; wsol: with 'maps', 'ids'; robustness: what the task leaves; ood: 'known/SCORE', 'outliers/SET/SCORE'; caption: COCO results)."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    task: Annotated[str, Marker.POSITIONAL]
    """Task whose metrics to compute."""
    predictions: Path
    """Predictions file of that task."""
    truth: str | None = None
    """Ground truth as KIND:PATH, for captions also a captions file, where the predictions do not carry their own."""
    split: str | None = None
    """Split of the ground truth."""
    json_file: Path | None = None
    """Write the metrics to this file too."""


def main(arguments: list[str]) -> int:
    """Run the verb."""
    command = parse(ScoreCommand, "score", arguments)
    score = score_file(task_named(command.task), command.predictions, command.truth, command.split)
    for metric in score.metrics:
        print(metric_line(metric))
    if command.json_file is not None:
        write_json(command.json_file, [metric.model_dump(mode="json") for metric in score.metrics])
        print(f"written: {command.json_file}")
    print(f"scored {score.data.n_scored:,} items of {command.predictions}: {headline(score.metrics)}")
    return 0
