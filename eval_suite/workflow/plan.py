"""The jobs of a suite: which command makes what, and on what it hangs."""

import shlex
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eval_suite.core.errors import InputError
from eval_suite.core.store import Cell, read_record, write_json, write_json_if_changed
from eval_suite.suite import Suite


@dataclass(frozen=True)
class Job:
    """One call of the command line.

    ``stamp`` is touched when the command succeeds; it is out of date when an ``inputs`` file is younger.
    ``product`` is the file a user wants; a stamp without it does not count.
    """

    name: str
    command: str
    inputs: list[str]
    stamp: str
    product: str
    log: str
    threads: int


@dataclass(frozen=True)
class Plan:
    """All jobs of a suite and the folder of their bookkeeping."""

    suite: Suite
    folder: Path
    jobs: list[Job]

    @property
    def file(self) -> Path:
        """Where the Snakefile reads the plan."""
        return self.folder / "plan.json"


def make_plan(suite: Suite, threads: int) -> Plan:
    """Lay out a suite's jobs, and write what each hangs on: a file that changes only when its content does.

    Args:
        suite: the suite.
        threads: CPU threads each job may use.
    """
    report = Cell(suite.name, "", 0).report.resolve()
    folder = report / ".run"
    maker = _Maker(report, folder, threads)
    jobs: list[Job] = []
    world: list[str] = []
    trainings: dict[Cell, Job] = {}  # rows may share a checkpoint
    if suite.demo is not None:
        demo = suite.demo
        arguments = ["data", "demo", "--out", str(demo.out), "--size", demo.size, "--seed", str(demo.seed)]
        jobs.append(
            maker.job("data", arguments, {"demo": demo.model_dump(mode="json")}, [], demo.out / "demo.json")
        )
        world = [jobs[0].stamp]
    for cell in suite.cells():
        needs = world
        backbone = suite.backbones[cell.backbone]
        call = ["--suite", suite.given, "--backbone", cell.backbone, "--seed", str(cell.seed)]
        if backbone.recipe is not None:
            home = backbone.trained_at(cell)
            if home not in trainings:
                decisive = {"recipe": backbone.recipe.model_dump(mode="json"), "seed": cell.seed}
                name = f"train {home.name}" + (f" in {home.suite}" if backbone.home is not None else "")
                job = maker.job(name, ["train", *call], decisive, world, home.checkpoint / "card.json")
                trainings[home] = job
                jobs.append(job)
                if suite.is_trained(cell):
                    _stamp_where_missing(job)
            needs = [trainings[home].stamp]
        for task in suite.tasks:
            options = suite.task_options(task, cell.backbone)
            hangs_on: dict[str, Any] = {"options": options.model_dump(mode="json")}
            if backbone.recipe is None:
                hangs_on["source"] = [backbone.source, backbone.options.model_dump(mode="json")]
            jobs.append(maker.job(f"{task} {cell.name}", [task, *call], hangs_on, needs, cell.record(task)))
    plan = Plan(suite, folder, jobs)
    _drop_empty_stamps(plan)
    write_json(plan.file, {"jobs": [asdict(job) for job in jobs]})
    write_json_if_changed(report / "suite.json", suite.summary())
    return plan


class _Maker:
    """Makes jobs that share a suite's folders."""

    def __init__(self, report: Path, folder: Path, threads: int) -> None:
        self.report, self.folder, self.threads = report, folder, threads

    def job(
        self, name: str, arguments: list[str], hangs_on: dict[str, Any], needs: list[str], product: Path
    ) -> Job:
        stem = name.replace(" ", "-")
        specification = self.folder / "specifications" / f"{stem}.json"
        write_json_if_changed(specification, hangs_on)
        log = self.report / "logs" / f"{stem}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        if arguments[0] != "data":
            arguments = [*arguments, "--threads", str(self.threads)]
        call = shlex.join([sys.executable, "-m", "eval_suite", *arguments])
        # Snakemake works in its bookkeeping folder; the commands work where `run` was called.
        command = f"cd {shlex.quote(str(Path.cwd()))} && {call} > {shlex.quote(str(log))} 2>&1"
        return Job(
            name=name,
            command=command,
            inputs=[str(specification), *needs],
            stamp=str(self.folder / "done" / stem),
            product=str(product.resolve()),
            log=str(log),
            threads=self.threads,
        )


def _stamp_where_missing(job: Job) -> None:
    """What another suite or a single command has trained already needs no job."""
    stamp = Path(job.stamp)
    if not stamp.exists():
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.touch()


def _drop_empty_stamps(plan: Plan) -> None:
    """A stamp whose product was removed, or is a failed record, must not keep its job from running."""
    for job in plan.jobs:
        stamp, product = Path(job.stamp), Path(job.product)
        if stamp.exists() and not (product.is_file() and _usable(product)):
            stamp.unlink()


def _usable(product: Path) -> bool:
    if product.parent.parent.name != "results":
        return True
    try:
        return read_record(product).status != "failed"
    except InputError:
        return False
