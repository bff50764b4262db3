"""Tables of metrics by backbones in words: value, interval, difference to the baseline, verdict."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from eval_suite.report import wording
from eval_suite.report.collate import Collation
from eval_suite.report.columns import Column, Delta, Measurement

_VERDICTS = {
    "better": ("✓", "better"),
    "worse": ("✗", "worse"),
    "tied": ("≈", "tied"),
    "untested": ("", "untested"),
}


@dataclass(frozen=True)
class CellView:
    """One backbone's value of one metric; ``notes`` are numbers of the notes below the table."""

    value: str = ""
    spread: str = ""
    interval: str = ""
    best: bool = False
    clear: bool = False
    delta: str = ""
    delta_interval: str = ""
    verdict: str = ""
    symbol: str = ""
    word: str = ""
    shared: str = ""
    notes: tuple[int, ...] = ()
    paper: str = ""
    paper_source: str = ""


class HeadView(NamedTuple):
    """What is measured."""

    metric: str
    unit: str
    arrow: str
    direction: str
    controls: str = ""


class MetricRow(NamedTuple):
    """One metric over all backbones, followed by one row per seed where there are several."""

    head: HeadView
    cells: list[CellView]
    seeds: list[tuple[int, list[CellView]]]


class MetricGroup(NamedTuple):
    """The rows of one task; ``position`` counts the tasks on the page from 1. A table of one task has no title."""

    position: int
    title: str
    rows: list[MetricRow]


@dataclass
class MatrixView:
    """Metrics by backbones. What several cells have to say is said once, below the table, in ``notes``."""

    groups: list[MetricGroup] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, collation: Collation, title: str, position: int, columns: Sequence[Column]) -> None:
        """Append the metrics of a task, with a row per seed where the suite has several and the table is its own."""
        backbones = collation.suite.backbones
        seeds = collation.suite.seeds if len(collation.suite.seeds) > 1 and not title else []
        rows = [
            MetricRow(
                head_view(column),
                [
                    self._noted(
                        cell_view(column, column.cells[name], len(collation.suite.seeds)), column.cells[name]
                    )
                    for name in backbones
                ],
                [
                    (seed, [_seed_cell(column, column.cells[name], seed) for name in backbones])
                    for seed in seeds
                ],
            )
            for column in columns
        ]
        if rows:
            self.groups.append(MetricGroup(position, title, rows))

    def _noted(self, view: CellView, cell: Measurement) -> CellView:
        texts = [*filter(None, (cell.refused, cell.partial)), *cell.remarks]
        self.notes.extend(text for text in dict.fromkeys(texts) if text not in self.notes)
        return replace(view, notes=tuple(self.notes.index(text) + 1 for text in texts))


def head_view(column: Column) -> HeadView:
    """A column's metric in words."""
    arrow, _, meaning = wording.direction(column.higher_is_better).partition(" ")
    reached = column.sample.controls.items()
    controls = "; ".join(f"{name} {wording.number(value, column.unit)}" for name, value in reached)
    return HeadView(column.metric, wording.unit_label(column.unit), arrow, meaning, controls)


def cell_view(column: Column, cell: Measurement, seeds: int) -> CellView:
    """One cell, differences included where the measurement has any.

    Args:
        column: the metric, over all backbones.
        cell: one of them.
        seeds: how many the suite has; a spread over fewer is marked.
    """
    unit, printed = column.unit, cell.published
    paper = (
        (wording.number(printed.value, unit), ", ".join(filter(None, (printed.source, printed.note))))
        if printed
        else ("", "")
    )
    if cell.value is None:
        return CellView(paper=paper[0], paper_source=paper[1])
    delta, interval = cell.delta, cell.delta.interval if cell.delta else None
    symbol, word = _VERDICTS[delta.verdict] if delta else ("", "")
    several = sum(metric.value is not None for metric in cell.by_seed.values())
    return CellView(
        value=wording.number(cell.value, unit),
        spread=""
        if cell.spread is None
        else f"± {wording.number(cell.spread, unit)}" + (f" over {several} seeds" if several < seeds else ""),
        interval=wording.bounds(cell.interval, unit) if cell.interval else "",
        # Where all have one value, that word would stand everywhere and say nothing.
        best=cell.best and len({other.value for other in column.cells.values() if other.ranked}) > 1,
        clear=_clear(column, cell),
        delta=wording.signed(delta.difference, unit) if delta else "",
        delta_interval=wording.signed_bounds(interval, unit) if interval else "",
        verdict=delta.verdict if delta else "",
        symbol=symbol,
        word=word,
        shared=_shared(column, delta),
        paper=paper[0],
        paper_source=paper[1],
    )


def _clear(column: Column, cell: Measurement) -> bool:
    """Whether the best value is so by more than chance: better than the baseline's, or the baseline's and all others worse."""
    if cell.delta is not None:
        return cell.best and cell.delta.verdict == "better"
    others = [other for other in column.cells.values() if other.ranked and other is not cell]
    return cell.best and bool(others) and all(o.delta and o.delta.verdict == "worse" for o in others)


def _seed_cell(column: Column, cell: Measurement, seed: int) -> CellView:
    metric = cell.by_seed.get(seed)
    if metric is None or metric.value is None:
        return CellView()
    interval = wording.bounds(metric.interval, column.unit) if metric.interval else ""
    return CellView(wording.number(metric.value, column.unit), interval=interval)


def _shared(column: Column, delta: Delta | None) -> str:
    if delta is None or not column.rests_on_some_seeds(delta):
        return ""
    return f"over {wording.counted(delta.seeds, 'shared seed')}"
