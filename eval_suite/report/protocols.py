"""Whether records were made in the same way, so that their numbers can be compared."""

from collections.abc import Iterable, Iterator

from eval_suite.core.records import Metric, Record
from eval_suite.report.wording import listed


def mismatch(own: Record, other: Record, metric: Metric) -> str:
    """Why a metric of two records cannot be compared; empty where it can."""
    if own.task.version != other.task.version:
        return "different versions of the protocol"
    if (own.data and own.data.sha256) != (other.data and other.data.sha256):
        return "different data"
    if (own.data and own.data.n_scored) != (other.data and other.data.n_scored):
        return "different items"
    if own.sets == other.sets and own.task.options == other.task.options:
        return ""
    changed = [name for name in sets_behind(metric, [own, other]) if own.sets[name] != other.sets[name]]
    if changed:
        return f"different data ({listed(changed)})"
    options = deciding(metric, [own, other])
    differing = [name for name in options if own.task.option(name) != other.task.option(name)]
    return f"{listed(differing)} {'differs' if len(differing) == 1 else 'differ'}" if differing else ""


def deciding(metric: Metric, records: Iterable[Record]) -> list[str]:
    """The options of the protocol that matter to a metric, as any of the records says."""
    return sorted({option for record in records for option in record.task.options_behind(metric)})


def sets_behind(metric: Metric, records: Iterable[Record]) -> list[str]:
    """The sets of data that all records name and that matter to a metric: what an option of the protocol decides on, where it does."""
    every = list(records)
    names = set.intersection(*(set(record.sets) for record in every)) if every else set()
    behind = deciding(metric, every)
    return sorted(
        name for name in names if name in behind or not any(name in record.task.protocol for record in every)
    )


def scored_how(
    records: Iterable[Record], options: Iterable[str], sets: Iterable[str]
) -> frozenset[tuple[int, str, int, str]]:
    """Version of the protocol, data, number of items, and the values of options and hashes of sets, of each record."""
    return frozenset(
        (
            record.task.version,
            record.data.sha256,
            record.data.n_scored,
            repr([*(record.task.option(name) for name in options), *(record.sets[name] for name in sets)]),
        )
        for record in records
        if record.data
    )


def different_options(records: Iterable[tuple[str, Record]]) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """The options of the protocol in which records differ, each with the names of the records by value.

    Args:
        records: of one task, by name.
    """
    every = list(records)
    for option in sorted({name for _, record in every for name in record.task.protocol}):
        names: dict[str, list[str]] = {}
        for name, record in every:
            names.setdefault(str(record.task.option(option)), []).append(name)
        if len(names) > 1:
            yield option, names
