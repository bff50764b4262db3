"""Comparisons as tables of pandas, for scripts and notebooks."""

from collections.abc import Sequence
from typing import ClassVar

from pandas import DataFrame

from eval_suite.core.errors import InputError
from eval_suite.core.records import Record
from eval_suite.report.collate import Collation, collate_records
from eval_suite.report.compare import TaskComparison
from eval_suite.report.render import environment, part_of
from eval_suite.report.views import task_matrices


class Comparison(DataFrame):
    """What `compare` returns: rows of pandas, which a notebook shows as the page's tables. A selection of it is plain pandas."""

    _metadata: ClassVar[list[str]] = ["collation"]
    collation: Collation

    def _repr_html_(self) -> str:
        suite = self.collation.suite
        parts = [part_of(self.collation, task) for task in suite.tasks]
        return (
            environment()
            .get_template("comparison.html.j2")
            .render(
                suite=suite,
                baseline=self.collation.baseline,
                tasks=[(section.title, *task_matrices(section, each)) for section, each in parts],
            )
        )


def compare(records: Sequence[Record], *, baseline: str | None = None) -> Comparison:
    """Put records side by side, with paired differences to a baseline.

    Args:
        records: of `evaluate` or `read_record`; several seeds of a backbone are averaged.
        baseline: name of the backbone that the others are compared with; by default 'baseline', else the first.

    Returns:
        A row for each task, metric over all items and backbone: ``value`` (the mean over seeds) with ``low`` and ``high``,
        ``difference`` to the baseline with ``difference_low`` and ``difference_high`` (paired 95 % bootstrap interval over
        items), ``verdict`` (better, worse, tied, or untested where neither per-item outcomes nor bootstrap values exist), and ``refused``: why there
        is no difference, such as another protocol. In a notebook it shows as the tables of the report.

    Raises:
        InputError: if there are no records, the baseline is unknown, or no two of them can be compared.

    Example:
        >>> compare([record_a, record_b], baseline="a")[["key", "backbone", "difference", "verdict"]]  # doctest: +SKIP
    """
    collation = collate_records(records, baseline)
    rows = []
    for task in collation.suite.tasks:
        comparison = TaskComparison(collation, task)
        for id_, metric in comparison.metrics.items():
            column = comparison.column(id_)
            for name, cell in column.cells.items() if column else ():
                low, high = cell.interval or (None, None)
                delta = cell.delta
                bounds = delta.interval if delta and delta.interval else (None, None)
                rows.append(
                    {
                        "task": task,
                        "key": metric.key,
                        "metric": metric.name,
                        "backbone": name,
                        "value": cell.value,
                        "low": low,
                        "high": high,
                        "difference": delta.difference if delta else None,
                        "difference_low": bounds[0],
                        "difference_high": bounds[1],
                        "verdict": delta.verdict if delta else "",
                        "refused": cell.refused,
                        "n": metric.n,
                        "unit": metric.unit,
                        "higher_is_better": metric.higher_is_better,
                    }
                )
    refused = [str(row["refused"]) for row in rows if row["refused"]]
    if refused and not any(row["verdict"] for row in rows):
        raise InputError(f"the records cannot be compared with '{collation.baseline}': {refused[0]}")
    found = Comparison(rows)
    found.collation = collation
    return found
