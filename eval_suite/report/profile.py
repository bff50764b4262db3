"""The profile of differences: every tested metric's paired interval around the baseline, better to the right."""

from collections.abc import Iterable
from typing import NamedTuple

from eval_suite.report import wording
from eval_suite.report.columns import Column

_HALF = 48.0  # percent of the width on either side of the baseline; the rest is room for the markers


class Mark(NamedTuple):
    """One backbone's interval, in percent of the width: the baseline at 50, better above."""

    backbone: str
    low: float
    middle: float
    high: float
    text: str


class ProfileRow(NamedTuple):
    """One metric; its own scale ends at ``scale`` on either side."""

    title: str
    metric: str
    scale: str
    marks: list[Mark]


def profile(columns: Iterable[tuple[str, Column]]) -> list[ProfileRow]:
    """The rows of all metrics that have a paired interval.

    Metrics differ in range by orders of magnitude, so each has its own scale: that of its widest interval.

    Args:
        columns: each with the title of its task.
    """
    rows = []
    for title, column in columns:
        sign = 1 if column.higher_is_better else -1
        tested = [
            (name, cell.delta, cell.delta.interval)
            for name, cell in column.cells.items()
            if cell.delta and cell.delta.interval
        ]
        scale = max((abs(bound) for _, _, interval in tested for bound in interval), default=0.0)
        if not scale:
            continue
        marks = []
        for name, delta, interval in tested:
            low, middle, high = (
                round(50 + sign * _HALF * value / scale, 2)
                for value in (interval[0], delta.difference, interval[1])
            )
            text = f"{name} {wording.signed(delta.difference, column.unit)} {wording.signed_bounds(interval, column.unit)}, {delta.verdict}"
            marks.append(Mark(name, min(low, high), middle, max(low, high), text))
        arrow = "↑" if column.higher_is_better else "↓"
        rows.append(
            ProfileRow(
                title,
                f"{column.metric}\u00a0{arrow}",
                f"±\u00a0{wording.difference_with_unit(scale, column.unit)}",
                marks,
            )
        )
    return rows
