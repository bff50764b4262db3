"""Every task by name, and the one routine that takes any of them from a backbone to its record."""

import logging
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from eval_suite.backbones.spec import BackboneOptions, default_name
from eval_suite.core.errors import InputError, first_line
from eval_suite.core.foreign import foreign_error
from eval_suite.core.logs import LOGGER
from eval_suite.core.machine import machine_error
from eval_suite.core.parts import is_file_spec, part, part_sha256
from eval_suite.core.records import (
    Cost,
    DataInfo,
    ErrorInfo,
    Files,
    Metric,
    Record,
    TaskInfo,
)
from eval_suite.core.runtime import Clock, RuntimeOptions, ordinary_arithmetic, run_info
from eval_suite.core.store import Cell, cell_name, exclusive, write_record
from eval_suite.core.validation import validated
from eval_suite.data.images import kept_open
from eval_suite.data.kinds import kind_of
from eval_suite.data.outliers import require_outliers
from eval_suite.tasks.arithmetic import compared_with_plain, measured_cost, reader_of, with_room
from eval_suite.tasks.base import Fit, Task, TaskOptions
from eval_suite.tasks.loading import how_loaded, leaks, load_for, name_outputs, require_classes, unloaded
from eval_suite.tasks.replacing import require_replaceable

if TYPE_CHECKING:
    from eval_suite.backbones.backbone import Backbone

log = logging.getLogger(__name__)

_RUNTIME = set(RuntimeOptions.model_fields)


def task_named(task: "str | type[Task] | Task") -> Task:
    """The task of a name, of a file's ``path/to/mine.py:NAME``, or of a class; or the task itself.

    Raises:
        InputError: if there is none; the message gives the nearest.
    """
    if isinstance(task, Task):
        return task
    kind = part("task", task) if isinstance(task, str) else task
    if not (isinstance(kind, type) and issubclass(kind, Task)):
        raise InputError(
            expected="a task: its name, path/to/mine.py:MyTask, or a class that derives from eval_suite.Task",
            found=f"{task!r:.60}",
        )
    found: Task = kind()
    if isinstance(task, str) and is_file_spec(task):
        found.part = task
    return found


def evaluate(
    backbone: "Backbone | str",
    task: "str | type[Task] | Task",
    *,
    data: str,
    out: Path | str | None = None,
    name: str | None = None,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    **options: Any,
) -> Record:
    """Evaluate a backbone: fit where the task does, predict, score.

    Args:
        backbone: of `load_backbone` or `Backbone.wrap`, or a source that `load_backbone` takes.
        task: its name, ``path/to/mine.py:MyTask``, a class, or one made of it.
        data: what to evaluate on, as KIND:PATH.
        out: ``reports/NAME`` for the record, its predictions and pictures; what is fitted goes to ``checkpoints/NAME``. By
            default nothing is left on disk.
        name: of the backbone in the record; by default its own.
        seed: of the task's own fits, and what the record is filed under.
        settings: for a source, what `load_backbone` takes besides, such as ``mean`` and ``std``.
        overwrite: replace a record in ``out`` that is of other weights, options or data, or of more items.
        options: of the task (see ``eval-suite TASK --help``) and of `RuntimeOptions`: ``device``, ``precision``,
            ``batch_size``, ``workers``, ``threads``. Options that have parts are given as dicts.

    Returns:
        The record, with its per-item outcomes in memory for `compare`.

    Raises:
        InputError: if the request is wrong; nothing is written then.
        EvalSuiteError: if the evaluation fails.

    Example:
        >>> record = evaluate(backbone, "classify", data="folder:path/to/images", device="cpu")  # doctest: +SKIP
        >>> record["top1_error"].value, record["top1_error"].interval  # doctest: +SKIP
    """
    found = task_named(task)
    if not isinstance(backbone, str) and not hasattr(backbone, "card"):
        raise InputError(
            expected="a backbone or a source",
            found=f"{type(backbone).__name__}",
            remedy="a network in memory enters by Backbone.wrap(net, mean=..., std=..., input_size=...)",
        )
    given = {"data": data, **options}
    runtime = validated("evaluate", RuntimeOptions, {k: given.pop(k) for k in _RUNTIME & given.keys()})
    chosen = validated(f"evaluate '{found.name}'", found.options, given)
    flags = validated("settings", BackboneOptions, dict(settings or {}))
    own, at = default_name(backbone) if isinstance(backbone, str) else (backbone.card.name, None)
    with TemporaryDirectory(prefix="eval-suite-") if out is None else nullcontext() as temporary:
        where = Path(out) if out is not None else Path(temporary or "") / "reports" / "single"
        cell = cell_in(where, cell_name(name, own), seed if at is None else at)
        record = evaluate_cell(
            found, chosen, cell, backbone, flags, runtime, expected=False, overwrite=overwrite
        )
        if out is not None:
            return record.at(cell.record(found.name))
        return record.model_copy(update={"files": Files(), "examples": []})


