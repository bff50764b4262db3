"""What a task adds to the report: words, the metrics to show, and its charts."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from eval_suite.core.errors import EvalSuiteError
from eval_suite.core.parts import part
from eval_suite.core.records import Curve, Metric, Paper, Record
from eval_suite.report.columns import Column, Pick
from eval_suite.report.compare import Derive, Records, TaskComparison

__all__ = [
    "Chart",
    "Column",
    "Pick",
    "Records",
    "Section",
    "Series",
    "TaskComparison",
    "all_curves",
    "curve_chart",
    "curve_names",
    "generic_section",
    "headline_columns",
    "picked_columns",
    "section_of",
]


@dataclass(frozen=True)
class Series:
    """One backbone's line or points. ``y`` may hold nulls; ``intervals`` bounds each y where known."""

    backbone: str
    x: list[float]
    y: list[float | None]
    intervals: list[tuple[float, float] | None] | None = None


@dataclass(frozen=True)
class Chart:
    """A chart of all backbones, drawn by `figures.draw`.

    With ``categories``, x counts into them and points stand side by side, not joined. ``diagonal`` draws y = x,
    ``zero`` draws y = 0, and ``levels`` what trivial methods reach, by name.
    """

    title: str
    x_label: str
    y_label: str
    series: list[Series]
    caption: str = ""
    categories: list[str] = field(default_factory=list)
    diagonal: bool = False
    zero: bool = False
    percent: bool = False
    limits: tuple[float, float] | None = None
    levels: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Section:
    """How the report shows one task.

    Attributes:
        task: its name.
        title: heading of the section.
        protocol: in two sentences what was done.
        paper: where the protocol comes from.
        headline: what stands in the overview, one column each.
        metrics: what stands in the section's table, followed by whatever else the records hold.
        charts: makes the charts from the comparison.
        place: sections are shown in rising order of it.
        derive: metrics that take several records.
        fold_rest: whether the rest stands in a folded table of its own, and only the listed metrics are shown on each
            subset.
    """

    task: str
    title: str
    protocol: str
    paper: Paper | None
    headline: tuple[Pick, ...]
    metrics: tuple[Pick, ...] = ()
    charts: Callable[[TaskComparison], list[Chart]] = lambda _comparison: []
    place: int = 100
    derive: Derive | None = None
    fold_rest: bool = False

    def names(self, metric: Metric) -> bool:
        """Whether a metric is among those that the section lists."""
        return any(metric.matches(pick.key, pick.params) for pick in self.metrics)


def section_of(comparison: TaskComparison) -> Section:
    """A task's own section, else a plain one; the task is found by its name, or in the user's file the records name."""
    record = next((r for seeds in comparison.records.values() for r in seeds.values()), None)
    with suppress(EvalSuiteError):
        task = part("task", (record.task.part if record else None) or comparison.task)
        if (found := task.section()) is not None:
            return found
    return generic_section(comparison)


def curve_chart(
    comparison: TaskComparison,
    name: str,
    *,
    diagonal: bool = False,
    caption: str = "",
    unit_square: bool = False,
    percent: bool = False,
) -> Chart | None:
    """One recorded curve as a chart with a line per backbone, at the first seed that has it."""
    found: dict[str, Curve] = {}
    for backbone, seeds in comparison.records.items():
        curves = (c for seed in sorted(seeds) for c in seeds[seed].curves if c.name == name)
        first = next(curves, None)
        if first is not None:
            found[backbone] = first
    if not found:
        return None
    any_curve = next(iter(found.values()))
    series = [Series(backbone, curve.x, curve.y) for backbone, curve in found.items()]
    limits = (0.0, 1.0) if unit_square else None
    return Chart(
        name,
        any_curve.x_label,
        any_curve.y_label,
        series,
        caption,
        diagonal=diagonal,
        limits=limits,
        percent=percent,
    )


def curve_names(comparison: TaskComparison) -> list[str]:
    """Names of all recorded curves, in the order of the records."""
    records: list[Record] = [r for seeds in comparison.records.values() for r in seeds.values()]
    return list(dict.fromkeys(curve.name for record in records for curve in record.curves))


def picked_columns(comparison: TaskComparison, picks: Iterable[Pick]) -> list[Column]:
    """The columns of all metrics that some picks stand for, each once."""
    ids = dict.fromkeys(id_ for pick in picks for id_ in comparison.picked(pick))
    return [column for id_ in ids if (column := comparison.column(id_))]


def headline_columns(section: Section, comparison: TaskComparison) -> list[Column]:
    """The columns a task has in the overview; the first metrics at hand where none of the chosen ones is."""
    chosen = [c for pick in section.headline if (c := comparison.first(pick))]
    return chosen or [c for id_ in list(comparison.metrics)[:3] if (c := comparison.column(id_))]


def all_curves(comparison: TaskComparison) -> list[Chart]:
    """Every recorded curve as a line chart."""
    charts = (curve_chart(comparison, name) for name in curve_names(comparison))
    return [chart for chart in charts if chart is not None]


def generic_section(comparison: TaskComparison) -> Section:
    """The section of a task that brings none of its own: every metric, every curve."""
    record = next((r for seeds in comparison.records.values() for r in seeds.values()), None)
    picks = tuple(Pick(metric.key, metric.params) for metric in comparison.metrics.values())
    return Section(
        task=comparison.task,
        title=comparison.task,
        protocol="",
        paper=record.task.paper if record else None,
        headline=picks[:3],
        metrics=picks,
        charts=all_curves,
    )
