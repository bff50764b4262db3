"""Collect the records of a suite: every cell is a record, or a reason why there is none."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eval_suite.core.errors import EvalSuiteError, InputError, first_line, unknown_name
from eval_suite.core.files import file_beside, read_file
from eval_suite.core.records import Record
from eval_suite.core.store import read_record
from eval_suite.report.protocols import different_options

State = Literal["complete", "partial", "failed", "broken", "missing"]
_CELL_FOLDER = re.compile(r"(?P<backbone>.+)-s(?P<seed>\d+)")
_DEFAULT_BASELINE = "baseline"
_PATHS = ("data", "corrupted")  # what lies there is identified by its hash
# Options that are what is compared, by task: a difference in them is no difference of protocol.
_COMPARED = {"wsol": ("method", "fit.regularizers")}
_Name = TypeVar("_Name", str, int)


class SuiteInfo(BaseModel):
    """What was to be compared, in reading order; written next to the results by `eval-suite run`."""

    model_config = ConfigDict(extra="ignore")

    name: str
    title: str = ""
    description: str = ""
    baseline: str | None = None
    backbones: list[str] = Field(default_factory=list)
    taken_as_they_are: list[str] = Field(default_factory=list)
    """Backbones that were not trained here: one set of weights, whatever the seeds of the others."""
    seeds: list[int] = Field(default_factory=list)
    tasks: list[str] = Field(default_factory=list)
    published: str | None = None
    """Table of published numbers to show next to ours; by default the one of the suite's name."""


class Key(NamedTuple):
    """One cell: a backbone at a seed on a task."""

    backbone: str
    seed: int
    task: str

    @property
    def where(self) -> str:
        """The cell in words."""
        return f"{self.task} · {self.backbone} · seed {self.seed}"


@dataclass(frozen=True)
class Entry:
    """A cell as found on disk."""

    key: Key
    path: Path
    state: State
    record: Record | None = None
    problem: str = ""


class Notice(NamedTuple):
    """A line of the banner."""

    state: State | Literal["warning"]
    where: str
    text: str


@dataclass
class Collation:
    """All cells of a suite in reading order."""

    folder: Path
    suite: SuiteInfo
    baseline: str
    entries: dict[Key, Entry]
    notices: list[Notice] = field(default_factory=list)

    @property
    def results(self) -> Path:
        """The folder no referenced file may leave."""
        return self.folder / "results"

    def cells(self, task: str, backbone: str) -> list[Entry]:
        """The cells of one backbone on one task, by seed."""
        return [entry for entry in self.of_backbone(backbone) if entry.key.task == task]

    def of_backbone(self, backbone: str) -> list[Entry]:
        """The cells of one backbone, in reading order."""
        return self._by_backbone.get(backbone, [])

    @cached_property
    def _by_backbone(self) -> dict[str, list[Entry]]:
        found: dict[str, list[Entry]] = {}
        for entry in self.entries.values():
            found.setdefault(entry.key.backbone, []).append(entry)
        return found

    def scored(self, task: str, backbone: str) -> list[tuple[Entry, Record]]:
        """Those of `cells` that hold numbers."""
        return [(e, e.record) for e in self.cells(task, backbone) if e.record and e.record.status != "failed"]

    def records(self) -> Iterator[Record]:
        """Every readable record, failed ones included."""
        return (entry.record for entry in self.entries.values() if entry.record)

    def file_beside(self, entry: Entry, relative: str) -> Path:
        """A file that a record names.

        Raises:
            InputError: if it lies outside the results and the record's folder, or does not exist.
        """
        return file_beside(entry.path, relative, self.results)


