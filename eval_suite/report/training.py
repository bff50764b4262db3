"""How the backbones' trainings ended: errors after the last and at the best epoch over seeds, next to published ones."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from eval_suite.core.cards import BackboneCard
from eval_suite.core.errors import first_line
from eval_suite.report.cards import cards_of, finite, history_of
from eval_suite.report.collate import Collation, Notice
from eval_suite.report.figures import Drawing, draw
from eval_suite.report.palette import Style
from eval_suite.report.printed import PublishedNumber, published_number
from eval_suite.report.section import Chart, Series
from eval_suite.report.tables import Cell, Table
from eval_suite.report.wording import RATE, number


class OverSeeds(NamedTuple):
    """Mean, and standard deviation over seeds where there are several."""

    mean: float
    spread: float | None

    @property
    def text(self) -> str:
        """In percent."""
        spread = "" if self.spread is None else f" ± {number(self.spread, RATE)}"
        return number(self.mean, RATE) + spread


@dataclass(frozen=True)
class ErrorRow:
    """One backbone's errors as fractions."""

    backbone: str
    seeds: int
    last: OverSeeds
    best: OverSeeds
    published: PublishedNumber | None

    @property
    def last_text(self) -> str:
        """After the last epoch."""
        return self.last.text

    @property
    def best_text(self) -> str:
        """At the best epoch."""
        return self.best.text

    @property
    def published_text(self) -> str:
        """The printed number in percent."""
        return number(self.published.value, RATE) if self.published else ""


@dataclass(frozen=True)
class TrainingView:
    """The rows, what the epochs were judged on, and the errors over the epochs."""

    rows: list[ErrorRow]
    judged_on: str
    drawing: Drawing | None

    @property
    def several(self) -> bool:
        """Whether any row stands on several seeds."""
        return any(row.seeds > 1 for row in self.rows)

    @property
    def published(self) -> bool:
        """Whether any row has a published number."""
        return any(row.published for row in self.rows)


def training_rows(collation: Collation) -> list[ErrorRow]:
    """A row for every backbone that was trained here."""
    rows = []
    for name in collation.suite.backbones:
        ends = [
            (last, best)
            for card in cards_of(collation, name).values()
            if (last := _error(card, "last")) is not None and (best := _error(card, "best")) is not None
        ]
        if ends:
            lasts, bests = zip(*ends, strict=True)
            printed = published_number(collation.suite, name, "classify", "top1_error", {})
            rows.append(ErrorRow(name, len(ends), _over_seeds(lasts), _over_seeds(bests), printed))
    return rows


def training_view(collation: Collation, styles: dict[str, Style]) -> TrainingView | None:
    """What the page shows; None where nothing was trained. A chart that cannot be drawn becomes a notice."""
    rows = training_rows(collation)
    if not rows:
        return None
    cards = [card for row in rows for card in cards_of(collation, row.backbone).values()]
    judged = {str((card.training or {}).get("validation", "")) for card in cards} - {""}
    try:
        drawing = _drawing(collation, [row.backbone for row in rows], styles)
    except Exception as error:  # noqa: BLE001
        # As with the tasks' charts: whatever the cards hold must not cost the table.
        text = f"the errors over the epochs cannot be drawn: {first_line(error)}"
        collation.notices.append(Notice("warning", "training", text))
        drawing = None
    return TrainingView(rows, ", ".join(sorted(judged)) or "on the validation split", drawing)


def training_table(collation: Collation) -> Table | None:
    """The same rows for export; None where nothing was trained."""
    rows = training_rows(collation)
    if not rows:
        return None
    lowest = {end: min(getattr(row, end).mean for row in rows) for end in ("last", "best")}
    title = collation.suite.title or collation.suite.name
    return Table(
        "training",
        f"{title}. Top-1 error in training after the last epoch and at the best one, mean ± standard deviation over seeds.",
        ["Backbone", "Last epoch, %", "Best epoch, %", "Published, %"],
        [
            [
                Cell(row.backbone),
                Cell(row.last_text, len(rows) > 1 and row.last.mean == lowest["last"]),
                Cell(row.best_text, len(rows) > 1 and row.best.mean == lowest["best"]),
                Cell(row.published_text or "—"),
            ]
            for row in rows
        ],
        ["backbone", "epoch", "seeds", "mean", "std_over_seeds", "published", "published_source"],
        [
            [
                *(row.backbone, end, row.seeds, *getattr(row, end)),
                *(
                    (row.published.value, row.published.source)
                    if row.published and end == "best"
                    else (None, None)
                ),
            ]
            for row in rows
            for end in ("last", "best")
        ],
    )


def _error(card: BackboneCard, end: str) -> float | None:
    row = (card.training or {}).get(end)
    return finite(row.get("top1_error")) if isinstance(row, dict) else None


def _over_seeds(values: tuple[float, ...]) -> OverSeeds:
    return OverSeeds(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None)


def _drawing(collation: Collation, backbones: list[str], styles: dict[str, Style]) -> Drawing | None:
    series = []
    for name in backbones:
        errors: dict[float, list[float]] = {}
        for card in cards_of(collation, name).values():
            for row in history_of(card):
                epoch, error = finite(row.get("epoch")), finite(row.get("top1_error"))
                if epoch is not None and error is not None:
                    errors.setdefault(epoch, []).append(error)
        if len(errors) > 1:
            epochs = sorted(errors)
            series.append(Series(name, epochs, [float(np.mean(errors[epoch])) for epoch in epochs]))
    if not series:
        return None
    chart = Chart("Top-1 error over the training", "Epoch", "Top-1 error, %", series, percent=True)
    return draw(chart, styles, "epochs")
