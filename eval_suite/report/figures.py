"""Charts as small SVG that takes its colours and its type from the page."""

import io
import math
import textwrap
import warnings
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from eval_suite.report.palette import Style
from eval_suite.report.section import Chart, Series
from eval_suite.report.svg import AXIS, INK, SERIES, svg_for_page

_LONGEST_WITH_MARKERS = 40
_TICK_CHARACTERS = 15
_INCHES_PER_CATEGORY = 1.0
_PIXELS_PER_POINT = 4 / 3
# Inches of a small panel, and of what is left free around its axes: left, bottom, right, top.
_ROOM_FOR_LEVELS = 4.0  # how far off a level may be, in spans of the curves
_PANEL_WIDTH, _PANEL_HEIGHT, _PANEL_MARGINS = 2.35, 1.5, (0.48, 0.42, 0.12, 0.24)
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "eval-suite",
    "text.parse_math": False,
    "font.size": 9.0,
    "axes.edgecolor": AXIS,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": AXIS,
    "ytick.color": AXIS,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.5,
}


class Drawing(NamedTuple):
    """An SVG element to set into a page, ``width`` CSS pixels wide."""

    svg: str
    width: int


class Trace(NamedTuple):
    """A small line over epochs; the last point is marked."""

    x: list[float]
    y: list[float]


