"""Cells of a matrix in words: value, interval, difference to the baseline, verdict."""

from dataclasses import dataclass, field
from typing import NamedTuple

from eval_suite.report import wording
from eval_suite.report.collate import Collation
from eval_suite.report.compare import Column, Delta, Measurement

_VERDICTS = {
    "better": ("✓", "better"),
    "worse": ("✗", "worse"),
    "tied": ("≈", "tied"),
    "untested": ("", "no paired interval"),
}
_WHISKER = 34.0


class Whisker(NamedTuple):
    """The interval of a difference on its column's scale, -34 to 34 around the baseline."""

    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class CellView:
    """One cell of a matrix; ``sort`` is what its column is sorted by."""

    sort: float | None
    value: str = ""
    spread: str = ""
    interval: str = ""
    best: bool = False
    delta: str = ""
    delta_interval: str = ""
    verdict: str = ""
    symbol: str = ""
    word: str = ""
    shared: str = ""
    whisker: Whisker | None = None
    refused: str = ""
    baseline: bool = False
    partial: str = ""
    remarks: tuple[str, ...] = ()
    paper: str = ""
    paper_source: str = ""


class HeadView(NamedTuple):
    """The head of a metric's column."""

    metric: str
    unit: str
    arrow: str
    direction: str


class RowView(NamedTuple):
    """One backbone's row, followed by one row per seed where there are several."""

    backbone: str
    cells: list[CellView]
    seeds: list[tuple[int, str, list[CellView]]]


@dataclass
class MatrixView:
    """Backbones by metrics; ``groups`` are (position of the task, title, columns) over the heads."""

    heads: list[HeadView]
    rows: list[RowView]
    groups: list[tuple[int, str, int]] = field(default_factory=list)


def matrix_view(collation: Collation, columns: list[Column], seeds: bool) -> MatrixView:
    """Backbones by the given columns, with a row per seed where asked for."""
    rows = []
    for backbone in collation.suite.backbones:
        cells = [cell_view(column, column.cells[backbone], collation.baseline) for column in columns]
        by_seed = []
        for seed in collation.suite.seeds if seeds else []:
            states = {
                e.state for c in columns[:1] for e in collation.cells(c.task, backbone) if e.key.seed == seed
            }
            state = next(iter(states), "missing")
            by_seed.append((seed, state, [_seed_cell(c, c.cells[backbone], seed) for c in columns]))
        rows.append(RowView(backbone, cells, by_seed))
    return MatrixView([head_view(column) for column in columns], rows)


def head_view(column: Column) -> HeadView:
    """The head of a column."""
    arrow, _, meaning = wording.direction(column.higher_is_better).partition(" ")
    return HeadView(column.metric, wording.unit_label(column.unit), arrow, meaning)


def cell_view(column: Column, cell: Measurement, baseline: str) -> CellView:
    """One cell, differences included where the measurement has any."""
    unit, printed = column.unit, cell.published
    paper = (
        (wording.number(printed.value, unit), ", ".join(filter(None, (printed.source, printed.note))))
        if printed
        else ("", "")
    )
    if cell.value is None:
        return CellView(None, remarks=cell.remarks, paper=paper[0], paper_source=paper[1])
    delta, interval = cell.delta, cell.delta.interval if cell.delta else None
    symbol, word = _VERDICTS[delta.verdict] if delta else ("", "")
    several = sum(metric.value is not None for metric in cell.by_seed.values())
    return CellView(
        sort=cell.value,
        value=wording.number(cell.value, unit),
        spread=f"± {wording.number(cell.spread, unit)} over {several} seeds"
        if cell.spread is not None
        else "",
        interval=wording.bounds(cell.interval, unit) if cell.interval else "",
        best=cell.best,
        delta=wording.signed(delta.difference, unit) if delta else "",
        delta_interval=wording.signed_bounds(interval, unit) if interval else "",
        verdict=delta.verdict if delta else "",
        symbol=symbol,
        word=word,
        shared=_shared(column, delta),
        whisker=_whisker(column, cell),
        refused=cell.refused,
        baseline=cell.backbone == baseline,
        partial=cell.partial,
        remarks=cell.remarks,
        paper=paper[0],
        paper_source=paper[1],
    )


def _seed_cell(column: Column, cell: Measurement, seed: int) -> CellView:
    metric = cell.by_seed.get(seed)
    if metric is None or metric.value is None:
        return CellView(None)
    interval = wording.bounds(metric.interval, column.unit) if metric.interval else ""
    return CellView(metric.value, wording.number(metric.value, column.unit), interval=interval)


def _shared(column: Column, delta: Delta | None) -> str:
    if delta is None or not column.rests_on_some_seeds(delta):
        return ""
    return f"over {wording.counted(delta.seeds, 'shared seed')}"


def _whisker(column: Column, cell: Measurement) -> Whisker | None:
    known = [c.delta.interval for c in column.cells.values() if c.delta and c.delta.interval]
    scale = max((abs(bound) for interval in known for bound in interval), default=0.0)
    if not scale or cell.delta is None or cell.delta.interval is None:
        return None
    low, high = cell.delta.interval
    return Whisker(*(round(_WHISKER * value / scale, 1) for value in (low, cell.delta.difference, high)))