def cell_in(out: Path, name: str, seed: int) -> Cell:
    """The cell of a single evaluation.

    Raises:
        InputError: if ``out`` is not ``reports/NAME`` under some folder.
    """
    if out.parent.name != "reports":
        raise InputError(expected="--out as a folder in reports/, such as reports/single", found=f"{out}")
    return Cell(out.name, name, seed, out.parent.parent)


@ordinary_arithmetic()
def evaluate_cell(
    task: Task,
    options: TaskOptions,
    cell: Cell,
    source: "Backbone | str",
    backbone_options: BackboneOptions,
    runtime: RuntimeOptions,
    *,
    expected: bool,
    overwrite: bool = False,
    pictures_only: bool = False,
) -> Record:
    """Load a backbone, run a task's fit, predict and score, and write the record.

    Args:
        task: what to run.
        options: its options.
        cell: where the record goes.
        source: the backbone, or a source as `parse_source` reads it.
        backbone_options: flags that go with a source.
        runtime: device, precision, batches.
        overwrite: replace a record of another backbone, other options or other data.
        expected: the cell belongs to a suite, so also wrong input leaves a ``failed`` record to show in the report.
        pictures_only: nobody will look at the numbers, so what makes them doubtful is not logged.

    Raises:
        EvalSuiteError: if the task fails; its ``failed`` record is on disk by then.
        InputError: if the request is wrong; without ``expected`` nothing is written.
    """
    clock = Clock()
    folder = cell.results / task.name
    path = cell.record(task.name)
    card = unloaded(cell.backbone, source) if isinstance(source, str) else source.card

    cost: Cost | None = None
    compared: dict[str, tuple[float, float]] = {}

    def record(status: Literal["complete", "partial", "failed"], device: str, **content: Any) -> Record:
        run = run_info(clock, device, runtime.precision, cell.seed, task.packages)
        run.cost, run.compared, run.reader = cost, compared, reader_of(runtime)
        run.batch_size = runtime.batch_size or None
        return Record(status=status, task=task_info(task, options), backbone=card, run=run, **content)

    with exclusive(folder, f"evaluating {task.name}"), ExitStack() as kept:
        try:
            if not expected:
                _require_sources(task, options)
            options = task.resolved(options)
            with clock.stage("load"):
                if task.annotated is None:
                    kept.enter_context(kept_open(options.data, options.split))
                backbone = load_for(cell, source, backbone_options, task, options)
            require_classes(task, backbone.card, options)
            name_outputs(task, backbone, options)
            card, sets = backbone.card, task.sets_read(options)
            if not expected:
                # Last of the checks: a wrong path or name is what the user should hear of first.
                if not overwrite:
                    require_replaceable(path, card, options, sets)
                for line in how_loaded(card):
                    log.info(line)
            leaked = leaks(task, backbone.card, options)
            for line in (*card.load.warnings, *leaked):
                log.warning(line)
            if runtime.compile and not task.compiles:
                log.warning(f"{task.name} runs the network as it is, without --compile")

            def predicted(runtime: RuntimeOptions) -> tuple[Fit, Path]:
                nonlocal cost
                if runtime.measure_cost:
                    cost = measured_cost(backbone, runtime)
                with clock.stage("fit"):
                    fit = task.fit(backbone, options, runtime, cell.seed, cell.checkpoint / task.name)
                with clock.stage("predict"):
                    return fit, task.predict(fit.model, options, runtime, folder)

            runtime, (fit, predictions) = with_room(runtime, predicted)
            if fit.data is not None and fit.data.n_failed:
                log.warning(_fitted_without(fit.data))
            with clock.stage("score"):
                score = task.scored(predictions, options, None, folder)
                files = score.write_items(folder)
            for line in score.warnings if not pictures_only else ():
                log.warning(line)
            compared = compared_with_plain(task, fit.model, options, runtime)
            files.predictions = str(predictions.relative_to(cell.results))
            result = record(
                "complete" if score.data.n_scored == score.data.n_available else "partial",
                str(runtime.resolve_device()),
                data=score.data,
                fitted_to=fit.data,
                sets=sets,
                metrics=score.metrics,
                curves=score.curves,
                examples=score.examples,
                warnings=[*leaked, *score.warnings],
                files=files,
            )
            write_record(path, result)
        except Exception as error:
            worded = machine_error(error) or foreign_error(error)
            if expected or not isinstance(error, InputError):
                fault = ErrorInfo(type=type(error).__name__, message=first_line(worded or error))
                write_record(path, record("failed", runtime.device, data=None, error=fault))
            else:
                remove_if_empty(folder)
            if worded is not None:
                raise worded from error
            raise
    if not pictures_only:
        warn_of_partial(score.data)
    return result.with_outcomes(score.per_item)


