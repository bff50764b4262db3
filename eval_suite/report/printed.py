"""Numbers that papers printed, to show next to ours: a CSV per paper in ``published/``.

A row names the suite that repeats the experiment and its backbone, the metric by key, params and subset, the value (a
fraction where the metric is a rate), the table it stands in and a note. ``printed_for`` holds params whose other values
keep the number on the page, with a note: of a threshold, for example, that a user may change.
"""

import csv
from functools import cache
from importlib import resources
from typing import NamedTuple

from eval_suite.core.records import Param, Params, metric_id, same_param
from eval_suite.report.collate import SuiteInfo


class PublishedNumber(NamedTuple):
    """One printed number; see the columns of the CSV."""

    suite: str
    backbone: str
    task: str
    key: str
    params: dict[str, Param]
    printed_for: dict[str, Param]
    subset: str | None
    value: float
    source: str
    note: str

    @property
    def id(self) -> str:
        """Key and params of the metric as printed."""
        return metric_id(self.key, self.params | self.printed_for)

    @property
    def cell(self) -> tuple[str, str, str, str, str | None]:
        """What it is of, but for its params."""
        return self.suite, self.backbone, self.task, self.key, self.subset


@cache
def published_numbers() -> tuple[PublishedNumber, ...]:
    """Every printed number of every paper."""
    found = []
    for path in sorted(
        resources.files("eval_suite.report").joinpath("published").iterdir(), key=lambda path: path.name
    ):
        for row in csv.DictReader(path.read_text("utf-8").splitlines()):
            params, printed_for = _params(row.pop("params")), _params(row.pop("printed_for"))
            subset, value = row.pop("subset") or None, float(row.pop("value"))
            found.append(
                PublishedNumber(**row, params=params, printed_for=printed_for, subset=subset, value=value)
            )
    return tuple(found)


def published_number(
    suite: SuiteInfo, backbone: str, task: str, key: str, params: Params, subset: str | None = None
) -> PublishedNumber | None:
    """The printed number of a cell; None where the paper has none, as on other data sets."""
    for printed in _by_cell().get((suite.published or suite.name, backbone, task, key, subset), ()):
        other = _other_params(printed, params)
        if other is not None:
            notes = (printed.note, *(f"printed for {name} = {value}" for name, value in other.items()))
            return printed._replace(note="; ".join(filter(None, notes)))
    return None


@cache
def _by_cell() -> dict[tuple[str, str, str, str, str | None], list[PublishedNumber]]:
    found: dict[tuple[str, str, str, str, str | None], list[PublishedNumber]] = {}
    for printed in published_numbers():
        found.setdefault(printed.cell, []).append(printed)
    return found


def _other_params(printed: PublishedNumber, params: Params) -> dict[str, Param] | None:
    """The params that were printed for another value; None where the number is of another metric."""
    if params.keys() != printed.params.keys() | printed.printed_for.keys():
        return None
    if not all(same_param(params[name], value) for name, value in printed.params.items()):
        return None
    own = {name: params[name] for name in printed.printed_for}
    # A word in the place of a number, such as a threshold chosen on the images, is another protocol.
    if any(
        isinstance(value, str) != isinstance(printed.printed_for[name], str) for name, value in own.items()
    ):
        return None
    return {name: value for name, value in printed.printed_for.items() if not same_param(own[name], value)}


def _params(text: str) -> dict[str, Param]:
    pairs = (part.partition("=") for part in text.split(";") if part)
    return {name: _param(value) for name, _, value in pairs}


def _param(text: str) -> Param:
    if text in ("true", "false"):
        return text == "true"
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text
