"""An evaluation as a suite's job makes it, and where its record lies."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from eval_suite.backbones.spec import BackboneOptions
from eval_suite.core.records import Record
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.core.store import Cell
from eval_suite.tasks.base import Task, TaskOptions
from eval_suite.tasks.evaluate import evaluate_cell
from tests.logs import logged


class Evaluated(NamedTuple):
    result: Record
    path: Path


def evaluate(
    task: Task,
    options: TaskOptions,
    *,
    cell: Cell,
    source: str,
    backbone_options: BackboneOptions,
    runtime: RuntimeOptions,
    expected: bool,
    warn: Callable[[str], None] = lambda _line: None,
) -> Evaluated:
    with logged(warn):
        record = evaluate_cell(task, options, cell, source, backbone_options, runtime, expected=expected)
    return Evaluated(record, cell.record(task.name))