def warn_of_partial(data: DataInfo) -> None:
    """Log how many of the items were scored, where not all were."""
    if data.n_scored != data.n_available:
        unread = f", {data.n_failed:,} could not be read" if data.n_failed else ""
        log.warning(f"partial: scored {data.n_scored:,} of {data.n_available:,} items{unread}")


def follow(
    task: Task,
    options: TaskOptions,
    *,
    cell: Cell,
    source: str,
    backbone_options: BackboneOptions,
    runtime: RuntimeOptions,
) -> None:
    """What the processes of a group other than the first do: fine-tune and predict along; the first writes and scores alone."""
    LOGGER.setLevel(logging.ERROR)
    options = task.resolved(options)
    backbone = load_for(cell, source, backbone_options, task, options)
    name_outputs(task, backbone, options)
    runtime = runtime.sized()
    fit = task.fit(backbone, options, runtime, cell.seed, cell.checkpoint / task.name)
    if task.predicts_together:
        # The first process has the same in its memory and writes it.
        with TemporaryDirectory(prefix="eval-suite-") as folder:
            task.predict(fit.model, options, runtime, Path(folder))


def write_failed(
    task: Task, options: TaskOptions, *, cell: Cell, runtime: RuntimeOptions, type_name: str, message: str
) -> Path:
    """Leave a ``failed`` record for a task that could not start, e.g. because training its backbone failed."""
    result = Record(
        status="failed",
        task=task_info(task, options),
        backbone=unloaded(cell.backbone, str(cell.checkpoint)),
        data=None,
        run=run_info(Clock(), runtime.device, runtime.precision, cell.seed, task.packages),
        error=ErrorInfo(type=type_name, message=message),
    )
    path = cell.record(task.name)
    write_record(path, result)
    return path


def headline(result_metrics: list[Metric]) -> str:
    """The first metric that has a value, of all items if any, as `metric_line` has it."""
    valued = [metric for metric in result_metrics if metric.value is not None]
    whole = [metric for metric in valued if metric.subset is None]
    return metric_line((whole or valued or result_metrics)[0])


def metric_line(metric: Metric) -> str:
    """A metric with its subset, if any, and its interval, as one line; fractions in percent."""
    name = f"{metric.name} [{metric.subset}]" if metric.subset else metric.name
    if metric.value is None:
        return f"{name}: none ({metric.reason})"
    percent = metric.unit == "fraction"

    def shown(value: float) -> str:
        return f"{100 * value:.2f} %" if percent else f"{value:.4g} {metric.unit}"

    interval = f", no interval as {metric.reason}" if metric.reason else ""
    if metric.interval:
        interval = f" [{shown(metric.interval[0])}, {shown(metric.interval[1])}]"
    return f"{name} {shown(metric.value)}{interval} (n = {metric.n:,})"


def _fitted_without(data: DataInfo) -> str:
    return (
        f"fitted to {data.n_scored:,} of {data.n_requested:,} items of {data.name}, {data.split}: "
        f"{data.n_failed:,} could not be read, first: {data.failed[0]}"
    )


def task_info(task: Task, options: TaskOptions) -> TaskInfo:
    """What a record says of its task."""
    return TaskInfo(
        name=task.name,
        version=task.version,
        part=task.part,
        part_sha256=part_sha256(task.part) if task.part else None,
        options=options.model_dump(mode="json"),
        protocol={option: [dict(p) for p in patterns] for option, patterns in task.protocol.items()},
        paper=task.paper,
    )


def remove_if_empty(folder: Path) -> None:
    """Take back the folders that were made for a record that wrong input kept from being written."""
    if any(item.name != ".lock" for item in folder.iterdir()):
        return
    (folder / ".lock").unlink(missing_ok=True)
    with suppress(OSError):
        for empty in (folder, *list(folder.parents)[:4]):
            empty.rmdir()


def _require_sources(task: Task, options: TaskOptions) -> None:
    for spec in options.sources().values():
        kind_of(task.annotated).splits(spec)
    for text in options.outlier_sources().values():
        require_outliers(text)
