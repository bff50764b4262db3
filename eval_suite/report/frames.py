"""Comparisons as tables of pandas, for scripts and notebooks."""

from collections.abc import Iterable, Mapping
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


def compare(records: Iterable[Record], *, baseline: str | None = None) -> Comparison:
    """Put records side by side, with paired differences to a baseline.

    Args:
        records: of `evaluate` or `read_record`; several seeds of a backbone are averaged.
        baseline: name of the backbone that the others are compared with; by default 'baseline', else the first.

    Returns:
        A row for each task, metric over all items and backbone: ``value``, the mean over ``seeds`` seeds with their standard
        deviation ``spread`` (None with one), ``low`` and ``high``, ``difference`` to the baseline, over the seeds that both have, with
        ``difference_low`` and ``difference_high`` (paired 95 % bootstrap interval over items), ``verdict`` (better, worse, tied, or
        untested where neither per-item outcomes nor bootstrap values exist), ``refused``: why there is no difference, such as
        another protocol, and ``n``, the items behind the value (of several seeds, the fewest). In a notebook it shows as the
        tables of the report.

    Raises:
        InputError: if there is anything but records, or none, the baseline is unknown, or no two of them can be compared.

    Example:
        >>> compare([record_a, record_b], baseline="a")[["key", "backbone", "difference", "verdict"]]  # doctest: +SKIP
    """
    collation = collate_records(_listed(records), baseline)
    rows = []
    for task in collation.suite.tasks:
        comparison = TaskComparison(collation, task)
        for id_, metric in comparison.metrics.items():
            column = comparison.column(id_)
            for name, cell in column.cells.items() if column else ():
                low, high = cell.interval or (None, None)
                delta = cell.delta
                bounds = delta.interval if delta and delta.interval else (None, None)
                of_seeds = cell.by_seed.values()
                rows.append(
                    {
                        "task": task,
                        "key": metric.key,
                        "metric": metric.name,
                        "backbone": name,
                        "value": cell.value,
                        "seeds": sum(each.value is not None for each in of_seeds),
                        "spread": cell.spread,
                        "low": low,
                        "high": high,
                        "difference": delta.difference if delta else None,
                        "difference_low": bounds[0],
                        "difference_high": bounds[1],
                        "verdict": delta.verdict if delta else "",
                        "refused": cell.refused,
                        "n": min((each.n for each in of_seeds), default=0),
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


def _listed(records: object) -> list[Record]:
    if isinstance(records, Record | Mapping) or not isinstance(records, Iterable):
        listed, wrong = [], [records]
    else:
        listed = list(records)
        wrong = [each for each in listed if not isinstance(each, Record)]
    if wrong:
        raise InputError(
            expected="a list of records to compare",
            found=type(wrong[0]).__name__,
            remedy="write compare([record_a, record_b]); the rows take the names that evaluate(..., name=...) sets",
        )
    return listed
