"""Turn a suite's records into one self-contained page."""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from eval_suite.core.store import atomic_write
from eval_suite.report.cards import backbone_parts, recipe_differences
from eval_suite.report.collate import Collation, Notice, collate
from eval_suite.report.compare import TaskComparison
from eval_suite.report.cost import HEADS, MEANING, cost_table, costs
from eval_suite.report.findings import finding
from eval_suite.report.matrices import overview_table, task_table
from eval_suite.report.overview import overview
from eval_suite.report.palette import styles_of
from eval_suite.report.pictures import BUDGET_BYTES, grouped, pictures_by_task
from eval_suite.report.section import Section, section_of
from eval_suite.report.tables import write_tables
from eval_suite.report.training import training_table, training_view
from eval_suite.report.views import task_view
from eval_suite.report.wording import counted, listed, moment, source_state

TEMPLATES = Path(__file__).parent / "templates"
_STATES = ("failed", "broken", "missing", "partial", "warning")
_NAMED_CELLS = 3


class ReportPaths(NamedTuple):
    """What `write_report` wrote, its main finding as one line, how many cells are not complete, and of broken ones a line."""

    index: Path  # type: ignore[assignment]  # the page is called index, though tuples have a method of that name
    tables: list[Path]
    headline: str
    unfinished: int
    broken: str = ""


def write_report(
    folder: Path | str, baseline: str | None = None, *, reload: int | None = None
) -> ReportPaths:
    """Write ``index.html`` and ``tables/`` for the records in a suite's report folder.

    Args:
        folder: ``reports/<suite>``.
        baseline: backbone to compare with; by default the suite's own, else 'baseline', else the first.
        reload: seconds after which the open page loads itself again, for a page that grows; None for never.

    Raises:
        InputError: if the folder holds no record, or the baseline is unknown.
    """
    folder = Path(folder)
    collation = collate(folder, baseline)
    parts = sorted(
        (part_of(collation, task) for task in collation.suite.tasks), key=lambda part: part[0].place
    )
    findings = [found for part in parts if (found := finding(*part))]
    of_training = (training_table(collation), cost_table(collation))
    tables = [overview_table(collation, parts), *(task_table(collation, *part) for part in parts)]
    tables += [table for table in of_training if table is not None]
    page = _page(collation, parts, findings, [table.name for table in tables], reload)
    written = write_tables(folder / "tables", tables)
    with atomic_write(folder / "index.html") as stream:
        stream.write(page)
    headline = findings[0].line if findings else "no record holds a number yet"
    unfinished = sum(entry.state != "complete" for entry in collation.entries.values())
    broken = [entry for entry in collation.entries.values() if entry.state == "broken"]
    line = f"{counted(len(broken), 'record')} cannot be read, first: {broken[0].problem}" if broken else ""
    return ReportPaths(folder / "index.html", written, headline, unfinished, line)


def part_of(collation: Collation, task: str) -> tuple[Section, TaskComparison]:
    """A task's section, and its comparison with the metrics that only several records together give."""
    comparison = TaskComparison(collation, task)
    section = section_of(comparison)
    return section, TaskComparison(collation, task, section.derive) if section.derive else comparison


def _page(
    collation: Collation,
    parts: list[tuple[Section, TaskComparison]],
    findings: list[Any],
    tables: list[str],
    reload: int | None,
) -> str:
    suite = collation.suite
    styles = styles_of(suite.backbones, collation.baseline)
    pictures = pictures_by_task(collation, [section.task for section, _ in parts], BUDGET_BYTES)
    tasks = [
        task_view(section, comparison, styles, grouped(pictures[section.task]), f"chart{index}")
        for index, (section, comparison) in enumerate(parts)
    ]
    script = (TEMPLATES / "report.js").read_text("utf-8")
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            suite=suite,
            reload=reload,
            baseline=collation.baseline,
            styles=styles,
            findings=findings,
            overview=overview(collation, parts, styles),
            tasks=tasks,
            trainings=training_view(collation, styles),
            costs=costs(collation),
            cost_heads=HEADS,
            cost_meaning=MEANING,
            parts=backbone_parts(collation, styles),
            differences=recipe_differences(collation),
            facts=_facts(collation),
            notices=_merged(collation.notices),
            notice_summary=_summary(collation.notices),
            several_seeds=len(suite.seeds) > 1,
            tables=tables,
            style=Markup((TEMPLATES / "report.css").read_text("utf-8")),
            script=Markup(script),
            # The page allows itself this one script and no connection to anywhere.
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )


@cache
def environment() -> Environment:
    """The templates, with every text escaped; each is compiled once in a process."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["weblink"] = _weblink
    return environment


def _weblink(url: str) -> str:
    """A link that can only lead to the web; escaping alone would let a script: address through."""
    return url if url.startswith(("https://", "http://")) else "#"


def _facts(collation: Collation) -> list[tuple[str, str]]:
    """Where the records come from, as (what, words)."""
    suite, records = collation.suite, list(collation.records())
    compared = ", ".join(
        [
            counted(len(suite.backbones), "backbone"),
            counted(len(suite.seeds), "seed"),
            counted(len(suite.tasks), "task"),
        ]
    )
    started = sorted(record.run.started for record in records)
    period = list(dict.fromkeys(moment(at) for at in (started[:1] + started[-1:])))
    versions: dict[str, set[str]] = {}
    for record in records:
        for package, version in record.run.versions.items():
            versions.setdefault(package, set()).add(version)
    data = {f"{r.data.name} ({r.data.split})": None for r in records if r.data}
    rows = [
        ("Compared", compared),
        ("Data", listed(list(data))),
        ("Run", " to ".join(period)),
        ("Source", listed(sorted({source_state(record.run.git) for record in records}))),
        ("Device", listed(sorted({f"{record.run.device}, {record.run.precision}" for record in records}))),
        (
            "Versions",
            ", ".join(f"{name} {' / '.join(sorted(found))}" for name, found in sorted(versions.items())),
        ),
    ]
    return [(what, words) for what, words in rows if words]


class NoticeView(NamedTuple):
    """What one or several cells have to say; ``everywhere`` names all of them where ``where`` does not."""

    state: str
    where: str
    everywhere: str
    text: str


def _merged(notices: list[Notice]) -> list[NoticeView]:
    """Every text once, with the cells that it holds for, the gravest first."""
    where: dict[tuple[str, str], list[str]] = {}
    for notice in sorted(dict.fromkeys(notices), key=lambda notice: _STATES.index(notice.state)):
        where.setdefault((notice.state, notice.text), []).append(notice.where)
    return [
        NoticeView(state, "; ".join(cells), "", text)
        if len(cells) <= _NAMED_CELLS
        else NoticeView(state, f"{cells[0]} and {len(cells) - 1} more", "; ".join(cells), text)
        for (state, text), cells in where.items()
    ]


def _summary(notices: list[Notice]) -> str:
    counts = {state: sum(n.state == state for n in dict.fromkeys(notices)) for state in _STATES}
    cells = [f"{counts[state]} {state}" for state in _STATES[:-1] if counts[state]]
    total = sum(counts[state] for state in _STATES[:-1])
    parts = [f"{counted(total, 'incomplete cell')}: {listed(cells)}"] if cells else []
    if counts["warning"]:
        parts.append(counted(counts["warning"], "warning"))
    return "; ".join(parts)
