"""Predictions that other tools made: their metrics, and a record of them like any other."""

import hashlib
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError, unknown_name
from eval_suite.core.records import Files, Record
from eval_suite.core.runtime import Clock, run_info
from eval_suite.core.store import Cell, atomic_write, cell_name, exclusive, write_record
from eval_suite.core.validation import validated
from eval_suite.tasks.base import Score, Task, TaskOptions
from eval_suite.tasks.evaluate import (
    cell_in,
    remove_if_empty,
    task_info,
    task_named,
    warn_of_partial,
)
from eval_suite.tasks.loading import unloaded
from eval_suite.tasks.replacing import require_replaceable

log = logging.getLogger(__name__)
_NOT_TOLD = "external"
_IN_MEMORY = "arrays in memory"


def score(
    task: "str | type[Task] | Task",
    predictions: Path | str | Mapping[str, Any] | Any,
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
        task: whose metrics; its name, ``path/to/mine.py:MyTask``, a class, or one made of it.
        predictions: a file, or a folder of them, as the task reads it; or the arrays of an ``.npz`` file by name (of NumPy,
            tensors of torch, or lists), such as ``{"logits": (n, classes), "ids": (n,)}``. For classify one array without a name
            will do, which is read as an ``.npy`` file is: of one axis the classes predicted, of two logits, or probabilities where
            each row adds up to 1.
        truth: the ground truth as KIND:PATH, where the predictions do not carry their own.
        split: of the ground truth.
        out: ``reports/NAME`` for the record and a copy of the predictions. By default nothing is left on disk.
        name: of the backbone in the record; by default that of the file, and ``model`` for arrays.
        seed: what the record is filed under.
        overwrite: replace a record in ``out`` that is of other predictions, options or data.
        options: of the task, such as ``ious`` of detect, or ``classes``, a file that names the outputs, of classify.

    Returns:
        The record, with its per-item outcomes in memory for `compare`.

    Raises:
        InputError: if the predictions or the ground truth cannot be read, or do not belong together; nothing is written then.

    Example:
        >>> score("classify", "logits.npz", truth="folder:path/to/images")["top1_error"]  # doctest: +SKIP
        >>> score("classify", {"predicted": [0, 1, 1], "labels": [0, 1, 0], "ids": list("abc")})["top1_error"].value
        0.3333333333333333
    """
    chosen = task_named(task)
    scoring = _scoring_options(chosen, {"data": truth or "", "split": split, **options})
    truth = scoring.data or None
    with _as_file(chosen, predictions) as path:
        in_memory = not isinstance(predictions, str | PathLike)
        backbone = cell_name(name, "model" if in_memory else path.stem)
        if out is None:
            cell = Cell("", backbone, seed)
            return _record(chosen, path, in_memory, truth, scoring, cell, None, Clock(), overwrite)
        cell, clock = cell_in(Path(out), backbone, seed), Clock()
        folder = cell.results / chosen.name
        with exclusive(folder, f"scoring {chosen.name}"):
            try:
                record = _record(chosen, path, in_memory, truth, scoring, cell, folder, clock, overwrite)
            except BaseException:
                remove_if_empty(folder)
                raise
            write_record(cell.record(chosen.name), record)
    return record.at(cell.record(chosen.name))


def score_file(task: Task, predictions: Path, truth: str | None, split: str | None) -> Score:
    """Metrics of predictions made by other tools."""
    return task.scored(predictions, task.options(data=truth or "", split=split), truth, None)


@contextmanager
def _as_file(task: Task, predictions: Any) -> Iterator[Path]:
    """Predictions where the task reads them: arrays in memory as a file of them, as long as it is needed."""
    if isinstance(predictions, str | PathLike):
        yield Path(predictions)
        return
    with TemporaryDirectory(prefix="eval-suite-") as folder:
        named = isinstance(predictions, Mapping)
        path = Path(folder) / f"{_IN_MEMORY}{'.npz' if named else '.npy'}"
        usable = named or isinstance(predictions, list) or hasattr(predictions, "__array__")
        if not usable or path.suffix not in task.scored_files:
            by_name = ", or as arrays by their names" if ".npz" in task.scored_files else " or a folder"
            raise InputError(
                expected=f"predictions of {task.name} as a file{by_name}",
                found=type(predictions).__name__,
                remedy="`eval-suite score --help` and the task's page say what it reads",
            )
        if named:
            with ZipFile(path, "w") as archive:  # np.savez has arguments that a name might be taken for
                for name, values in predictions.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                        np.lib.format.write_array(stream, _array(name, values), allow_pickle=False)
        else:
            np.save(path, _array("predictions", predictions))
        yield path


def _array(name: str, values: Any) -> NDArray[Any]:
    """An array of NumPy of what is one, of a tensor or of a list."""
    if hasattr(values, "detach"):  # a tensor of torch, which need not be loaded here
        values = values.detach().cpu()
        # NumPy has no bfloat16; single precision holds every value of the two halves.
        values = values.float() if values.is_floating_point() and values.element_size() < 4 else values
    try:
        array: NDArray[Any] = np.asarray(values)
    except ValueError:
        raise InputError(expected=f"numbers or texts as '{name}'", found="lists of unequal lengths") from None
    if array.dtype == object and all(isinstance(each, str) for each in array.flat):
        return array.astype(str)
    if array.dtype == object:
        raise InputError(
            expected=f"numbers or texts as '{name}'", found=f"{type(values).__name__} of objects"
        )
    return array


def _scoring_options(task: Task, given: dict[str, Any]) -> TaskOptions:
    unknown = next((name for name in given if name not in {"data", "split", *task.score_fields}), None)
    if unknown is not None:
        raise unknown_name(f"option of scoring '{task.name}'", unknown, task.score_fields)
    return validated(f"score '{task.name}'", task.score_options or task.options, given)


def _record(
    task: Task,
    predictions: Path,
    in_memory: bool,
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
    source = _IN_MEMORY if in_memory else predictions.resolve()
    card = unloaded(cell.backbone, f"{source} ({digest[:12]})", "predictions made elsewhere")
    files = Files()
    if folder is not None:
        if not overwrite:
            require_replaceable(cell.record(task.name), card, options)
        files = result.write_items(folder)
        copy = folder / f"predictions{predictions.suffix}"
        for file in held:
            target = copy / file.name if predictions.is_dir() else copy
            with file.open("rb") as reading, atomic_write(target, "wb") as stream:
                shutil.copyfileobj(reading, stream)
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
