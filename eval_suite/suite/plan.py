"""The jobs of a suite: which command makes what, and on what it hangs."""

import json
import os
import re
import shlex
import sys
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from eval_suite.backbones.spec import PROBE, parse_source
from eval_suite.core.errors import EvalSuiteError, InputError
from eval_suite.core.parts import part
from eval_suite.core.runtime import ON
from eval_suite.core.store import Cell, read_record, would_change, write_json, write_json_if_changed
from eval_suite.suite.suite import Suite
from eval_suite.tasks.base import TaskOptions
from eval_suite.training.replacing import learnt_from_others

# A process that is killed says nothing itself, so its shell does.
_COMMAND = (
    'cd {cwd} && {{ {call} > {log} 2>&1 || {{ code=$?; [ $code -le 128 ] || echo "error: ended by the signal '
    '$(kill -l $((code - 128))); where memory ran out, lower --jobs, --batch-size or --workers" >> {log}; '
    "exit $code; }}; }}"
)
_OWN_FILE = re.compile(r'[^"=]+?\.py(?=:)')


@dataclass(frozen=True)
class Job:
    """One call of the command line, by its ``verb``.

    ``stamp`` is touched when the command succeeds; it is out of date when an ``inputs`` file is younger. The first of
    these is the job's specification, which holds ``depends_on`` and changes only when that does; the others are stamps.
    ``product`` is the file a user wants; a stamp without it does not count. ``external``: another suite or a single
    command has made it, which needs no job. ``outdated``: what lies there was made of files that hold other
    contents now, such as a regularizer's of one's own or the weights of a pretrained row, or of other data.
    """

    name: str
    verb: str
    command: str
    inputs: list[str]
    stamp: str
    product: str
    log: str
    threads: int
    depends_on: dict[str, Any]
    external: bool = False
    outdated: bool = False


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


def make_plan(
    suite: Suite,
    threads: int,
    *,
    overwrite: bool = False,
    cache: str | None = None,
    images: dict[str, str | None] | None = None,
) -> Plan:
    """Lay out a suite's jobs, each after those that it depends on; nothing is written.

    Args:
        suite: the suite.
        threads: CPU threads each job may use.
        overwrite: replace finished backbones whose recipe has changed since.
        cache: where decoded pixels are kept; None as the suite says, else in the user's cache, as jobs share their images.
        images: hashes of what lies where trainings' images lay, filled as they are needed; see `learnt_from_others`.
    """
    images = {} if images is None else images
    given = suite.runtime.cache if "cache" in suite.runtime.model_fields_set else ON
    report = Cell(suite.name, "", 0).report.resolve()
    folder = report / ".run"
    maker = _Maker(report, folder, ["--threads", str(threads), "--cache", cache or given], threads)
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
                train = ["train", *call, *(["--overwrite"] if overwrite else [])]
                job = maker.job(name, train, decisive, world, home.checkpoint / "card.json")
                external = suite.is_trained(cell) and not Path(job.stamp).exists()
                changed = learnt_from_others(backbone.recipe, home.checkpoint, images)
                outdated = changed or suite.is_outdated(cell)
                trainings[home] = job = replace(job, external=external and not outdated, outdated=outdated)
                jobs.append(job)
            needs = [trainings[home].stamp]
        probed = backbone.options.head == PROBE
        if probed and PROBE not in suite.tasks:
            raise InputError(
                expected=f"the task {PROBE} in the suite, whose layer 'head: {PROBE}' of '{cell.backbone}' takes",
                found=", ".join(suite.tasks),
                remedy="add it, or name a folder that holds a fitted probe",
            )
        for task in sorted(suite.tasks, key=PROBE.__ne__) if probed else suite.tasks:
            title = part("task", task).name
            options = suite.task_options(task, cell.backbone)
            depends_on: dict[str, Any] = {"options": options.model_dump(mode="json")}
            if backbone.recipe is None:
                depends_on["source"] = [backbone.source, backbone.options.model_dump(mode="json")]
            if code := _own_code([task, depends_on]):
                depends_on["code"] = code
            job = maker.job(f"{title} {cell.name}", [task, *call], depends_on, needs, cell.record(title))
            outdated = _any_younger(_weights_files(backbone.source), job.stamp) or maker.of_other_data(
                Path(job.product), task, options
            )
            jobs.append(replace(job, outdated=outdated))
            if probed and task == PROBE:
                needs = [*needs, job.stamp]
    return Plan(suite, folder, jobs)


def jobs_to_run(plan: Plan) -> list[Job]:
    """The jobs that Snakemake would run of a plan, in its order; the plan need not be written."""
    waiting: dict[str, Job] = {}
    for job in plan.jobs:
        if any(needed in waiting for needed in job.inputs) or not _up_to_date(job):
            waiting[job.stamp] = job
    return list(waiting.values())


