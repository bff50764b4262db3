"""The record a task leaves: one strict JSON file per backbone, seed and task (schema 2)."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, PrivateAttr, model_validator

from eval_suite.core.cards import BackboneCard
from eval_suite.core.errors import InputError, unknown_name
from eval_suite.core.strict import Strict

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Paper:
    """Where a method or protocol comes from; shown in help and report."""

    title: str
    venue: str
    year: int
    url: str
    code: str = ""


Param = bool | int | float | str
Params = Mapping[str, Param]


def metric_id(key: str, params: Params) -> str:
    """The identity of a metric as one word: its key and, in braces, its params by name.

    Example:
        >>> metric_id("map", {"detector": "ssd", "plus_one": False})
        'map{detector=ssd,plus_one=false}'
    """
    shown = ",".join(f"{name}={_param_text(params[name])}" for name in sorted(params))
    return f"{key}{{{shown}}}" if shown else key


def _param_text(value: Param) -> str:
    return (
        str(value).lower()
        if isinstance(value, bool)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def same_param(a: Param | None, b: Param | None) -> bool:
    """Whether two values of a param are the same; a name may be spelled with ``-`` or ``_``."""
    if isinstance(a, str) and isinstance(b, str):
        return a.replace("-", "_") == b.replace("-", "_")
    return a == b and isinstance(a, bool) == isinstance(b, bool)


_SHARE, _ANY = (0.0, 1.0), (-math.inf, math.inf)
_NO_LESS_THAN_0 = (0.0, math.inf)
# What values lie between, by key, where they are no shares although they are shown in percent, or bounded although they
# have another unit. Every other fraction is a share; what has another unit may be any number.
_RANGES = {
    "cider_d": (0.0, 10.0),
    "effective_robustness": (-1.0, 1.0),
    **dict.fromkeys(("mce", "mce_to_baseline"), _NO_LESS_THAN_0),
    **dict.fromkeys(("nll", "nll_scaled", "conformal_set_size", "empty_maps"), _NO_LESS_THAN_0),
    **dict.fromkeys(("brier", "brier_scaled"), (0.0, 2.0)),
}
_ROUNDING = 1e-9
# By protocol, and by a metric's key and params; see `TaskInfo.options_behind`.
_OPTIONS_BEHIND: dict[str, dict[tuple[str, str], list[str]]] = {}


class Metric(Strict):
    """One number, with all that is needed to read it.

    ``key`` and ``params`` say what was measured, ``subset`` on which items when they are not all scored ones (a class, a
    corruption, an OOD set); together they identify the metric in a record. ``name`` is what people read, derived from key
    and params by the metric's `MetricKind`. Rates are fractions, from 0 to 1. ``value`` is null only with a ``reason``; where there is a
    value, ``reason`` says why an interval is missing. ``interval`` bounds the value at 95 %, ``method`` says how they
    were found.
    """

    key: str
    params: dict[str, Param] = Field(default_factory=dict)
    name: str
    value: float | None
    unit: str = "fraction"
    higher_is_better: bool
    n: int
    interval: tuple[float, float] | None = None
    method: str | None = None
    subset: str | None = None
    reason: str | None = None
    controls: dict[str, float] = Field(default_factory=dict)
    """What trivial methods reach on the same items, by name: a value that is no better says nothing of the backbone."""

    @model_validator(mode="after")
    def _consistent(self) -> "Metric":
        numbers = [self.value, *(self.interval or ())]
        if any(number is not None and not math.isfinite(number) for number in numbers):
            raise ValueError(f"metric '{self.name}' is not finite; give null and a reason")
        if self.n < 0:
            raise ValueError(f"metric '{self.name}' is of {self.n} items")
        if self.interval is not None and self.interval[0] > self.interval[1]:
            raise ValueError(f"metric '{self.name}' has an interval that ends before it begins")
        if self.interval is not None and self.value is not None:
            low, high = self.interval
            # Percentiles of a bootstrap may leave out the value of what is no mean, but hardly by as much as their width.
            slack = high - low + _ROUNDING
            if not low - slack <= self.value <= high + slack:
                raise ValueError(
                    f"metric '{self.name}' is {self.value:g}, far from its interval {low:g} to {high:g}"
                )
        low, high = _RANGES.get(self.key, _SHARE if self.unit == "fraction" else _ANY)
        for number in (*numbers, *self.controls.values()):
            if number is not None and not low - _ROUNDING <= number <= high + _ROUNDING:
                raise ValueError(f"metric '{self.name}' is {number:g}, outside {low:g} to {high:g}")
        if self.value is None and not self.reason:
            raise ValueError(f"metric '{self.name}' is null without a reason")
        return self

    @property
    def id(self) -> str:
        """Key and params as one word; see `metric_id`."""
        return metric_id(self.key, self.params)

    def matches(self, key: str | None, params: Params) -> bool:
        """Whether this is the metric of that key (None for any), with these params among its own."""
        known = key is None or key == self.key
        return known and all(same_param(self.params.get(name), value) for name, value in params.items())


class Curve(Strict):
    """A line to draw; ``y`` may hold nulls where nothing was measured."""

    name: str
    x: list[float]
    y: list[float | None]
    x_label: str
    y_label: str

    @model_validator(mode="after")
    def _equally_long(self) -> "Curve":
        if len(self.x) != len(self.y):
            raise ValueError(f"curve '{self.name}' has {len(self.x)} x and {len(self.y)} y values")
        return self


class Example(Strict):
    """A picture next to the record; ``image`` is a path relative to the record's folder.

    With an ``item``, its id, and a ``score`` (higher is better) it is among those that this backbone does best and worst
    on, of all: the report shows those of the baseline, and below each what every backbone's ``texts`` say of the item.
    ``references`` is what people say of it.
    """

    image: str
    alt: str
    caption: str
    score: float | None = None
    item: str | None = None
    references: list[str] = Field(default_factory=list)


class TaskInfo(Strict):
    """Which task, at which version of its protocol, with its options as resolved.

    ``protocol`` names the options that decide how is measured rather than what, a dotted name for one within another,
    each with the metrics that depend on it: their params, and ``key`` for their key. An empty list stands for every metric.
    """

    name: str
    version: int
    part: str | None = None
    """Where a task that is none of ours was found: ``path/to/file.py:NAME``."""
    part_sha256: str | None = None
    """Of that file as it was."""
    options: dict[str, Any]
    protocol: dict[str, list[dict[str, Param]]] = Field(default_factory=dict)
    paper: Paper

    def option(self, name: str) -> Any:
        """The value of an option by its dotted name; None where there is none."""
        value: Any = self.options
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def options_behind(self, metric: Metric) -> list[str]:
        """The options of the protocol that a metric depends on."""
        which = (metric.key, repr(metric.params))
        if which not in self._behind:
            self._behind[which] = [
                option
                for option, patterns in self.protocol.items()
                if not patterns or any(_fits(p, metric) for p in patterns)
            ]
        return self._behind[which]

    @cached_property
    def _behind(self) -> dict[tuple[str, str], list[str]]:
        # One for all of the same protocol: a study asks for the same metrics of hundreds of records.
        return _OPTIONS_BEHIND.setdefault(repr(self.protocol), {})


def _fits(pattern: Params, metric: Metric) -> bool:
    params = {name: value for name, value in pattern.items() if name != "key"}
    key = pattern.get("key")
    return metric.matches(None if key is None else str(key), params)


class DataInfo(Strict):
    """Which items were scored, or of a fit: learnt from (``n_scored``). ``failed`` names the unreadable ones (the first hundred).

    ``notes`` tells what was assumed, corrected or left out when the files were read.
    """

    name: str
    split: str
    n_available: int
    n_requested: int
    n_scored: int
    n_failed: int
    failed: list[str] = Field(default_factory=list)
    sha256: str
    notes: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _counted(self) -> "DataInfo":
        counts = (self.n_scored, self.n_failed, self.n_requested, self.n_available)
        if min(counts) < 0 or max(self.n_scored, self.n_requested) > self.n_available:
            raise ValueError(
                f"{self.n_scored} items scored and {self.n_failed} failed of {self.n_requested} requested and "
                f"{self.n_available} available"
            )
        return self


class ErrorInfo(Strict):
    """Why a cell has no numbers."""

    type: str
    message: str


class GitState(Strict):
    """The source the run was made from."""

    commit: str | None
    dirty: bool | None


class Cost(Strict):
    """How fast a backbone's forward pass ran, with batches and one image at a time, and what it took of the GPU's memory."""

    images_per_second: float
    latency_ms: float
    peak_memory: int | None
    """Bytes, weights included; None on a CPU."""
    batch_size: int
    device: str
    threads: int
    precision: str


class RunInfo(Strict):
    """How the record came to be."""

    started: str
    seconds: dict[str, float]
    device: str
    precision: str
    seed: int
    command: str
    git: GitState
    versions: dict[str, str]
    cost: Cost | None = None
    """Of the backbone on this machine, where it was asked for."""
    reader: str | None = None
    """What decoded JPEG files: torchvision or pillow, whose pixels are equal."""
    batch_size: int | None = None
    """Images per forward pass."""
    compared: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """By metric, its value in the arithmetic asked for (bf16, compiled) and in plain fp32, on a few of the images."""


class Files(Strict):
    """Paths relative to the record's folder: raw predictions, per-item outcomes for paired tests, per-item texts."""

    predictions: str | None = None
    outcomes: str | None = None
    texts: str | None = None