def draw(chart: Chart, styles: dict[str, Style], key: str) -> Drawing:
    """Draw a chart.

    Args:
        chart: what to draw.
        styles: look of every backbone, by name.
        key: unique on the page; prefixes the ids inside the SVG.
    """
    with matplotlib.rc_context(_SETTINGS):
        square = chart.limits is not None
        wide = max(4.4, 1.1 + _INCHES_PER_CATEGORY * len(chart.categories)) if chart.categories else 4.4
        figure = Figure(figsize=(3.6, 3.4) if square else (wide, 2.9), layout="constrained")
        axes = figure.add_subplot()
        if chart.diagonal:
            axes.axline((0, 0), slope=1, color=AXIS, linewidth=0.8, dashes=(3, 3), zorder=1)
        if chart.zero:
            axes.axhline(0, color=AXIS, linewidth=0.8, dashes=(3, 3), zorder=1)
        _draw_levels(axes, chart)
        for index, series in enumerate(chart.series):
            step = min(0.13, 0.8 / len(chart.series)) if chart.categories else 0.0
            offset = step * (index - (len(chart.series) - 1) / 2)
            _draw_series(axes, series, styles[series.backbone], offset, joined=not chart.categories)
        if chart.categories:
            names = [textwrap.fill(name, _TICK_CHARACTERS) for name in chart.categories]
            axes.set_xticks(range(len(names)), names)
            axes.set_xlim(-0.5, len(chart.categories) - 0.5)
        elif all(float(x).is_integer() for series in chart.series for x in series.x if math.isfinite(x)):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if square:
            axes.set(xlim=chart.limits, ylim=chart.limits)
            axes.set_aspect("equal")
        if chart.percent:
            axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g}".replace("-", "\u2212"))
        axes.grid(axis="y", color=AXIS, alpha=0.25, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel(chart.x_label)
        axes.set_ylabel(chart.y_label)
        return _to_svg(
            figure, key, f"{chart.title}: {chart.y_label} over {chart.x_label or 'the listed cases'}"
        )


class TrainingPanels:
    """Draws the backbones' trainings into small panels, one per quantity, with one line per seed.

    Axes are drawn once: the first drawing holds them, others that have the same refer to it.

    Args:
        ranges: y range by quantity, shared by all backbones so that panels compare by eye.
    """

    def __init__(self, ranges: dict[str, tuple[float, float]]) -> None:
        self._ranges = ranges
        self._figures: dict[tuple[str, ...], Figure] = {}
        self._axes: dict[tuple[tuple[str, tuple[float, float]], ...], str] = {}

    def draw(self, panels: dict[str, list[Trace]], style: Style, key: str) -> Drawing:
        """Draw one backbone's training.

        Args:
            panels: lines by the name of the quantity.
            style: the backbone's look.
            key: unique on the page.
        """
        with matplotlib.rc_context({**_SETTINGS, "font.size": 8.5}):
            names = tuple(panels)
            if names not in self._figures:
                self._figures[names] = _panels({name: self._ranges[name] for name in names})
                for axes in self._figures[names].axes:
                    axes.set_axis_off()
                    axes.set_title("", loc="left")
            figure = self._figures[names]
            for axes, traces in zip(figure.axes, panels.values(), strict=True):
                for line in list(axes.lines):
                    line.remove()
                for trace in traces:
                    axes.plot(trace.x, trace.y, color=style.colour, linewidth=1.3)
                    axes.plot(
                        trace.x[-1:], trace.y[-1:], color=style.colour, marker=style.marker, markersize=4
                    )
                axes.relim()
            svg, width = _to_svg(figure, key, f"Training over epochs: {', '.join(panels)}")
            epochs = [axes.get_xlim() for axes in figure.axes]
            shared = tuple(zip(names, epochs, strict=True))
            if shared in self._axes:
                drawn = f'<use href="#{self._axes[shared]}"/>'
            else:
                self._axes[shared] = f"{key}-axes"
                empty = _panels({name: self._ranges[name] for name in names})
                for axes, limits in zip(empty.axes, epochs, strict=True):
                    axes.set_xlim(*limits)
                inside = _to_svg(empty, f"{key}-axes", "").svg.partition(">")[2].removesuffix("</svg>")
                drawn = f'<g id="{key}-axes">{inside}</g>'
            return Drawing(f"{svg.removesuffix('</svg>')}{drawn}</svg>", width)


def _panels(ranges: dict[str, tuple[float, float]]) -> Figure:
    # Fixed places: a layout that measures every text takes two thirds of the time of a page of many backbones.
    figure = Figure(figsize=(_PANEL_WIDTH * len(ranges), _PANEL_HEIGHT))
    for position, (name, limits) in enumerate(ranges.items()):
        left, bottom, right, top = _PANEL_MARGINS
        place = ((position * _PANEL_WIDTH + left) / figure.get_figwidth(), bottom / _PANEL_HEIGHT)
        size = (
            (_PANEL_WIDTH - left - right) / figure.get_figwidth(),
            (_PANEL_HEIGHT - bottom - top) / _PANEL_HEIGHT,
        )
        axes = figure.add_axes((*place, *size))
        axes.set_ylim(*limits)
        axes.set_title(name, fontsize=8.5, color=INK, loc="left")
        axes.locator_params(axis="y", nbins=4)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        axes.set_xlabel("epoch")
    return figure


def _draw_levels(axes: Axes, chart: Chart) -> None:
    """A dotted line across for what trivial methods reach, its names at its right end, where few curves begin.

    One so far off that the curves would be flat next to it is named at the edge, with its value.
    """
    drawn = [y for series in chart.series for y in series.y if y is not None and math.isfinite(y)]
    low, high = min(drawn, default=0.0), max(drawn, default=0.0)
    room = _ROOM_FOR_LEVELS * (high - low) if len(drawn) > 1 else math.inf
    off: dict[bool, list[str]] = {}
    for level in dict.fromkeys(chart.levels.values()):
        names = ", ".join(name for name, other in chart.levels.items() if other == level)
        above = level > high + room
        if not above and level >= low - room:
            axes.axhline(level, color=AXIS, linewidth=0.8, dashes=(1, 2), zorder=1)
            _name_level(axes, names, level, "data")
        else:
            shown = f"{100 * level:.4g}" if chart.percent else f"{level:.4g}"
            off.setdefault(above, []).append(f"{names}: {shown}, {'above' if above else 'below'}")
    for above, texts in off.items():
        _name_level(axes, "; ".join(texts), float(above), "axes fraction")


def _name_level(axes: Axes, name: str, y: float, measured_in: str) -> None:
    axes.annotate(
        name,
        (1, y),
        xycoords=("axes fraction", measured_in),
        xytext=(0, 2),
        textcoords="offset points",
        ha="right",
        fontsize=7.5,
        color=INK,
    )


def _draw_series(axes: Axes, series: Series, style: Style, offset: float, joined: bool) -> None:
    points = [
        (x + offset, y if y is not None and math.isfinite(y) else math.nan, bound)
        for x, y, bound in zip(series.x, series.y, series.intervals or [None] * len(series.x), strict=True)
        if math.isfinite(x)
    ]
    gid = f"{SERIES}{style.position}"
    look: dict[str, Any] = {"color": style.colour, "gid": gid}
    if not joined:
        look["linestyle"] = "none"
    elif style.dash:
        look["dashes"] = style.dash
    if len(points) <= _LONGEST_WITH_MARKERS:
        look["marker"] = style.marker
    axes.plot([x for x, _, _ in points], [y for _, y, _ in points], **look)
    # One line with gaps for all intervals.
    bars = [(x, bound) for x, y, bound in points if bound is not None and math.isfinite(y)]
    if bars:
        places = [place for x, _ in bars for place in (x, x, math.nan)]
        ends = [end for _, (low, high) in bars for end in (low, high, math.nan)]
        axes.plot(places, ends, color=style.colour, linewidth=1.2, gid=gid)


def _to_svg(figure: Figure, key: str, label: str) -> Drawing:
    stream = io.StringIO()
    figure.patch.set_visible(False)
    for axes in figure.axes:
        axes.patch.set_visible(False)
    with warnings.catch_warnings():
        # Labels are set by the browser in the page's own type; what DejaVu lacks matters to the layout only.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        FigureCanvasSVG(figure).print_svg(
            stream, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    return Drawing(
        svg_for_page(stream.getvalue(), key, label), round(figure.get_figwidth() * 72 * _PIXELS_PER_POINT)
    )
