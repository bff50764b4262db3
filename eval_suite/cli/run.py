"""``eval-suite run``: everything of a suite that is missing, then its report."""

import logging
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from eval_suite.cli.flags import Marker
from eval_suite.cli.parsing import parse
from eval_suite.core.errors import InputError
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.core.store import exclusive, read_record
from eval_suite.suite.execute import Outcome, default_jobs, execute, last_line
from eval_suite.suite.plan import Job, Plan, jobs_to_run, make_plan, write_plan
from eval_suite.suite.preflight import require_inputs, require_no_other_backbones
from eval_suite.suite.suite import Suite, load_suite, shorten

log = logging.getLogger(__name__)


class RunCommand(BaseModel):
    """Make all of a suite that is missing or out of date: data, backbones, records; then the report."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    suite: Annotated[str, Marker.POSITIONAL] = "demo"
    """Suite file, or the name of a bundled one."""
    jobs: int | None = Field(default=None, ge=1)
    """Jobs at a time; by default one per CPU core, or one where there is a GPU."""
    threads: int = Field(default=1, ge=1)
    """CPU threads of each job."""
    cache: str | None = None
    """Where decoded pixels are kept for all jobs: on, for the user's cache, a folder, or off; by default as the suite says, else on."""
    executor: str | None = None
    """Snakemake executor plugin to run jobs on other machines, such as slurm."""
    epochs: int | None = Field(default=None, ge=1)
    """Train, and fit in tasks, for this many epochs instead; the result is a suite of its own, NAME-short."""
    limit: int | None = Field(default=None, ge=1)
    """Train and evaluate on this many images of each split; likewise."""
    overwrite: bool = False
    """Replace finished backbones whose recipe has changed since."""
    dry_run: bool = False
    """Only say which jobs are done and which would run, and what data they lack: nothing is written, and no network built."""


def main(arguments: list[str]) -> int:
    """Run the verb."""
    command = parse(RunCommand, "run", arguments)
    whole = load_suite(command.suite)
    suite, short = whole, None
    if command.epochs is not None or command.limit is not None:
        short = shorten(whole, command.epochs, command.limit)
        suite = short.suite
    jobs = command.jobs or default_jobs()
    report = suite.cells()[0].report
    overwrite = command.overwrite or short is not None
    images: dict[str, str | None] = {}  # a million files take seconds to hash
    plan = make_plan(suite, command.threads, overwrite=overwrite, cache=command.cache, images=images)
    waiting = jobs_to_run(plan)
    if command.dry_run:
        _print_plan(plan, waiting)
    if waiting:
        require_inputs(whole, networks=not command.dry_run)
    if not overwrite:
        require_no_other_backbones(suite, images)
    if command.dry_run:
        return 0
    with exclusive(report / ".run", "running this suite"):
        if short is not None:
            short.write()
        write_plan(plan)
        at_once = f"{jobs} job{'s' * (jobs != 1)} at a time"
        print(f"suite {suite.name}: {size_in_words(suite)}, {at_once}; logs in {report / 'logs'}", flush=True)
        outcome = execute(plan, jobs, command.executor, lambda line: print(line, flush=True))
        _leave_failed_records(plan, outcome, suite.runtime)
        _print_outcome(outcome)
        index = _report(plan, report)
    print(index)
    return 1 if outcome.failed or outcome.skipped else 0


def size_in_words(suite: Suite) -> str:
    """Backbones, seeds and tasks, and how many records they make where not every backbone has every seed."""
    sizes = [("backbone", suite.backbones), ("seed", suite.seeds), ("task", suite.tasks)]
    count = " x ".join(f"{len(of)} {what}{'s' * (len(of) != 1)}" for what, of in sizes)
    cells = len(suite.cells())
    if cells == len(suite.backbones) * len(suite.seeds):
        return count
    return f"{count}, {cells * len(suite.tasks)} records as backbones that are not trained here have one seed"


def _leave_failed_records(plan: Plan, outcome: Outcome, runtime: RuntimeOptions) -> None:
    """No cell of the report shall hold nothing, or what came before: a job that was killed could not say why itself."""
    from eval_suite.tasks.evaluate import task_named, write_failed

    why = {job.product: last_line(Path(job.log)) for job in outcome.failed}
    why |= {job.product: "what it depends on failed" for job in outcome.skipped}
    for cell in plan.suite.cells():
        for name, options in plan.suite.backbones[cell.backbone].tasks.items():
            task = task_named(name)
            path = cell.record(task.name)
            message = why.get(str(path.resolve()))
            if message is not None and not _says_why(path):
                write_failed(task, options, cell=cell, runtime=runtime, type_name="Ended", message=message)


def _says_why(path: Path) -> bool:
    try:
        return read_record(path).status == "failed"
    except InputError:
        return False


def _print_plan(plan: Plan, waiting: list[Job]) -> None:
    for job in plan.jobs:
        print(f"{'to run' if job in waiting else 'done':>6}  {job.name}")
    print(f"{len(plan.jobs) - len(waiting)} done, {len(waiting)} to run", flush=True)


def _print_outcome(outcome: Outcome) -> None:
    for job in outcome.failed:
        print(f"failed: {job.name}: {last_line(Path(job.log))}  (log: {job.log})")
    for job in outcome.skipped:
        print(f"not run: {job.name}: what it depends on failed")
    parts = [f"{len(outcome.done)} done", f"{len(outcome.up_to_date)} were up to date"]
    parts += [f"{len(outcome.failed)} failed"] if outcome.failed else []
    parts += [f"{len(outcome.skipped)} not run"] if outcome.skipped else []
    print(", ".join(parts), flush=True)


def _report(plan: Plan, folder: Path) -> str:
    """The closing line; the page is made again only where a record is younger than it."""
    index = folder / "index.html"
    sources = [folder / "suite.json", *folder.glob("results/*/*.json")]
    if index.is_file() and all(source.stat().st_mtime <= index.stat().st_mtime for source in sources):
        return f"report: {index} (unchanged)"
    from eval_suite.report.render import write_report

    paths = write_report(folder, plan.suite.baseline)
    if paths.broken:
        log.warning(paths.broken)
    return f"report: {paths.index}  {paths.headline}"
