"""Predictions that other tools made: their metrics, and a record of them like any other."""

import hashlib
import logging
import shutil
from pathlib import Path
from typing import Any

from eval_suite.core.errors import unknown_name
from eval_suite.core.records import Files, Record
from eval_suite.core.runtime import Clock, run_info
from eval_suite.core.store import Cell, atomic_write, cell_name, exclusive, write_record
from eval_suite.tasks.base import Score, Task, TaskOptions
from eval_suite.tasks.evaluate import (
    cell_in,
    remove_if_empty,
    task_info,
    task_named,
    validated,
    warn_of_partial,
)
from eval_suite.tasks.loading import unloaded
from eval_suite.tasks.replacing import require_replaceable

log = logging.getLogger(__name__)
_NOT_TOLD = "external"


def score(
    task: "str | type[Task]",
    predictions: Path | str,
    *,
    truth: str | None = None,
    split: str | None = None,
    out: Path | str | None = None,
    name: str | None = None,
    seed: int = 0,
    overwrite: bool = False,
    **options: Any,
) -> Record:
    """Score predictions that other tools made.

    Args:
        task: whose metrics; its name, ``path/to/mine.py:MyTask``, or a class.
        predictions: a file, or a folder of them, as the task reads it.
        truth: the ground truth as KIND:PATH, where the predictions do not carry their own.
        split: of the ground truth.
        out: ``reports/NAME`` for the record and a copy of the predictions. By default nothing is left on disk.
        name: of the backbone in the record; by default that of the file.
        seed: what the record is filed under.
        overwrite: replace a record in ``out`` that is of other predictions, options or data.
        options: of the task, such as ``ious`` of detect, or ``classes``, a file that names the outputs, of classify.

    Returns:
        The record, with its per-item outcomes in memory for `compare`.

    Raises:
        InputError: if the predictions or the ground truth cannot be read, or do not belong together; nothing is written then.

    Example:
        >>> score("classify", "logits.npz", truth="folder:path/to/images")["top1_error"]  # doctest: +SKIP
    """
    chosen, path = task_named(task), Path(predictions)
    scoring = _scoring_options(chosen, {"data": truth or "", "split": split, **options})
    backbone = cell_name(name, path.stem)
    if out is None:
        return _record(chosen, path, truth, scoring, Cell("", backbone, seed), None, Clock(), overwrite)
    cell, clock = cell_in(Path(out), backbone, seed), Clock()
    folder = cell.results / chosen.name
    with exclusive(folder, f"scoring {chosen.name}"):
        try:
            record = _record(chosen, path, truth, scoring, cell, folder, clock, overwrite)
        except BaseException:
            remove_if_empty(folder)
            raise
        write_record(cell.record(chosen.name), record)
    return record


def score_file(task: Task, predictions: Path, truth: str | None, split: str | None) -> Score:
    """Metrics of predictions made by other tools."""
    return task.scored(predictions, task.options(data=truth or "", split=split), truth, None)


def _scoring_options(task: Task, given: dict[str, Any]) -> TaskOptions:
    unknown = next((name for name in given if name not in {"data", "split", *task.score_fields}), None)
    if unknown is not None:
        raise unknown_name(f"option of scoring '{task.name}'", unknown, task.score_fields)
    return validated(f"score '{task.name}'", task.score_options or task.options, given)


def _record(
    task: Task,
    predictions: Path,
    truth: str | None,
    options: TaskOptions,
    cell: Cell,
    folder: Path | None,
    clock: Clock,
    overwrite: bool,
) -> Record:
    """The record of a predictions file, whose items and copy go to ``folder`` where there is one."""
    with clock.stage("score"):
        result = task.scored(predictions, options, truth, None)
    held = sorted(predictions.glob("*")) if predictions.is_dir() else [predictions]
    held = [file for file in held if file.is_file()]
    digest = hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in held)).hexdigest()
    card = unloaded(cell.backbone, f"{predictions.resolve()} ({digest[:12]})", "predictions made elsewhere")
    files = Files()
    if folder is not None:
        if not overwrite:
            require_replaceable(cell.record(task.name), card, options)
        files = result.write_items(folder)
        copy = folder / f"predictions{predictions.suffix}"
        for file in held:
            target = copy / file.name if predictions.is_dir() else copy
            with file.open("rb") as source, atomic_write(target, "wb") as stream:
                shutil.copyfileobj(source, stream)
        files.predictions = f"{folder.name}/{copy.name}"
    for line in result.warnings:
        log.warning(line)
    warn_of_partial(result.data)
    if not result.ids:
        log.warning("the predictions name no items, so they are in no paired comparison; add an array 'ids'")
    content: dict[str, Any] = {
        "metrics": result.metrics,
        "curves": result.curves,
        "warnings": result.warnings,
    }
    return Record(
        status="complete" if result.data.n_scored == result.data.n_available else "partial",
        task=task_info(task, options),
        backbone=card,
        data=result.data,
        files=files,
        run=run_info(clock, _NOT_TOLD, _NOT_TOLD, cell.seed, task.packages),
        **content,
    ).with_outcomes(result.per_item)
