"""Per-item outcomes of the cells: what paired comparisons are made from."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError
from eval_suite.core.outcomes import OutcomesFile
from eval_suite.core.records import Outcomes
from eval_suite.report.collate import Collation, Entry, Key, Notice


class StoredOutcomes:
    """The outcomes of one cell, whose values are read when they are asked for: a large study's do not fit into memory.

    Attributes:
        ids: (n,) of the items; cells of the same items share one array, in whatever order they stand in their files.
        metrics: ids of the metrics that have outcomes.
        resampled: ids of the metrics that have bootstrap values, of items that have names and stand in this order.
    """

    def __init__(self, items: "_Items", stored: "OutcomesFile | _InMemory") -> None:
        self.ids, self._places = items
        self.metrics = stored.metrics
        self.resampled = stored.resampled if self._places is None and len(self.ids) else frozenset()
        self._stored = stored

    def values(self, metrics: Sequence[str]) -> dict[str, NDArray[np.float64]]:
        """(n,) outcomes of each of some metrics.

        Raises:
            InputError: if they cannot be read, or are not one for each item.
        """
        found = self._stored.values(metrics)
        if any(values.shape != self.ids.shape for values in found.values()):
            raise InputError("per-item outcomes cannot be read: ids and outcomes differ in length")
        if self._places is not None:
            found = {metric: values[self._places] for metric, values in found.items()}
        return found

    def resamples(self, metrics: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """(resamples,) bootstrap values of each of some metrics.

        Raises:
            InputError: if they cannot be read.
        """
        return self._stored.resamples(metrics)


class _InMemory:
    """What an `OutcomesFile` gives, of an evaluation in this process."""

    def __init__(self, outcomes: Outcomes) -> None:
        self._outcomes = outcomes
        self.metrics, self.resampled = frozenset(outcomes.values), frozenset(outcomes.resampled)

    def values(self, metrics: Sequence[str]) -> dict[str, NDArray[np.float64]]:
        return {metric: self._outcomes.values[metric] for metric in metrics}

    def resamples(self, metrics: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        return {metric: self._outcomes.resampled[metric] for metric in metrics}


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
        self._read: dict[Key, StoredOutcomes | InputError] = {}
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
        if isinstance(found, InputError):
            raise found
        return found

    def _load(self, entry: Entry) -> StoredOutcomes | InputError:
        if entry.record is not None and entry.record.outcomes is not None:
            outcomes = entry.record.outcomes
            return StoredOutcomes(self._shared(outcomes.ids), _InMemory(outcomes))
        relative = entry.record.files.outcomes if entry.record else None
        if relative is None:
            nothing = Outcomes(np.empty(0, str), {})
            return StoredOutcomes(self._shared(nothing.ids), _InMemory(nothing))
        assert entry.record is not None
        try:
            stored = OutcomesFile(self._collation.file_beside(entry, relative), entry.record)
            if stored.fingerprint not in self._listed:
                self._listed[stored.fingerprint] = self._shared(stored.ids())
            return StoredOutcomes(self._listed[stored.fingerprint], stored)
        except InputError as error:
            text = f"per-item outcomes cannot be read: {error}"
            self._collation.notices.append(Notice("warning", entry.key.where, text))
            return InputError(text)

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
