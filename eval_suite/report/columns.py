"""A metric of a task over all backbones: what each reached, and how it differs from the baseline."""

from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Literal, NamedTuple

from eval_suite.core.records import Metric, Params
from eval_suite.core.statistics import Interval
from eval_suite.report.printed import PublishedNumber

Verdict = Literal["better", "worse", "tied", "untested"]


class Pick(NamedTuple):
    """Which metrics of the records to take, whatever their other params are.

    Attributes:
        key: of the metric.
        params: params that it has.
        prefer: of several, those of this value come first.
        unless: what the pick gives way to: it stands for nothing where the records have such a metric.
    """

    key: str
    params: Params = MappingProxyType({})
    prefer: Params = MappingProxyType({})
    unless: "Pick | None" = None


class Delta(NamedTuple):
    """A backbone minus another on one metric; ``interval`` is None where neither per-item outcomes nor bootstrap values were kept."""

    difference: float
    interval: Interval | None
    verdict: Verdict
    n: int
    seeds: int


@dataclass(frozen=True)
class Measurement:
    """What one backbone reached on one metric, over its seeds.

    ``spread`` is the standard deviation over seeds (n - 1), None with fewer than two. ``refused`` says why there
    is no ``delta``; ``remarks`` lists cells without a number. Only ``ranked`` cells, scored on the same items in the same
    way, can be ``best``.
    """

    backbone: str
    by_seed: dict[int, Metric]
    value: float | None
    spread: float | None
    interval: tuple[float, float] | None
    delta: Delta | None = None
    refused: str = ""
    ranked: bool = False
    best: bool = False
    partial: str = ""
    remarks: tuple[str, ...] = ()
    published: PublishedNumber | None = None


@dataclass(frozen=True)
class Column:
    """One metric of one task over all backbones; ``sample`` is that metric in the first record that has it."""

    task: str
    sample: Metric
    cells: dict[str, Measurement]

    @property
    def id(self) -> str:
        """Key and params of the metric."""
        return self.sample.id

    @property
    def metric(self) -> str:
        """The metric's display name."""
        return self.sample.name

    @property
    def unit(self) -> str:
        """Unit of the values."""
        return self.sample.unit

    @property
    def higher_is_better(self) -> bool:
        """Whether larger values are better."""
        return self.sample.higher_is_better

    def rests_on_some_seeds(self, delta: Delta) -> bool:
        """Whether a difference leaves seeds out, because one of the two backbones lacks them."""
        return delta.seeds < self._most_seeds

    @cached_property
    def _most_seeds(self) -> int:
        return max(len(cell.by_seed) for cell in self.cells.values())