def write_plan(plan: Plan) -> None:
    """Write what each job depends on, the plan that the Snakefile reads, and what the report needs to know of the suite."""
    for job in plan.jobs:
        write_json_if_changed(Path(job.inputs[0]), job.depends_on)
        Path(job.log).parent.mkdir(parents=True, exist_ok=True)
        if job.external:
            Path(job.stamp).parent.mkdir(parents=True, exist_ok=True)
            Path(job.stamp).touch()
    _drop_empty_stamps(plan)
    ours = {"verb", "depends_on", "external", "outdated"}
    calls = [{key: value for key, value in asdict(job).items() if key not in ours} for job in plan.jobs]
    for call in calls:
        call["inputs"] = [os.path.relpath(path, plan.folder) for path in call["inputs"]]
        call["stamp"] = os.path.relpath(call["stamp"], plan.folder)
    write_json(plan.file, {"jobs": calls})
    write_json_if_changed(plan.folder.parent / "suite.json", plan.suite.summary())


class _Maker:
    """Makes jobs that share a suite's folders."""

    def __init__(self, report: Path, folder: Path, flags: list[str], threads: int) -> None:
        self.report, self.folder, self.flags, self.threads = report, folder, flags, threads
        self._sets: dict[str, dict[str, str]] = {}

    def of_other_data(self, record: Path, task: str, options: TaskOptions) -> bool:
        """Whether the data that a record was made of hold something else now; data that have gone leave it as it is."""
        try:
            # Without validation, which a plan does once, where it asks whether the record is usable.
            before = json.loads(record.read_bytes())["sets"]
        except (OSError, ValueError, KeyError, TypeError):
            return False
        asked = f"{task} {options.model_dump_json()}"
        if asked not in self._sets:
            chosen = part("task", task)()
            try:
                self._sets[asked] = chosen.sets_read(chosen.resolved(options))
            except (EvalSuiteError, OSError):
                self._sets[asked] = {}
        return any(before.get(name, now) != now for name, now in self._sets[asked].items())

    def job(
        self, name: str, arguments: list[str], depends_on: dict[str, Any], needs: list[str], product: Path
    ) -> Job:
        stem = name.replace(" ", "-")
        specification = self.folder / "specifications" / f"{stem}.json"
        log = self.report / "logs" / f"{stem}.log"
        if arguments[0] != "data":
            arguments = [*arguments, *self.flags]
        call = shlex.join([sys.executable, "-m", "eval_suite", *arguments])
        # Snakemake works in its bookkeeping folder; the commands work where `run` was called.
        command = _COMMAND.format(cwd=shlex.quote(str(Path.cwd())), call=call, log=shlex.quote(str(log)))
        return Job(
            name=name,
            verb=arguments[0],
            command=command,
            inputs=[str(specification), *needs],
            stamp=str(self.folder / "done" / stem),
            product=str(product.resolve()),
            log=str(log),
            threads=self.threads,
            depends_on=depends_on,
        )


def _drop_empty_stamps(plan: Plan) -> None:
    """A stamp whose product was removed, is outdated, or is a failed record, must not keep its job from running."""
    for job in plan.jobs:
        if job.outdated or not _usable(Path(job.product)):
            Path(job.stamp).unlink(missing_ok=True)


def _own_code(settings: Any) -> dict[str, str]:
    """SHA-256 of each of the user's files that settings name a part of: a task, a score, a detector, a data layout, a network."""
    named = sorted(set(_OWN_FILE.findall(json.dumps(settings, ensure_ascii=False))))
    return {name: sha256(Path(name).read_bytes()).hexdigest() for name in named if Path(name).is_file()}


def _weights_files(source: str | None) -> list[Path]:
    """The local weights of a pretrained row: too large to hash for a plan."""
    if source is None:
        return []
    spec = parse_source(source)
    folder = Path(spec.name) / "model.safetensors" if spec.kind == "checkpoint" else None
    return [path for path in (spec.weights, folder) if path is not None]


def _any_younger(files: list[Path], stamp: str) -> bool:
    try:
        made = Path(stamp).stat().st_mtime_ns
    except FileNotFoundError:
        return False
    return any(path.is_file() and path.stat().st_mtime_ns > made for path in files)


def _up_to_date(job: Job) -> bool:
    if job.external:
        return True
    if job.outdated:
        return False
    specification, stamp = Path(job.inputs[0]), Path(job.stamp)
    try:
        made = stamp.stat().st_mtime_ns
        younger = any(Path(needed).stat().st_mtime_ns > made for needed in job.inputs)
    except FileNotFoundError:
        return False
    return not younger and not would_change(specification, job.depends_on) and _usable(Path(job.product))


def _usable(product: Path) -> bool:
    if not product.is_file():
        return False
    if product.parent.parent.name != "results":
        return True
    try:
        return read_record(product).status != "failed"
    except InputError:
        return False
