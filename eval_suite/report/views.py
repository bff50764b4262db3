"""What the templates show: every number already in words, every place already decided."""

from dataclasses import dataclass
from typing import NamedTuple

import yaml

from eval_suite.core.errors import first_line
from eval_suite.core.records import Paper
from eval_suite.report import wording
from eval_suite.report.cards import Difference, differences
from eval_suite.report.cells import CellView, HeadView, MatrixView, cell_view, head_view, matrix_view
from eval_suite.report.collate import Collation, Notice
from eval_suite.report.compare import Column, TaskComparison
from eval_suite.report.figures import Drawing, draw
from eval_suite.report.matrices import headline_columns, other_columns, table_columns
from eval_suite.report.palette import Style
from eval_suite.report.pictures import PictureRow
from eval_suite.report.section import Chart, Section, Series

_MOST_DIFFERENCES = 8


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
    """One task's section; ``options`` are those of the first backbone that has any, and ``differences`` all that differ."""

    name: str
    title: str
    protocol: str
    papers: list[Paper]
    data: str
    options: str
    options_of: str
    differences: list[Difference]
    matrix: MatrixView
    folded: list[FoldedRow]
    subsets: list[SubsetView]
    charts: list[ChartView]
    pictures: list[PictureRow]


def overview_matrix(collation: Collation, parts: list[tuple[Section, TaskComparison]]) -> MatrixView:
    """Backbones by the headline metrics of all tasks."""
    columns, groups = [], []
    for position, (section, comparison) in enumerate(parts, start=1):
        own = headline_columns(section, comparison)
        columns.extend(own)
        groups.append((position, section.title, len(own)))
    matrix = matrix_view(collation, columns, seeds=False)
    matrix.groups = [group for group in groups if group[2]]
    return matrix


def task_view(
    section: Section,
    comparison: TaskComparison,
    styles: dict[str, Style],
    pictures: list[PictureRow],
    key: str,
) -> TaskView:
    """One task's section; a chart that cannot be drawn becomes a notice."""
    collation = comparison.collation
    columns = table_columns(section, comparison)
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
        matrix=matrix_view(collation, columns, seeds=len(collation.suite.seeds) > 1),
        folded=_folded(section, comparison),
        subsets=[
            _subset_view(comparison, name, listed)
            for name, listed in comparison.subsets.items()
            if not section.fold_rest or name in listed_ids
        ],
        charts=_charts(section, comparison, columns, styles, key),
        pictures=pictures,
    )


def _data(comparison: TaskComparison) -> str:
    found = [r.data for seeds in comparison.records.values() for r in seeds.values() if r.data]
    lines = [f"{d.name}, {d.split}: {d.n_scored} of {d.n_available} items scored" for d in found]
    fits = [r.fitted_to for seeds in comparison.records.values() for r in seeds.values() if r.fitted_to]
    lines += [f"fitted to {d.name}, {d.split}: {d.n_scored} of {d.n_available} items" for d in fits]
    return "; ".join(dict.fromkeys(lines))


def _folded(section: Section, comparison: TaskComparison) -> list[FoldedRow]:
    baseline = comparison.collation.baseline
    columns = other_columns(section, comparison) if section.fold_rest else []
    return [
        FoldedRow(head_view(column), [cell_view(column, cell, baseline) for cell in column.cells.values()])
        for column in columns
    ]


def _subset_view(comparison: TaskComparison, metric: str, subsets: list[str]) -> SubsetView:
    rows, head = [], None
    for subset in subsets:
        column = comparison.subset_column(metric, subset)
        if column is not None:
            head = head_view(column)
            cells = [cell_view(column, cell, comparison.collation.baseline) for cell in column.cells.values()]
            counts = [m.n for cell in column.cells.values() for m in cell.by_seed.values()]
            rows.append((subset, max(counts), cells))
    return SubsetView(
        head.metric if head else metric,
        head.unit if head else "",
        f"{head.arrow} {head.direction}" if head else "",
        rows,
    )


def _charts(
    section: Section, comparison: TaskComparison, columns: list[Column], styles: dict[str, Style], key: str
) -> list[ChartView]:
    try:
        wanted = [
            *_difference_charts(section, comparison, columns),
            *section.charts(comparison),
        ]
        return [
            ChartView(chart.title, chart.caption, draw(chart, styles, f"{key}-{index}"))
            for index, chart in enumerate(wanted)
        ]
    except Exception as error:  # noqa: BLE001
        # Charts draw whatever numbers the records hold; a chart must not cost the tables around it.
        text = f"the charts cannot be drawn: {first_line(error)}"
        comparison.collation.notices.append(Notice("warning", section.task, text))
        return []


def _difference_charts(section: Section, comparison: TaskComparison, columns: list[Column]) -> list[Chart]:
    baseline = comparison.collation.baseline
    # The table shows every metric; a chart of more than those the section names would be too wide to read.
    tested = [
        c
        for c in columns
        if c.unit == wording.RATE
        and (not section.metrics or section.names(c.sample))
        and any(x.delta and x.delta.interval for x in c.cells.values())
    ]
    if len(tested) > _MOST_DIFFERENCES:
        # More would be too small to read; the table has them all.
        headline = {c.id for c in headline_columns(section, comparison)}
        tested = [c for c in tested if c.id in headline]
    if not tested:
        return []
    series = []
    for backbone in tested[0].cells:
        deltas = [(x, c.cells[backbone].delta) for x, c in enumerate(tested)]
        known = [(float(x), d.difference, d.interval) for x, d in deltas if d and d.interval]
        if known:
            x, y, intervals = (list(values) for values in zip(*known, strict=True))
            series.append(Series(backbone, x, y, intervals))
    names = [
        f"{c.metric}\u00a0{'↑' if c.higher_is_better else '↓'}" for c in tested
    ]  # no line of an arrow alone
    caption = (
        f"Paired differences with 95 % intervals; one that crosses the dashed line is tied with {baseline}."
    )
    return [
        Chart(
            f"Difference to {baseline}",
            "",
            "points",
            series,
            caption,
            categories=names,
            zero=True,
            percent=True,
        )
    ]
