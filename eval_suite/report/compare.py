"""Put backbones side by side: values over seeds, paired differences to the baseline, the best of a column."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError
from eval_suite.core.records import Metric, Record
from eval_suite.core.statistics import PairedDifference, mean_differences, resampled_difference
from eval_suite.report.collate import Collation, Entry, Key
from eval_suite.report.columns import Column, Delta, Measurement, Pick, Verdict
from eval_suite.report.outcomes import OutcomeFiles, StoredOutcomes
from eval_suite.report.printed import published_number
from eval_suite.report.protocols import deciding, mismatch, scored_how, sets_behind

Records = Mapping[str, Mapping[int, Record]]
# Metrics that only several records together tell: from all records by backbone and seed, and the baseline's name, to
# what each (backbone, seed) has besides its own.
Derive = Callable[[Records, str], Mapping[tuple[str, int], list[Metric]]]


class _Pair(NamedTuple):
    """What two backbones differ by on each item (n,), averaged over so many seeds."""

    differences: NDArray[np.float64]
    seeds: int


_Averaged = Callable[..., dict[str, NDArray[np.float64]]]
_OUTCOMES_AT_ONCE = 20_000_000


class TaskComparison:
    """All comparisons within one task.

    Args:
        collation: the suite's cells.
        task: name of the task.
        derive: makes metrics that compare a record with the baseline's; they are then treated as its own.
    """

    def __init__(self, collation: Collation, task: str, derive: Derive | None = None) -> None:
        self.collation = collation
        self.task = task
        self._derive = derive
        self._files = OutcomeFiles(collation)
        self._subset_columns: dict[tuple[str, str], Column | None] = {}
        self._scored_how: dict[tuple[tuple[str, ...], tuple[str, ...]], Mapping[str, Hashable]] = {}

    @cached_property
    def records(self) -> dict[str, dict[int, Record]]:
        """Records with numbers, by backbone and seed."""
        names = self.collation.suite.backbones
        found = {b: {e.key.seed: r for e, r in self.collation.scored(self.task, b)} for b in names}
        if self._derive is None:
            return found
        more = self._derive(found, self.collation.baseline)
        return {
            b: {
                seed: record.model_copy(update={"metrics": [*record.metrics, *more.get((b, seed), [])]})
                for seed, record in seeds.items()
            }
            for b, seeds in found.items()
        }

    @cached_property
    def metrics(self) -> dict[str, Metric]:
        """Every metric over the whole data by its id, as the first record that has it holds it, in the records' order."""
        found: dict[str, Metric] = {}
        for own in self._metrics.values():
            for (id_, subset), metric in own.items():
                if subset is None:
                    found.setdefault(id_, metric)
        return found

    @cached_property
    def subsets(self) -> dict[str, list[str]]:
        """Subsets by the metric's id, in the order of the records."""
        found: dict[str, dict[str, None]] = {}
        for own in self._metrics.values():
            for id_, subset in own:
                if subset is not None:
                    found.setdefault(id_, {})[subset] = None
        return {name: list(subsets) for name, subsets in found.items()}

    def picked(self, pick: Pick) -> list[str]:
        """Ids of the metrics that a pick stands for, preferred ones first, else in the order of the records."""
        if pick.unless is not None and self.picked(pick.unless):
            return []
        found = [metric for metric in self.metrics.values() if metric.matches(pick.key, pick.params)]
        return [m.id for m in sorted(found, key=lambda metric: not metric.matches(pick.key, pick.prefer))]

    def first(self, pick: Pick) -> Column | None:
        """The first metric that a pick stands for; None where no record has one."""
        return next((column for id_ in self.picked(pick) if (column := self.column(id_))), None)

    def column(self, metric: str) -> Column | None:
        """The metric of an id, with deltas to the baseline; None where no record has it."""
        return self._columns.get(metric)

    def subset_column(self, metric: str, subset: str) -> Column | None:
        """One metric on one subset, without deltas: outcomes are kept over all items only."""
        if (metric, subset) not in self._subset_columns:
            self._subset_columns[metric, subset] = self._measure(metric, subset)
        return self._subset_columns[metric, subset]

    def delta(self, metric: str, backbone: str, reference: str) -> Delta | str:
        """Paired difference of two backbones over the seeds both have, or why there is none.

        With several seeds, per-item outcomes are averaged over seeds before items are resampled: the interval tells
        of the sampling of items for these trainings, not of further trainings.
        """
        column = self.column(metric)
        return "" if column is None else self._deltas([column], [(backbone, reference)])[0][0]

    @cached_property
    def _columns(self) -> dict[str, Column]:
        """All of them at once, since each file of outcomes holds those of every metric."""
        columns = [column for id_ in self.metrics if (column := self._measure(id_, subset=None))]
        baseline = self.collation.baseline
        others = [name for name in self.collation.suite.backbones if name != baseline]
        deltas = self._deltas(columns, [(name, baseline) for name in others])
        return {
            column.id: _with_deltas(column, dict(zip(others, found, strict=True)))
            for column, found in zip(columns, deltas, strict=True)
        }

    def _deltas(self, columns: Sequence[Column], pairs: Sequence[tuple[str, str]]) -> list[list[Delta | str]]:
        """Of each metric what `delta` says of pairs of backbones, whose items are resampled once for all of them."""
        deltas: list[list[Delta | str]] = []
        # As many metrics at a time as fit into memory.
        while some := columns[len(deltas) : len(deltas) + self._at_once(columns, len(pairs))]:
            averaged = lru_cache(maxsize=2)(self._averaged)  # every backbone is compared with the same one
            by_pair = [self._compared(some, *pair, averaged) for pair in pairs]
            by_column = [[found[place] for found in by_pair] for place in range(len(some))]
            tests = mean_differences(
                [[each.differences for each in found if isinstance(each, _Pair)] for found in by_column]
            )
            for column, found, tested in zip(some, by_column, map(iter, tests), strict=True):
                better = column.higher_is_better
                deltas.append(
                    [
                        _judged(next(tested), each.seeds, better) if isinstance(each, _Pair) else each
                        for each in found
                    ]
                )
        return deltas

    def _at_once(self, columns: Sequence[Column], pairs: int) -> int:
        items = max((column.sample.n for column in columns), default=0)
        return max(1, _OUTCOMES_AT_ONCE // max(1, items * pairs))

    def _compared(
        self, columns: Sequence[Column], backbone: str, reference: str, averaged: "_Averaged"
    ) -> list["_Pair | Delta | str"]:
        """Of each metric what two backbones differ by, or why they cannot be compared."""
        own, other = self.records[backbone], self.records[reference]
        seeds = tuple(seed for seed in sorted(own) if seed in other)
        if not own:
            return [""] * len(columns)
        if not seeds:
            return [f"not comparable: no seed in common with {reference}"] * len(columns)
        found: dict[str, _Pair | Delta | str] = {
            column.id: self._untested(column, backbone, reference, seeds) for column in columns
        }
        untested = {id_: each for id_, each in found.items() if isinstance(each, Delta)}
        if not untested:
            return list(found.values())
        refused, stored, drawn = "", tuple(untested), tuple(untested)
        try:
            sides = [self._outcomes(name, seed) for name in (backbone, reference) for seed in seeds]
            stored = tuple(id_ for id_ in untested if all(id_ in side.metrics for side in sides))
            resampled = tuple(id_ for id_ in untested if all(id_ in side.resampled for side in sides))
            drawn = tuple(id_ for id_ in resampled if id_ not in stored)
            if len({id(side.ids) for side in sides}) > 1:
                refused = "not comparable: different items"
            else:
                here, there = self._averaged(backbone, seeds, stored), averaged(reference, seeds, stored)
                more = self._averaged(backbone, seeds, drawn, True), averaged(reference, seeds, drawn, True)
        except InputError as error:
            refused = f"not comparable: {error}"
        for id_ in stored:
            found[id_] = refused or _paired(here[id_], there[id_], len(seeds))
        better = {column.id: column.higher_is_better for column in columns}
        for id_ in drawn:
            found[id_] = refused or _resampled(
                untested[id_], more[0][id_], more[1][id_], len(sides[0].ids), better[id_]
            )
        return list(found.values())

    def _untested(self, column: Column, backbone: str, reference: str, seeds: Sequence[int]) -> Delta | str:
        """The difference of two values as it is without outcomes, or why there is none."""
        here = self._numbers(column.id, backbone, seeds)
        there = self._numbers(column.id, reference, seeds)
        if here is None or there is None:
            return f"not comparable: a value is missing here or at {reference}"
        for seed in seeds:
            own, other = self.records[backbone][seed], self.records[reference][seed]
            if reason := mismatch(own, other, column.sample):
                return f"not comparable: {reason}"
        return Delta(float(np.mean(here) - np.mean(there)), None, "untested", 0, len(seeds))

    def _averaged(
        self, backbone: str, seeds: tuple[int, ...], metrics: tuple[str, ...], resampled: bool = False
    ) -> dict[str, NDArray[np.float64]]:
        """Outcomes (n,) of each metric, or bootstrap values (resamples,), averaged over seeds."""
        sums: dict[str, NDArray[np.float64]] = {}
        for seed in seeds:
            stored = self._outcomes(backbone, seed)
            for metric, found in (stored.resamples if resampled else stored.values)(metrics).items():
                values = found.astype(float, copy=False)
                sums[metric] = sums[metric] + values if metric in sums else values
        return {metric: each / len(seeds) for metric, each in sums.items()}

    def _outcomes(self, backbone: str, seed: int) -> StoredOutcomes:
        return self._files.load(self.collation.entries[Key(backbone, seed, self.task)])

    @cached_property
    def _cells(self) -> dict[str, list[Entry]]:
        return {b: self.collation.cells(self.task, b) for b in self.collation.suite.backbones}

    @cached_property
    def _metrics(self) -> dict[tuple[str, int], dict[tuple[str, str | None], Metric]]:
        return {
            (backbone, seed): {(m.id, m.subset): m for m in record.metrics}
            for backbone, seeds in self.records.items()
            for seed, record in seeds.items()
        }

    def _all_records(self) -> Iterable[Record]:
        return (record for seeds in self.records.values() for record in seeds.values())

    def _measure(self, metric: str, subset: str | None) -> Column | None:
        known = next((m for own in self._metrics.values() if (m := own.get((metric, subset)))), None)
        if known is None:
            return None
        cells, measured = {}, {}
        for backbone in self.collation.suite.backbones:
            by_seed = {
                e.key.seed: self._metrics.get((backbone, e.key.seed), {}) for e in self._cells[backbone]
            }
            measured[backbone] = {s: m for s, own in by_seed.items() if (m := own.get((metric, subset)))}
        over_seeds = _over_seeds(
            {
                name: [m.value for m in found.values() if m.value is not None]
                for name, found in measured.items()
            }
        )
        for backbone, found in measured.items():
            entries = self._cells[backbone]
            only = next(iter(found.values())) if len(found) == 1 else None
            value, spread = over_seeds.get(backbone, (None, None))
            cells[backbone] = Measurement(
                backbone,
                by_seed=found,
                value=value,
                spread=spread,
                interval=only.interval if only else None,
                partial=_partial(entries),
                remarks=tuple(_remarks(entries, found)),
                published=published_number(
                    self.collation.suite, backbone, self.task, known.key, known.params, subset
                ),
            )
        rivals = self._rivals(known, cells)
        top = (max if known.higher_is_better else min)(rivals.values(), default=None)
        for name, value in rivals.items():
            cells[name] = replace(cells[name], ranked=True, best=len(rivals) > 1 and value == top)
        return Column(self.task, known, cells)

    def _rivals(self, metric: Metric, cells: dict[str, Measurement]) -> dict[str, float]:
        """Values of the backbones scored on the baseline's data as it was, or where it has none as most were."""
        options, sets = deciding(metric, self._protocols), sets_behind(metric, self._protocols)
        ways = self._ways(tuple(options), tuple(sets))
        how = {b: ways[b] for b, c in cells.items() if c.value is not None}
        if not how:
            return {}
        ((common, _),) = Counter(how.values()).most_common(1)
        wanted = how.get(self.collation.baseline, common)
        return {b: v for b, c in cells.items() if how.get(b) == wanted and (v := c.value) is not None}

    @cached_property
    def _protocols(self) -> list[Record]:
        """Records that stand for all: of those whose protocols and sets have the same names, the first."""
        found: dict[tuple[str, frozenset[str]], Record] = {}
        for record in self._all_records():
            found.setdefault((repr(record.task.protocol), frozenset(record.sets)), record)
        return list(found.values())

    def _ways(self, options: tuple[str, ...], sets: tuple[str, ...]) -> Mapping[str, Hashable]:
        """How each backbone was scored, as far as these options and sets tell, for which many metrics ask."""
        if (options, sets) not in self._scored_how:
            self._scored_how[options, sets] = {
                name: scored_how(own.values(), options, sets) for name, own in self.records.items()
            }
        return self._scored_how[options, sets]

    def _numbers(self, metric: str, backbone: str, seeds: Sequence[int]) -> list[float] | None:
        found = (self._metrics[backbone, seed].get((metric, None)) for seed in seeds)
        values = [m.value if m else None for m in found]
        return None if any(v is None for v in values) else [v for v in values if v is not None]


def _over_seeds(values: Mapping[str, list[float]]) -> dict[str, tuple[float, float | None]]:
    """Mean and standard deviation of each backbone that has values: those of equally many at once, which is far faster."""
    found: dict[str, tuple[float, float | None]] = {}
    for count in {len(own) for own in values.values()} - {0}:
        names = [name for name, own in values.items() if len(own) == count]
        block = np.array([values[name] for name in names])
        spreads = block.std(axis=1, ddof=1).tolist() if count > 1 else [None] * len(names)
        found.update(zip(names, zip(block.mean(axis=1).tolist(), spreads, strict=True), strict=True))
    return found


def _paired(here: NDArray[np.float64], there: NDArray[np.float64], seeds: int) -> "_Pair | str":
    differences = here - there
    if differences.size == 0 or not np.isfinite(differences).all():
        return "not comparable: some items have no outcome"
    return _Pair(differences, seeds)


def _resampled(
    untested: Delta,
    here: NDArray[np.float64],
    there: NDArray[np.float64],
    items: int,
    higher_is_better: bool,
) -> Delta:
    """The difference with the interval of its (resamples,) bootstrap values; as it is where they are not alike."""
    if here.shape != there.shape or not np.isfinite(here - there).all():
        return untested
    found = resampled_difference(untested.difference, here, there, items)
    return _judged(found, untested.seeds, higher_is_better)


def _with_deltas(column: Column, deltas: Mapping[str, Delta | str]) -> Column:
    cells = dict(column.cells)
    for name, found in deltas.items():
        if cells[name].value is not None:
            delta, refused = (None, found) if isinstance(found, str) else (found, "")
            cells[name] = replace(cells[name], delta=delta, refused=refused)
    return replace(column, cells=cells)


def _judged(found: PairedDifference, seeds: int, higher_is_better: bool) -> Delta:
    better = (found.difference > 0) == higher_is_better
    verdict: Verdict = "tied" if found.tied else "better" if better else "worse"
    return Delta(found.difference, found.interval, verdict, found.n, seeds)


def _partial(entries: list[Entry]) -> str:
    found = [e.record.data for e in entries if e.record and e.state == "partial"]
    counts = sorted({f"{data.n_scored} of {data.n_available}" for data in found if data})
    return f"partial: {', '.join(counts) or 'not all'} items" if found else ""


def _remarks(entries: list[Entry], found: dict[int, Metric]) -> Iterable[str]:
    several = len(entries) > 1
    for entry in entries:
        seed = f"seed {entry.key.seed}: " if several else ""
        metric = found.get(entry.key.seed)
        if entry.state in ("failed", "broken", "missing"):
            yield f"{seed}{entry.state}"
        elif metric is None:
            yield f"{seed}not measured"
        elif metric.value is None:
            yield f"{seed}no value ({metric.reason})"
        elif metric.reason:
            yield f"{seed}no interval ({metric.reason})"
