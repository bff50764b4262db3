"""The answer in a sentence: who is best, by how much, and whether chance could have done it."""

from typing import NamedTuple

from eval_suite.report.columns import Column, Delta, Measurement
from eval_suite.report.compare import TaskComparison
from eval_suite.report.section import Section, headline_columns
from eval_suite.report.wording import (
    bounds,
    counted,
    difference_with_unit,
    listed,
    signed_bounds,
    unit_label,
    with_unit,
)

# Below, a bootstrap's intervals are too short: fewer than 95 % of them hold the true difference.
_FEW_ITEMS = 30


class Finding(NamedTuple):
    """What one task's first headline metric says.

    ``verdict`` is that of the winner against the baseline, empty where there is no such comparison.
    """

    task: str
    title: str
    metric: str
    winner: str
    value: str
    verdict: str
    sentence: str

    @property
    def line(self) -> str:
        """The finding as one plain line."""
        who = f"{self.winner} {self.value}" if self.winner else ""
        return f"{self.metric}: {'. '.join(filter(None, (who, self.sentence)))}"


def finding(section: Section, comparison: TaskComparison) -> Finding | None:
    """The finding of a task's first headline metric that any record holds, else of any metric; None where none has a value."""
    others = (comparison.column(id_) for id_ in comparison.metrics)
    columns = (*headline_columns(section, comparison), *others)
    column = next(
        (c for c in columns if c and any(cell.value is not None for cell in c.cells.values())), None
    )
    if column is None:
        return None
    winner, value, verdict, sentence = _tell(column, comparison)
    return Finding(section.task, section.title, column.metric, winner, value, verdict, sentence)


def _tell(column: Column, comparison: TaskComparison) -> tuple[str, str, str, str]:
    baseline = comparison.collation.baseline
    valued = [cell for cell in column.cells.values() if cell.value is not None]
    best = [cell for cell in valued if cell.best]
    if len(valued) == 1:
        return (
            valued[0].backbone,
            _value(valued[0], column.unit),
            "",
            "The only backbone with a number so far." if len(column.cells) > 1 else "",
        )
    if not best:
        return (
            "",
            "",
            "",
            "Not ranked, because the backbones were scored on different items or in different ways.",
        )
    first = best[0]
    verdict = first.delta.verdict if first.delta else ""
    if len(best) > 1:
        sentence = f"The same value as {listed([cell.backbone for cell in best[1:]])}."
        if all(cell.backbone != baseline for cell in best):
            sentence += f" {_against(first.delta or first.refused, column, baseline)}"
    elif first.backbone == baseline:
        sentence = f"No other backbone does better.{_runner_up(first, column, comparison)}"
    else:
        against = _against(first.delta or first.refused, column, baseline)
        sentence = against + _runner_up(first, column, comparison)
    unranked = [cell.backbone for cell in valued if not cell.ranked]
    if unranked:
        sentence += f" Not ranked, being scored on other items or in another way: {listed(unranked)}."
    return first.backbone, _value(first, column.unit), verdict, sentence


def _against(found: Delta | str, column: Column, baseline: str) -> str:
    if isinstance(found, str):
        reason = found or f"no value for {baseline} to compare with"
        return f"{reason[0].upper()}{reason[1:]}."
    size = difference_with_unit(found.difference, column.unit)
    shared = f" over {counted(found.seeds, 'shared seed')}" if column.rests_on_some_seeds(found) else ""
    if found.interval is None:
        return f"{size} from {baseline}{shared}, without a paired interval."
    interval = f"paired 95 % interval of the difference {signed_bounds(found.interval, column.unit)} (n = {found.n:,})"
    if found.verdict == "tied":
        return f"Tied with {baseline}: {size} apart{shared}, but the {interval} contains 0."
    significant = found.n >= _FEW_ITEMS
    caution = "" if significant else f" From fewer than {_FEW_ITEMS} items that is no more than a hint."
    return (
        f"{size} {found.verdict} than {baseline}{shared}{', significantly so' if significant else ''}: "
        f"the {interval} excludes 0.{caution}"
    )


def _runner_up(first: Measurement, column: Column, comparison: TaskComparison) -> str:
    rivals = [
        (cell.value, cell.backbone)
        for cell in column.cells.values()
        if cell.ranked and cell.value is not None and cell is not first
    ]
    value, second = (max if column.higher_is_better else min)(rivals, key=lambda rival: rival[0])
    if second == comparison.collation.baseline and first.delta is not None:
        return ""
    found = comparison.delta(column.id, first.backbone, second)
    if isinstance(found, str) or found.interval is None:
        return ""
    reached = f" {second} comes second at {with_unit(value, column.unit)}"
    if found.verdict == "tied":
        return f"{reached} and is tied with it."
    return f"{reached}, {difference_with_unit(found.difference, column.unit)} behind, not tied."


def _value(cell: Measurement, unit: str) -> str:
    text = with_unit(cell.value or 0.0, unit)
    if cell.spread is not None:
        return f"{text} ± {difference_with_unit(cell.spread, unit)} over {len(cell.by_seed)} seeds"
    return f"{text} {bounds(cell.interval, unit)}" if cell.interval else text


def column_head(column: Column) -> str:
    """A metric with its arrow and unit, as tables for papers head their columns."""
    unit = unit_label(column.unit)
    return f"{column.metric} {'↑' if column.higher_is_better else '↓'}" + (f" ({unit})" if unit else "")
