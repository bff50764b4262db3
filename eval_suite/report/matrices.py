"""The tables a suite exports: its overview, and every number of every task."""

from collections.abc import Iterator

from eval_suite.core.records import Metric
from eval_suite.core.store import safe_name
from eval_suite.report.collate import Collation
from eval_suite.report.columns import Column, Measurement
from eval_suite.report.compare import TaskComparison
from eval_suite.report.findings import column_head
from eval_suite.report.section import Section, headline_columns, picked_columns
from eval_suite.report.tables import Cell, Table
from eval_suite.report.wording import number, signed

_Fact = list[str | float | int | None]
_SUMMARY_HEAD = [
    *(
        "backbone",
        "task",
        "metric",
        "unit",
        "higher_is_better",
        "seeds",
        "mean",
        "std_over_seeds",
        "low",
        "high",
    ),
    *(
        "delta",
        "delta_low",
        "delta_high",
        "verdict",
        "baseline",
        "best",
        "published",
        "published_source",
        "controls",
        "remarks",
    ),
]
_DETAIL_HEAD = [
    *(
        "backbone",
        "seed",
        "status",
        "metric",
        "subset",
        "value",
        "unit",
        "higher_is_better",
        "n",
        "low",
        "high",
    ),
    *("method", "reason", "controls", "data_sha256"),
]


def overview_table(collation: Collation, parts: list[tuple[Section, TaskComparison]]) -> Table:
    """Backbones by headline metrics."""
    columns = [c for section, comparison in parts for c in headline_columns(section, comparison)]
    facts = [_summary(collation, column, cell) for column in columns for cell in column.cells.values()]
    title = collation.suite.title or collation.suite.name
    caption = f"{title}. {_caption(collation)}"
    head, rows = _wide(collation, columns)
    if len(parts) > 1:
        titles = {section.task: section.title for section, _ in parts}
        heads = zip(columns, head[1:], strict=True)
        head = [head[0], *(f"{titles[column.task]}: {name}" for column, name in heads)]
    return Table("overview", caption, head, rows, _SUMMARY_HEAD, facts)


def task_table(collation: Collation, section: Section, comparison: TaskComparison) -> Table:
    """Backbones by all metrics of a task; the facts hold every seed and subset."""
    columns = table_columns(section, comparison)
    caption = f"{section.title}. {_caption(collation)}"
    name = f"task-{safe_name(section.task)}"
    return Table(name, caption, *_wide(collation, columns), _DETAIL_HEAD, list(_details(comparison)))


def table_columns(section: Section, comparison: TaskComparison) -> list[Column]:
    """The columns of a task's own table: those the section names, then the rest unless it is folded."""
    listed = picked_columns(comparison, section.metrics)
    return listed if section.fold_rest else listed + other_columns(section, comparison)


def other_columns(section: Section, comparison: TaskComparison) -> list[Column]:
    """The columns of whatever the section does not name."""
    ids = (id_ for id_, metric in comparison.metrics.items() if not section.names(metric))
    return [c for id_ in ids if (c := comparison.column(id_))]


def cell_text(cell: Measurement, unit: str) -> str:
    """A cell in one line, as in a paper's table."""
    if cell.value is None:
        return "—"
    text = number(cell.value, unit)
    if cell.spread is not None:
        text += f" ± {number(cell.spread, unit)}"
    if cell.delta is not None:
        symbol = "≈" if cell.delta.verdict == "tied" else ""
        untested = "†" if cell.delta.verdict == "untested" else ""
        text += f" ({symbol}{signed(cell.delta.difference, unit)}{untested})"
    return text + ("*" if cell.partial else "")


def _wide(collation: Collation, columns: list[Column]) -> tuple[list[str], list[list[Cell]]]:
    rows = []
    for backbone in collation.suite.backbones:
        cells = [(column.cells[backbone], column.unit) for column in columns]
        rows.append([Cell(backbone), *(Cell(cell_text(cell, unit), cell.best) for cell, unit in cells)])
    for name in dict.fromkeys(name for column in columns for name in column.sample.controls):
        values = [(column.sample.controls.get(name), column.unit) for column in columns]
        rows.append(
            [Cell(name), *(Cell("—" if value is None else number(value, unit)) for value, unit in values)]
        )
    return ["Backbone", *map(column_head, columns)], rows


def _caption(collation: Collation) -> str:
    several, shared = "", ""
    if len(collation.suite.seeds) > 1:
        several, shared = "Mean ± standard deviation over seeds. ", " over the seeds both have"
    return (
        f"{several}In parentheses the difference to {collation.baseline}{shared}; ≈ marks a tie, where the paired 95 % "
        "bootstrap interval contains 0, and † a difference without such a test. Best values in bold; * marks partial results. "
        "Rows below the backbones are what trivial methods reach."
    )


def _summary(collation: Collation, column: Column, cell: Measurement) -> _Fact:
    low, high = cell.interval or (None, None)
    delta = cell.delta
    bounds = delta.interval if delta and delta.interval else (None, None)
    remarks = [*cell.remarks, *filter(None, (cell.partial, cell.refused))]
    seeds = sum(metric.value is not None for metric in cell.by_seed.values())
    return [
        *(cell.backbone, column.task, column.metric, column.unit, _truth(column.higher_is_better), seeds),
        *(cell.value, cell.spread, low, high, delta.difference if delta else None, *bounds),
        *(delta.verdict if delta else None, collation.baseline, _truth(cell.best)),
        *((cell.published.value, cell.published.source) if cell.published else (None, None)),
        _controls(column.sample),
        "; ".join(remarks) or None,
    ]


def _details(comparison: TaskComparison) -> Iterator[_Fact]:
    collation = comparison.collation
    for backbone in collation.suite.backbones:
        for entry in collation.cells(comparison.task, backbone):
            record = entry.record
            digest = record.data.sha256 if record and record.data else None
            scored = comparison.records[backbone].get(entry.key.seed)
            metrics = scored.metrics if scored else []
            for metric in metrics:
                yield [backbone, entry.key.seed, entry.state, *_detail(metric), digest]
            if not metrics:
                reason = record.error.message if record and record.error else entry.problem
                yield [backbone, entry.key.seed, entry.state, *[None] * 9, reason or None, None, digest]


def _detail(metric: Metric) -> _Fact:
    low, high = metric.interval or (None, None)
    direction = _truth(metric.higher_is_better)
    return [
        *(metric.name, metric.subset, metric.value, metric.unit, direction, metric.n, low, high),
        *(metric.method, metric.reason),
        _controls(metric),
    ]


def _controls(metric: Metric) -> str | None:
    return "; ".join(f"{name}: {value:g}" for name, value in metric.controls.items()) or None


def _truth(value: bool) -> str:
    return "true" if value else "false"
