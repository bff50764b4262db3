"""The top of the page: headline metrics of all tasks, standing and cost of each backbone, the paper's numbers next to ours."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from eval_suite.core.cards import BackboneCard
from eval_suite.core.errors import first_line
from eval_suite.report import wording
from eval_suite.report.cards import Difference, cards_of, cost_of, finite, history_of, speed
from eval_suite.report.cells import MatrixView
from eval_suite.report.collate import Collation, Notice
from eval_suite.report.columns import Column
from eval_suite.report.compare import TaskComparison
from eval_suite.report.figures import Drawing, draw
from eval_suite.report.palette import Style
from eval_suite.report.profile import ProfileRow, profile
from eval_suite.report.section import Chart, Section, Series, headline_columns

_MANY_BACKBONES, _SHOWN_BACKBONES = 16, 8  # eight columns fit a page of 1300 pixels
Parts = Sequence[tuple[Section, TaskComparison]]


class PublishedRow(NamedTuple):
    """A number of a paper and ours, in words; ``difference`` is ours minus the paper's."""

    backbone: str
    metric: str
    paper: str
    ours: str
    difference: str
    sort: tuple[float | None, float | None]
    source: str
    protocol: str


@dataclass
class Overview:
    """What the first screen shows.

    ``shown`` are the backbones that are not hidden at first, ``standing`` holds rank, wins and cost as (what, value by backbone).
    """

    shown: list[str]
    matrix: MatrixView
    profile: list[ProfileRow]
    standing: list[Difference]
    cost: list[tuple[str, Drawing]]
    published: list[PublishedRow]


def overview(collation: Collation, parts: Parts, styles: dict[str, Style]) -> Overview:
    """The overview of a suite.

    Args:
        collation: the suite's cells.
        parts: every task's section and comparison, in the order of the page.
        styles: look of every backbone, by name.
    """
    matrix = MatrixView()
    titled: list[tuple[str, Column]] = []
    for position, (section, comparison) in enumerate(parts, start=1):
        columns = headline_columns(section, comparison)
        matrix.add(collation, section.title, position, columns)
        titled += [(section.title, column) for column in columns]
    firsts = list({title: (title, column) for title, column in reversed(titled)}.values())[::-1]
    ranks = _mean_ranks(collation.suite.backbones, [column for _, column in firsts])
    return Overview(
        _shown(collation, ranks.by_backbone),
        matrix,
        profile(titled),
        [*_standing(collation, titled, ranks), *_cost(collation)],
        _cost_charts(collation, firsts, styles),
        published_rows(parts),
    )


class _Ranks(NamedTuple):
    """Mean ranks over so many tasks; none for one backbone alone."""

    tasks: int
    by_backbone: dict[str, float]


def _mean_ranks(names: list[str], firsts: list[Column]) -> _Ranks:
    ranked = [column for column in firsts if all(cell.ranked for cell in column.cells.values())]
    if len(names) < 2 or not ranked:
        return _Ranks(0, {})
    values = np.array(
        [[(-1 if c.higher_is_better else 1) * (c.cells[name].value or 0.0) for name in names] for c in ranked]
    )
    means = rankdata(values, axis=1).mean(axis=0)
    return _Ranks(len(ranked), dict(zip(names, means.tolist(), strict=True)))


def _shown(collation: Collation, ranks: dict[str, float]) -> list[str]:
    """All backbones, or of very many the baseline and those of the best mean rank: more columns than that nobody compares by eye."""
    names = collation.suite.backbones
    if len(names) <= _MANY_BACKBONES:
        return names
    order = sorted(names, key=lambda name: (name != collation.baseline, ranks.get(name, 0.0)))
    return order[:_SHOWN_BACKBONES]


def _standing(collation: Collation, titled: list[tuple[str, Column]], ranks: _Ranks) -> list[Difference]:
    """Mean ranks over the tasks, and how often a backbone was better, tied and worse; nothing for one backbone alone."""
    names = collation.suite.backbones
    rows = []
    if ranks.tasks:
        over = f"Mean rank in the first metric of {wording.counted(ranks.tasks, 'task')}"
        rows.append(Difference(over, {name: f"{mean:.1f}" for name, mean in ranks.by_backbone.items()}))
    counts = {}
    for name in names:
        verdicts = [d.verdict for _, column in titled if (d := column.cells[name].delta) and d.interval]
        if verdicts:
            counts[name] = " / ".join(str(verdicts.count(word)) for word in ("better", "tied", "worse"))
    if counts:
        rows.append(Difference(f"Headline metrics better / tied / worse than {collation.baseline}", counts))
    return rows