def collate(folder: Path, baseline: str | None = None) -> Collation:
    """Read all records of a suite's report folder.

    Args:
        folder: ``reports/<suite>``.
        baseline: backbone that all others are compared with; by default the suite's own, else 'baseline', else the first,
            without those that have broken or failed records alone.

    Raises:
        InputError: if the folder holds no record, the suite's description is unreadable, or the baseline is unknown.
    """
    if not folder.is_dir():
        raise InputError(
            expected=f"a report folder at {folder}", found="none", remedy="`eval-suite run` makes one"
        )
    paths = dict(_record_paths(folder / "results"))
    if not paths:
        raise InputError(
            expected="records", where=folder / "results", found="none", remedy="`eval-suite run` makes them"
        )
    suite = _suite_info(folder)
    backbones = _ordered(suite.backbones, {key.backbone for key in paths})
    seeds = _ordered(suite.seeds, {key.seed for key in paths})
    tasks = _ordered(suite.tasks, {key.task for key in paths})
    expected = {
        Key(b, s, t)
        for b in suite.backbones
        for s in (suite.seeds[:1] if b in suite.taken_as_they_are else suite.seeds)
        for t in suite.tasks
    }
    entries = {}
    for key in (Key(b, s, t) for t in tasks for b in backbones for s in seeds):
        if key in paths or key in expected:
            path = paths.get(key, folder / "results" / f"{key.backbone}-s{key.seed}" / f"{key.task}.json")
            entries[key] = _read_entry(key, path, known=key in paths)
    chosen = _baseline(baseline or suite.baseline, backbones, entries)
    ordered = suite.model_copy(update={"backbones": backbones, "seeds": seeds, "tasks": tasks})
    found = Collation(folder, ordered, chosen, entries)
    found.notices.extend(_cell_notices(found))
    found.notices.extend(_unlisted(suite, found))
    found.notices.extend(_mixtures(found))
    return found


def collate_records(records: Sequence[Record], baseline: str | None = None) -> Collation:
    """Cells of records in memory, in their order.

    Args:
        records: of any backbones, seeds and tasks; one for each cell.
        baseline: backbone that all others are compared with; by default 'baseline', else the first.

    Raises:
        InputError: if there are none, two are of one cell, or the baseline is unknown.
    """
    if not records:
        raise InputError(expected="records to compare", found="none")
    entries: dict[Key, Entry] = {}
    for record in records:
        key = Key(record.backbone.name, record.run.seed, record.task.name)
        if key in entries:
            raise InputError(
                expected="one record for each backbone, seed and task",
                found=f"two of {key.where}",
                remedy="name the backbones apart",
            )
        entries[key] = Entry(key, record.path or Path(), record.status, record)
    backbones, seeds, tasks = (list(dict.fromkeys(part)) for part in zip(*entries, strict=True))
    suite = SuiteInfo(name="records", backbones=backbones, seeds=seeds, tasks=tasks)
    return Collation(Path(), suite, _baseline(baseline, backbones, entries), entries)


def _record_paths(results: Path) -> Iterator[tuple[Key, Path]]:
    for path in sorted(results.glob("*/*.json")):
        matched = _CELL_FOLDER.fullmatch(path.parent.name)
        if matched and not path.name.startswith("."):
            yield Key(matched["backbone"], int(matched["seed"]), path.stem), path


def _suite_info(folder: Path) -> SuiteInfo:
    path = folder / "suite.json"
    if not path.exists():
        return SuiteInfo(name=folder.resolve().name)
    try:
        return SuiteInfo.model_validate_json(read_file(path))
    except (ValidationError, OSError) as error:
        raise InputError(
            expected="a suite's description",
            where=path,
            found=f"{first_line(error)}",
            remedy="`eval-suite run` writes it anew",
        ) from None


def _ordered(listed: list[_Name], found: set[_Name]) -> list[_Name]:
    rest: list[_Name] = sorted(found - set(listed))
    return listed + rest


def _read_entry(key: Key, path: Path, known: bool) -> Entry:
    if not known:
        return Entry(key, path, "missing", problem="no record yet; `eval-suite run` makes what is missing")
    try:
        record = read_record(path)
    except (EvalSuiteError, OSError, ValueError) as error:
        return Entry(key, path, "broken", problem=first_line(error))
    return Entry(key, path, record.status, record)


def _baseline(wanted: str | None, backbones: list[str], entries: Mapping[Key, Entry]) -> str:
    if wanted is not None:
        if wanted not in backbones:
            raise unknown_name("baseline", wanted, backbones)
        return wanted
    # One whose records are all broken or failed has nothing to compare with.
    usable = {key.backbone for key, entry in entries.items() if entry.state not in ("broken", "failed")}
    names = [name for name in backbones if name in usable] or backbones
    return _DEFAULT_BASELINE if _DEFAULT_BASELINE in names else names[0]


