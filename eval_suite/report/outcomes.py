"""Per-item outcomes of the cells: what paired comparisons are made from."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError
from eval_suite.core.outcomes import OutcomesFile
from eval_suite.report.collate import Collation, Entry, Key, Notice


class StoredOutcomes:
    """The outcomes of one cell, whose values are read when they are asked for: a large study's do not fit into memory.

    Attributes:
        ids: (n,) of the items; cells of the same items share one array, in whatever order they stand in their files.
        metrics: ids of the metrics that have outcomes.
    """

    def __init__(
        self,
        items: "_Items",
        metrics: Iterable[str],
        read: Callable[[Sequence[str]], dict[str, NDArray[np.float64]]],
    ) -> None:
        self.ids, self._places = items
        self.metrics = frozenset(metrics)
        self._read = read

    def values(self, metrics: Sequence[str]) -> dict[str, NDArray[np.float64]]:
        """(n,) outcomes of each of some metrics.

        Raises:
            InputError: if they cannot be read, or are not one for each item.
        """
        found = self._read(metrics)
        if any(values.shape != self.ids.shape for values in found.values()):
            raise InputError("per-item outcomes cannot be read: ids and outcomes differ in length")
        if self._places is not None:
            found = {metric: values[self._places] for metric, values in found.items()}
        return found


class _Items(NamedTuple):
    """The array of ids that cells of the same items share, and where these stand in a cell whose order is another."""

    ids: NDArray[np.str_]
    places: NDArray[np.intp] | None


class OutcomeFiles:
    """Opens each outcomes file once; an unreadable one costs its comparisons, not the report.

    Args:
        collation: the suite's cells; unreadable files are added to its notices.
    """

    def __init__(self, collation: Collation) -> None:
        self._collation = collation
        self._read: dict[Key, StoredOutcomes | None] = {}
        self._known: list[tuple[NDArray[np.str_], NDArray[np.str_]]] = []  # each as it came, and sorted
        self._listed: dict[tuple[int, int] | None, _Items] = {}

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
            return StoredOutcomes(self._shared(ids), values, lambda metrics: {m: values[m] for m in metrics})
        relative = entry.record.files.outcomes if entry.record else None
        if relative is None:
            return StoredOutcomes(self._shared(np.empty(0, str)), (), lambda _metrics: {})
        assert entry.record is not None
        try:
            stored = OutcomesFile(self._collation.file_beside(entry, relative), entry.record)
            if stored.fingerprint not in self._listed:
                self._listed[stored.fingerprint] = self._shared(stored.ids())
            return StoredOutcomes(self._listed[stored.fingerprint], stored.metrics, stored.values)
        except InputError as error:
            text = f"per-item outcomes cannot be read: {error}"
            self._collation.notices.append(Notice("warning", entry.key.where, text))
            return None

    def _shared(self, ids: NDArray[np.str_]) -> _Items:
        for known, _ in self._known:
            if np.array_equal(known, ids):
                return _Items(known, None)
        order = ids.argsort()
        for known, in_order in self._known:
            if np.array_equal(in_order, ids[order]):
                return _Items(known, order[in_order.searchsorted(known)])
        self._known.append((ids, ids[order]))
        return _Items(ids, None)