class Outcomes(NamedTuple):
    """Per-item outcomes: (n,) ids, by `Metric.id` (n,) values whose mean is the metric, and for others bootstrap values."""

    ids: NDArray[np.str_]
    values: Mapping[str, NDArray[np.float64]]
    resampled: Mapping[str, NDArray[np.float32]] = MappingProxyType({})


class Record(Strict):  # noqa: PLW1641 - records are compared, never keys
    """The record of one task on one backbone and seed; ``fitted_to`` is what the task's own fit, if it has one, learnt from."""

    schema_version: Literal[2] = Field(default=2, alias="schema")
    status: Literal["complete", "partial", "failed"]
    task: TaskInfo
    backbone: BackboneCard
    data: DataInfo | None
    fitted_to: DataInfo | None = None
    sets: dict[str, str] = Field(default_factory=dict)
    """Hash of each whole set of data that was read, by the option that decides on it; none where only predictions were scored."""
    metrics: list[Metric] = Field(default_factory=list)
    curves: list[Curve] = Field(default_factory=list)
    examples: list[Example] = Field(default_factory=list)
    warnings: list[str] = Field(default_factory=list)
    """What speaks against trusting the numbers."""
    files: Files = Field(default_factory=Files)
    run: RunInfo
    error: ErrorInfo | None = None

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    _outcomes: Outcomes | None = PrivateAttr(default=None)
    _path: Path | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _consistent(self) -> "Record":
        if (self.status == "failed") != (self.error is not None):
            raise ValueError("a record holds an error exactly when its status is 'failed'")
        if self.status == "complete" and self.data and self.data.n_scored < self.data.n_available:
            raise ValueError(
                f"a complete record has {self.data.n_scored} of {self.data.n_available} items scored"
            )
        twice = [at for at, count in Counter((m.id, m.subset) for m in self.metrics).items() if count > 1]
        if twice:
            raise ValueError(f"metric {twice[0][0]} occurs twice")
        return self

    def metric(self, key: str, *, subset: str | None = None, **params: Param) -> Metric | None:
        """The first metric of that key, subset and params, or None.

        Example: ``record.metric("auroc", score="energy", subset="svhn")``
        """
        return next((m for m in self.metrics if m.subset == subset and m.matches(key, params)), None)

    def __eq__(self, other: object) -> bool:
        """Whether two records say the same; outcomes in memory are no part of it."""
        return isinstance(other, Record) and self.model_dump() == other.model_dump()

    def __getitem__(self, key: str) -> Metric:
        """The first metric of that key, over all items.

        Raises:
            InputError: if there is none; the message gives the nearest, or how to ask for one of subsets.
        """
        found = self.metric(key)
        of_subset = next((metric for metric in self.metrics if metric.key == key), None)
        if found is None and of_subset is not None:
            raise InputError(
                expected=f"a metric '{key}' over all items",
                found=f"it of subsets only, such as '{of_subset.subset}'",
                remedy=f"ask record.metric('{key}', subset='{of_subset.subset}'), or filter record.to_frame()",
            )
        if found is None:
            raise unknown_name(f"metric of {self.task.name}", key, {metric.key for metric in self.metrics})
        return found

    @property
    def outcomes(self) -> Outcomes | None:
        """Per-item outcomes of an evaluation in this process; None for a record read from a file, which names theirs."""
        return self._outcomes

    @property
    def path(self) -> Path | None:
        """The file that this was read from or written to, next to which lie the files it names; None for one in memory alone."""
        return self._path

    def at(self, path: Path) -> "Record":
        """This record, knowing its file, wherever the process works later."""
        self._path = path.absolute()
        return self

    def with_outcomes(self, outcomes: Outcomes) -> "Record":
        """This record, carrying its per-item outcomes."""
        self._outcomes = outcomes
        return self

    def to_frame(self) -> "DataFrame":
        """Every metric as a row of a pandas DataFrame: key, params, subset, value, low, high, unit, n and so on."""
        from pandas import DataFrame

        rows = []
        for metric in self.metrics:
            low, high = metric.interval or (None, None)
            rows.append(
                {
                    "backbone": self.backbone.name,
                    "seed": self.run.seed,
                    "task": self.task.name,
                    "key": metric.key,
                    **metric.params,
                    "subset": metric.subset,
                    "name": metric.name,
                    "value": metric.value,
                    "low": low,
                    "high": high,
                    **metric.model_dump(include={"unit", "higher_is_better", "n", "method", "reason"}),
                }
            )
        return DataFrame(rows)

    def _repr_html_(self) -> str:
        """What a notebook shows: the metrics over all items."""
        title = f"{self.task.name} of {self.backbone.name}: {self.status}"
        if self.error is not None:
            return f"<p>{escape(title)}: {escape(self.error.message)}</p>"
        rows = "".join(
            f"<tr><td>{escape(metric.name)} {'↑' if metric.higher_is_better else '↓'}</td>"
            f"<td>{escape(_shown(metric))}</td><td>{metric.n:,}</td></tr>"
            for metric in self.metrics
            if metric.subset is None
        )
        head = "<tr><th>metric</th><th>value [95 % interval]</th><th>n</th></tr>"
        return f"<table><caption>{escape(title)}</caption>{head}{rows}</table>"


def _shown(metric: Metric) -> str:
    if metric.value is None:
        return f"none ({metric.reason})"
    scale, unit = (100, " %") if metric.unit == "fraction" else (1, f" {metric.unit}")
    bounds = (
        f" [{scale * metric.interval[0]:.2f}, {scale * metric.interval[1]:.2f}]" if metric.interval else ""
    )
    return f"{scale * metric.value:.2f}{unit}{bounds}"