def _cell_notices(found: Collation) -> Iterator[Notice]:
    for entry in found.entries.values():
        where, record = entry.key.where, entry.record
        if record is None:
            yield Notice(entry.state, where, entry.problem)
        elif record.error is not None:
            message = " ".join(record.error.message.split())
            yield Notice("failed", where, f"{record.error.type}: {message}")
        elif record.status == "partial":
            data = record.data
            text = f"{data.n_scored} of {data.n_available} items" if data else "not all items"
            failed = f", {data.n_failed} unreadable" if data and data.n_failed else ""
            yield Notice("partial", where, f"scored on {text}{failed}")
        for line in (*record.backbone.load.warnings, *record.warnings) if record is not None else ():
            yield Notice("warning", where, line)
        for known in (record.data, record.fitted_to) if record is not None else ():
            if known is not None:
                for note in known.notes:
                    yield Notice("warning", where, f"{known.name}, {known.split}: {note}")
        if record is not None and record.fitted_to is not None and record.fitted_to.n_failed:
            fit = record.fitted_to
            text = f"fitted to {fit.n_scored} of {fit.n_available} items, {fit.n_failed} unreadable"
            yield Notice("warning", where, text)


def _unlisted(listed: SuiteInfo, found: Collation) -> Iterator[Notice]:
    wanted, have = listed.model_dump(), found.suite.model_dump()
    for kind in ("backbones", "seeds", "tasks"):
        extra = [str(name) for name in have[kind] if name not in wanted[kind]]
        if wanted[kind] and extra:
            yield Notice(
                "warning", kind, f"on disk but not in the suite, shown all the same: {', '.join(extra)}"
            )


def _mixtures(found: Collation) -> Iterator[Notice]:
    for task in found.suite.tasks:
        scored = [pair for name in found.suite.backbones for pair in found.scored(task, name)]
        hashes: dict[str, dict[str, list[str]]] = {}
        versions: set[int] = set()
        options: dict[str, set[str]] = {}
        for entry, record in scored:
            versions.add(record.task.version)
            for done, data in (("scored on", record.data), ("fitted to", record.fitted_to)):
                if data:
                    found_in = hashes.setdefault(done, {}).setdefault(data.sha256, [])
                    found_in.append(f"{entry.key.backbone}-s{entry.key.seed}")
            for option, value in _dotted(record.task.options, (*_PATHS, *_COMPARED.get(task, ()))):
                options.setdefault(option, set()).add(repr(value))
        for done, by_hash in hashes.items():
            if len(by_hash) > 1:
                groups = "; ".join(f"{digest[:10]}: {', '.join(who)}" for digest, who in by_hash.items())
                text = f"{done} different data, so not comparable across groups ({groups})"
                yield Notice("warning", task, text)
        if len(versions) > 1:
            listed = ", ".join(map(str, sorted(versions)))
            yield Notice("warning", task, f"records follow different versions of the protocol ({listed})")
        of_protocol = {option for _, record in scored for option in record.task.protocol}
        mixed = sorted(
            name for name, values in options.items() if len(values) > 1 and name not in of_protocol
        )
        if mixed:
            yield Notice("warning", task, f"options differ between records: {', '.join(mixed)}")
        named = ((f"{entry.key.backbone}-s{entry.key.seed}", record) for entry, record in scored)
        for option, values_of in different_options(named):
            groups = "; ".join(f"{value}: {', '.join(who)}" for value, who in values_of.items())
            yield Notice(
                "warning", task, f"{option} differs, so what depends on it is not compared ({groups})"
            )
    commits = {(record.run.git.commit, record.run.git.dirty) for record in found.records()}
    if len({commit for commit, _ in commits}) > 1:
        yield Notice("warning", "source", "records were made from different commits")
    if any(dirty for _, dirty in commits):
        yield Notice(
            "warning", "source", "some records were made from a working tree with uncommitted changes"
        )


def _dotted(options: Mapping[str, Any], free: tuple[str, ...], path: str = "") -> Iterator[tuple[str, Any]]:
    """Options by their dotted names, without those that are free to differ."""
    for name, value in options.items():
        where = f"{path}{name}"
        if where in free:
            continue
        if isinstance(value, dict) and value:
            yield from _dotted(value, free, f"{where}.")
        else:
            yield where, value
