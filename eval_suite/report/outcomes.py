"""Per-item outcomes next to the records: what paired comparisons are made from."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import EvalSuiteError, InputError, first_line
from eval_suite.core.records import Record
from eval_suite.report.collate import Collation, Entry, Key, Notice

# Outcomes of measures that are no means are linearised: their mean is the value but for rounding.
_TOLERANCE = 1e-4


class _Archive(Mapping[str, NDArray[np.float64]]):
    """Arrays of a checked ``.npz`` by the ids of their metrics."""

    def __init__(self, path: Path, names: dict[str, str]) -> None:
        self._path, self._names = path, names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, metric: str) -> NDArray[np.float64]:
        with np.load(self._path, allow_pickle=False) as stored:
            return np.asarray(stored[self._names[metric]], float)


class StoredOutcomes:
    """The outcomes of one cell, whose values are read when they are asked for: a large study's do not fit into memory.

    Attributes:
        ids: (n,) of the items; cells of the same items share one array.
        metrics: ids of the metrics that have outcomes.
    """

    def __init__(self, ids: NDArray[np.str_], values: Mapping[str, NDArray[np.float64]]) -> None:
        self.ids = ids
        self.metrics = frozenset(values)
        self._values = values

    def values(self, metric: str) -> NDArray[np.float64]:
        """(n,) outcomes of a metric."""
        return self._values[metric]


class OutcomeFiles:
    """Checks each outcomes file once; an unreadable one costs its comparisons, not the report.

    Args:
        collation: the suite's cells; unreadable files are added to its notices.
    """

    def __init__(self, collation: Collation) -> None:
        self._collation = collation
        self._read: dict[Key, StoredOutcomes | None] = {}
        self._ids: list[NDArray[np.str_]] = []

    def load(self, entry: Entry) -> StoredOutcomes:
        """The outcomes of a cell, empty where its record names none.

        Raises:
            InputError: if the file is unreadable.
        """
        if entry.key not in self._read:
            self._read[entry.key] = self._load(entry)
        found = self._read[entry.key]
        if found is None:
            raise InputError("per-item outcomes cannot be read")
        return found

    def _load(self, entry: Entry) -> StoredOutcomes | None:
        if entry.record is not None and entry.record.outcomes is not None:
            ids, values = entry.record.outcomes
            return StoredOutcomes(self._shared(ids), values)
        relative = entry.record.files.outcomes if entry.record else None
        if relative is None:
            return StoredOutcomes(self._shared(np.empty(0, str)), {})
        assert entry.record is not None
        try:
            path, ids, names, values = _read(self._collation, entry, relative)
            _require_agreement(entry.record, values)
        except Exception as error:  # noqa: BLE001
            # Any bytes may lie there, and the readers of npz raise anything from KeyError to BadZipFile.
            cause = first_line(error)
            reason = cause if isinstance(error, EvalSuiteError) else f"'{relative}': {cause}"
            text = f"per-item outcomes cannot be read: {reason}"
            self._collation.notices.append(Notice("warning", entry.key.where, text))
            return None
        return StoredOutcomes(self._shared(ids), _Archive(path, names))

    def _shared(self, ids: NDArray[np.str_]) -> NDArray[np.str_]:
        known = next((each for each in self._ids if np.array_equal(each, ids)), None)
        if known is None:
            self._ids.append(ids)
        return ids if known is None else known


class _Checked(NamedTuple):
    """What an outcomes file holds: the names of its arrays by the ids of their metrics, and the arrays by the same."""

    path: Path
    ids: NDArray[np.str_]
    names: dict[str, str]
    values: dict[str, NDArray[np.float64]]


def _read(collation: Collation, entry: Entry, relative: str) -> _Checked:
    path = collation.file_beside(entry, relative)
    # Opened here, because numpy leaves a file open whose archive it cannot read.
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    ids = arrays.pop("ids").astype(str)
    assert entry.record is not None
    # Files of schema 1 name their arrays as the metrics are shown.
    shown = {metric.name: metric.id for metric in entry.record.metrics if metric.subset is None}
    names = {shown.get(name, name): name for name in arrays}
    values = {id_: arrays[name].astype(float) for id_, name in names.items()}
    if ids.ndim != 1 or any(array.shape != ids.shape for array in values.values()):
        raise ValueError("ids and outcomes differ in length")
    return _Checked(path, ids, names, values)


def refuse_contradictions(collation: Collation) -> None:
    """Take the numbers out of records that their own per-item outcomes contradict: one of the two is of something else."""
    for key, entry in collation.entries.items():
        if entry.record is None or entry.record.files.outcomes is None:
            continue
        try:
            found = _read(collation, entry, entry.record.files.outcomes)
        except Exception:  # noqa: BLE001 - a file that cannot be read costs comparisons alone
            continue
        try:
            _require_agreement(entry.record, found.values)
        except ValueError as error:
            collation.entries[key] = Entry(key, entry.path, "broken", problem=str(error))
            collation.notices.append(Notice("broken", key.where, str(error)))


def _require_agreement(record: Record, values: Mapping[str, NDArray[np.float64]]) -> None:
    """Refuse outcomes whose mean is not their metric's value: one of the two is of something else."""
    said = {m.id: m.value for m in record.metrics if m.subset is None and m.value is not None}
    for name, array in values.items():
        mean = float(array.mean()) if array.size else math.nan
        if name in said and math.isfinite(mean) and not math.isclose(mean, said[name], abs_tol=_TOLERANCE):
            raise ValueError(f"the mean of {name} is {mean:.4g}, and the record says {said[name]:.4g}")
