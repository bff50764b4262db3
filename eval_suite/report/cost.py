"""What the trainings cost: time of a step, passes through the network and memory, next to the baseline's."""

from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from eval_suite.core.cards import BackboneCard
from eval_suite.report.cards import cards_of, finite, history_of
from eval_suite.report.collate import Collation
from eval_suite.report.tables import Cell, Table

# What may differ between recipes whose steps are compared: then it is the regularizers that a difference comes from.
_FREE = {"regularizers", "preset", "save_interval", "checkpoint", "trackers"}
_MIB = 1 << 20
_WHOLE = 100  # milliseconds from which on their parts are not shown


@dataclass(frozen=True)
class Cost:
    """What one backbone's training cost, as it was logged: the median over epochs, averaged over seeds.

    Attributes:
        backbone: its name.
        step_seconds: mean time of a step, with reading its images.
        passes: images that went forward through the network for each image of the data; None where it was not logged.
        memory: the most bytes held; None where it was not logged.
        ratio: the step's time by the baseline's, where the recipes differ in nothing but regularizers and were trained on the
            same processor.
        processor: where it was measured.
    """

    backbone: str
    step_seconds: float
    passes: float | None
    memory: float | None
    ratio: float | None
    processor: str

    @property
    def cells(self) -> list[tuple[str, float | None]]:
        """What stands under `HEADS`, each with the value to sort by."""
        milliseconds = 1000 * self.step_seconds
        measured = (
            (milliseconds, "{:.3g}" if milliseconds < _WHOLE else "{:,.0f}"),
            (self.ratio, "{:.2f}"),
            (self.passes, "{:.2f}"),
            (None if self.memory is None else self.memory / _MIB, "{:,.0f}"),
        )
        cells = [("—" if value is None else form.format(value), value) for value, form in measured]
        return [*cells, (self.processor or "—", None)]


def costs(collation: Collation) -> list[Cost]:
    """A row for every backbone whose training logged what it cost."""
    cards = {name: list(cards_of(collation, name).values()) for name in collation.suite.backbones}
    steps = {name: _over_seeds(own, "step_seconds") for name, own in cards.items()}
    baseline = collation.baseline
    rows = []
    for name, step in steps.items():
        if step is None:
            continue
        base = steps.get(baseline)
        same = base and _measured_like(cards[name]) == _measured_like(cards[baseline])
        rows.append(
            Cost(
                name,
                step,
                _over_seeds(cards[name], "passes"),
                _over_seeds(cards[name], "memory"),
                step / base if base and same else None,
                ", ".join(sorted({_processor(card) for card in cards[name]} - {""})),
            )
        )
    return rows


def cost_table(collation: Collation) -> Table | None:
    """The same rows for export; None where nothing was logged."""
    rows = costs(collation)
    if not rows:
        return None
    title = collation.suite.title or collation.suite.name
    return Table(
        "cost",
        f"{title}. What the trainings cost: {MEANING}",
        ["Backbone", *HEADS],
        [[Cell(row.backbone), *(Cell(text) for text, _ in row.cells)] for row in rows],
        ["backbone", "step_seconds", "ratio_to_baseline", "passes", "memory_bytes", "processor"],
        [[row.backbone, row.step_seconds, row.ratio, row.passes, row.memory, row.processor] for row in rows],
    )


HEADS = ["Step, ms", "By the baseline's", "Passes", "Peak memory, MiB", "Measured on"]
MEANING = (
    "time of a step with reading its images, the median over epochs, measured while other work may have run; passes through the "
    "network for each image, in steps and in what regularizers look at before; memory of the tensors on a GPU, on a CPU of the whole process. "
    "Steps are divided by the baseline's where the recipes differ in regularizers alone."
)


def _over_seeds(cards: list[BackboneCard], quantity: str) -> float | None:
    found = []
    for card in cards:
        values = [value for row in history_of(card) if (value := finite(row.get(quantity))) is not None]
        if values:
            found.append(median(values))
    return fmean(found) if found else None


def _measured_like(cards: list[BackboneCard]) -> Any:
    """What has to agree for two steps to be compared; seeds of one backbone share a recipe."""
    recipe = cards[0].recipe or {}
    kept = {key: value for key, value in recipe.items() if key not in _FREE}
    return kept, sorted({_processor(card) for card in cards})


def _processor(card: BackboneCard) -> str:
    return str((card.training or {}).get("processor") or "")