def _cost(collation: Collation) -> list[Difference]:
    """Size of each backbone, and the time its training and its evaluations took, averaged over seeds."""
    size, training, evaluation = {}, {}, {}
    speeds: dict[str, dict[str, str]] = {}
    for name in collation.suite.backbones:
        cards = cards_of(collation, name)
        if cards:
            size[name] = f"{next(iter(cards.values())).parameters / 1e6:.2f} M"
        for what, words in speed(collation, name):
            speeds.setdefault(what, {})[name] = words
        spent = [
            sum(seconds)
            for card in cards.values()
            if (seconds := [s for row in history_of(card) if (s := finite(row.get("seconds"))) is not None])
        ]
        if spent:
            training[name] = wording.duration(float(np.mean(spent)))
        records = [entry.record for entry in collation.of_backbone(name) if entry.record]
        if records:
            total = sum(sum(record.run.seconds.values()) for record in records)
            evaluation[name] = wording.duration(total / len({record.run.seed for record in records}))
    rows = [
        Difference("Parameters", size),
        *(Difference(what, values) for what, values in speeds.items()),
        Difference("Training time, as logged", training),
        Difference("Evaluation time, all tasks with their fits", evaluation),
    ]
    return [row for row in rows if row.values]


def _cost_charts(
    collation: Collation, firsts: list[tuple[str, Column]], styles: dict[str, Style]
) -> list[tuple[str, Drawing]]:
    """Each task's first metric against what the backbones cost, where they differ in it."""
    charts = []
    for against, x_label, values in _costs(collation):
        if len(set(values.values())) < 2:
            continue
        for title, column in firsts:
            rate = column.unit == wording.RATE
            series = [
                Series(name, [values[name]], [cell.value], [cell.interval])
                for name, cell in column.cells.items()
                if name in values and cell.value is not None
            ]
            label = f"{column.metric}, {wording.unit_label(column.unit)}".removesuffix(", ")
            charts.append(Chart(f"{title} against {against}", x_label, label, series, percent=rate))
    try:
        return [(chart.title, draw(chart, styles, f"cost{index}")) for index, chart in enumerate(charts)]
    except Exception as error:  # noqa: BLE001 - a chart fails no page
        # As with the tasks' charts: whatever the records hold must not cost the tables.
        collation.notices.append(
            Notice("warning", "cost", f"the charts of cost cannot be drawn: {first_line(error)}")
        )
        return []


def _costs(collation: Collation) -> list[tuple[str, str, dict[str, float]]]:
    """Size, and speed where it was measured in one way: what it is called, its axis, and its value by backbone."""
    names = collation.suite.backbones
    sizes = {
        name: next(iter(cards.values())).parameters / 1e6
        for name in names
        if (cards := cards_of(collation, name))
    }
    found = [("size", "parameters, millions", sizes)]
    measured = {name: cost for name in names if (cost := cost_of(collation, name))}
    ways = {(cost.device, cost.precision, cost.threads, cost.batch_size) for cost in measured.values()}
    if len(ways) == 1:
        latency = {name: cost.latency_ms for name, cost in measured.items()}
        speeds = {name: cost.images_per_second for name, cost in measured.items()}
        found += [("latency", "ms an image alone", latency), ("speed", "images a second", speeds)]
    return found


def published_rows(parts: Parts) -> list[PublishedRow]:
    """Every number of a paper for a metric on this page, next to ours, with what differs in the protocol."""
    rows = []
    for _, comparison in parts:
        columns = [comparison.column(id_) for id_ in comparison.metrics]
        columns += [
            comparison.subset_column(id_, subset)
            for id_, subsets in comparison.subsets.items()
            for subset in subsets
        ]
        for column in filter(None, columns):
            rows += [
                _published_row(comparison, column, name)
                for name, cell in column.cells.items()
                if cell.published and cell.value is not None
            ]
    return rows


def _published_row(comparison: TaskComparison, column: Column, backbone: str) -> PublishedRow:
    cell = column.cells[backbone]
    printed, value = cell.published, cell.value
    assert printed is not None
    assert value is not None
    subset = f" ({column.sample.subset})" if column.sample.subset else ""
    ours = wording.counted(len(cell.by_seed), "seed")
    scored = {r.data.n_scored: r.data.name for r in comparison.records[backbone].values() if r.data}
    items = ", ".join(f"{n:,} items of {name}" for n, name in scored.items())
    card = next(iter(comparison.records[backbone].values())).backbone
    return PublishedRow(
        backbone,
        column.metric + subset,
        wording.number(printed.value, column.unit),
        wording.number(value, column.unit)
        + (f" ± {wording.number(cell.spread, column.unit)}" if cell.spread is not None else ""),
        wording.signed(value - printed.value, column.unit),
        (printed.value, value),
        printed.source,
        "; ".join(
            filter(
                None,
                (
                    f"paper: {printed.note}" if printed.note else "",
                    f"ours: {_trained(card)}{ours}, {items}",
                    cell.partial,
                ),
            )
        ),
    )


def _trained(card: BackboneCard) -> str:
    """How long a backbone was trained here, and which epoch's weights were scored."""
    epochs = (card.training or {}).get("epochs")
    if not card.recipe or not isinstance(epochs, int):
        return ""
    which = "best" if card.recipe.get("checkpoint") == "best" else "last"
    return f"the {which} of {wording.counted(epochs, 'epoch')}, "
