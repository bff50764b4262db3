"""What the templates show: every number already in words, every place already decided."""

from dataclasses import dataclass
from typing import NamedTuple

import yaml

from eval_suite.core.errors import first_line
from eval_suite.core.records import Paper
from eval_suite.report.cards import Difference, differences
from eval_suite.report.cells import CellView, HeadView, MatrixView, cell_view, head_view
from eval_suite.report.collate import Notice
from eval_suite.report.compare import TaskComparison
from eval_suite.report.figures import Drawing, draw
from eval_suite.report.matrices import other_columns, table_columns
from eval_suite.report.palette import Style
from eval_suite.report.pictures import PictureGroup
from eval_suite.report.profile import ProfileRow, profile
from eval_suite.report.section import Section

_SHOWN_METRICS = 6  # of a task's own table; the rest is folded


class SubsetView(NamedTuple):
    """One metric on every subset: (subset, items, cells by backbone)."""

    metric: str
    unit: str
    direction: str
    rows: list[tuple[str, int, list[CellView]]]


class FoldedRow(NamedTuple):
    """One metric over all backbones, in a table that is folded."""

    head: HeadView
    cells: list[CellView]


class ChartView(NamedTuple):
    """A drawn chart."""

    title: str
    caption: str
    drawing: Drawing


@dataclass
class TaskView:
    """One task's section; ``rest`` holds the metrics that are folded, ``options`` are those of the first backbone that has any, and ``differences`` all that differ."""

    name: str
    title: str
    protocol: str
    papers: list[Paper]
    data: str
    options: str
    options_of: str
    differences: list[Difference]
    matrix: MatrixView
    rest: MatrixView
    folded: list[FoldedRow]
    subsets: list[SubsetView]
    profile: list[ProfileRow]
    charts: list[ChartView]
    pictures: list[PictureGroup]


def task_view(
    section: Section,
    comparison: TaskComparison,
    styles: dict[str, Style],
    pictures: list[PictureGroup],
    key: str,
) -> TaskView:
    """One task's section; a chart that cannot be drawn becomes a notice."""
    columns = table_columns(section, comparison)
    matrix, rest = task_matrices(section, comparison)
    listed_ids = {column.id for column in columns}
    first = {b: next(iter(seeds.values())) for b, seeds in comparison.records.items() if seeds}
    shown, record = next(iter(first.items()), ("", None))
    sources = [section.paper, record.task.paper if record else None]
    return TaskView(
        name=section.task,
        title=section.title,
        protocol=section.protocol,
        papers=list({paper.title: paper for paper in sources if paper}.values()),
        data=_data(comparison),
        options=yaml.safe_dump(record.task.options, sort_keys=False, allow_unicode=True) if record else "",
        options_of=shown,
        differences=differences({backbone: found.task.options for backbone, found in first.items()}),
        matrix=matrix,
        rest=rest,
        folded=_folded(section, comparison),
        subsets=[
            _subset_view(comparison, name, listed)
            for name, listed in comparison.subsets.items()
            if not section.fold_rest or name in listed_ids
        ],
        profile=profile(("", c) for c in columns if not section.metrics or section.names(c.sample)),
        charts=_charts(section, comparison, styles, key),
        pictures=pictures,
    )


def task_matrices(section: Section, comparison: TaskComparison) -> tuple[MatrixView, MatrixView]:
    """A task's table, and the further metrics that are folded below it."""
    columns = table_columns(section, comparison)
    matrix, rest = MatrixView(), MatrixView()
    matrix.add(comparison.collation, "", 1, columns[:_SHOWN_METRICS])
    rest.add(comparison.collation, "", 1, columns[_SHOWN_METRICS:])
    return matrix, rest


def _data(comparison: TaskComparison) -> str:
    found = [r.data for seeds in comparison.records.values() for r in seeds.values() if r.data]
    lines = [f"{d.name}, {d.split}: {d.n_scored} of {d.n_available} items scored" for d in found]
    fits = [r.fitted_to for seeds in comparison.records.values() for r in seeds.values() if r.fitted_to]
    lines += [f"fitted to {d.name}, {d.split}: {d.n_scored} of {d.n_available} items" for d in fits]
    return "; ".join(dict.fromkeys(lines))


def _folded(section: Section, comparison: TaskComparison) -> list[FoldedRow]:
    columns = other_columns(section, comparison) if section.fold_rest else []
    seeds = len(comparison.collation.suite.seeds)
    return [
        FoldedRow(head_view(column), [cell_view(column, cell, seeds) for cell in column.cells.values()])
        for column in columns
    ]


def _subset_view(comparison: TaskComparison, metric: str, subsets: list[str]) -> SubsetView:
    rows, head = [], None
    seeds = len(comparison.collation.suite.seeds)
    for subset in subsets:
        column = comparison.subset_column(metric, subset)
        if column is not None:
            head = head_view(column)
            cells = [cell_view(column, cell, seeds) for cell in column.cells.values()]
            counts = [m.n for cell in column.cells.values() for m in cell.by_seed.values()]
            rows.append((subset, max(counts), cells))
    return SubsetView(
        head.metric if head else metric,
        head.unit if head else "",
        f"{head.arrow} {head.direction}" if head else "",
        rows,
    )


def _charts(
    section: Section, comparison: TaskComparison, styles: dict[str, Style], key: str
) -> list[ChartView]:
    try:
        return [
            ChartView(chart.title, chart.caption, draw(chart, styles, f"{key}-{index}"))
            for index, chart in enumerate(section.charts(comparison))
        ]
    except Exception as error:  # noqa: BLE001
        # Charts draw whatever numbers the records hold; a chart must not cost the tables around it.
        text = f"the charts cannot be drawn: {first_line(error)}"
        comparison.collation.notices.append(Notice("warning", section.task, text))
        return []
