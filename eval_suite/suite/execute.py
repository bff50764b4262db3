"""Handing a plan to Snakemake, and telling the user how it goes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from eval_suite.core.errors import EvalSuiteError
from eval_suite.core.processes import child_environment
from eval_suite.core.runtime import has_gpu
from eval_suite.suite.plan import Job, Plan, jobs_to_run
from eval_suite.suite.warm import server

_POLL_SECONDS = 0.5
_LINE_EVERY_SECONDS = 10.0


class Outcome(NamedTuple):
    """How a run ended: jobs that were up to date, done now, failed, and kept from running by a failure."""

    up_to_date: list[Job]
    done: list[Job]
    failed: list[Job]
    skipped: list[Job]


def execute(
    plan: Plan, jobs: int, executor: str | None = None, say: Callable[[str], None] = print
) -> Outcome:
    """Run what is missing, keep going past failures, and say what happens.

    Args:
        plan: what to run.
        jobs: how many jobs at a time.
        executor: name of a Snakemake executor plugin such as ``slurm``; None runs here.
        say: receives progress lines.
    """
    waiting = jobs_to_run(plan)
    up_to_date = [job for job in plan.jobs if job not in waiting]
    if not waiting:
        return Outcome(up_to_date, [], [], [])
    if executor is None:
        where, environment = ["--cores", str(jobs * max(job.threads for job in waiting))], child_environment()
    else:
        where, environment = (
            ["--executor", executor, "--jobs", str(jobs), *_asking(executor)],
            dict(os.environ),
        )
    # Gone beforehand, so that what is there afterwards is of this run, whatever the clock says.
    for job in waiting:
        for old in (job.stamp, job.log):
            Path(old).unlink(missing_ok=True)
    log = plan.folder / "snakemake.log"
    verbs = [job.verb for job in waiting] if executor is None else []
    with log.open("w") as stream, server(verbs, environment, stream) as environment:
        process = subprocess.Popen(
            _snakemake(plan, where), stdout=stream, stderr=subprocess.STDOUT, cwd=plan.folder, env=environment
        )
        try:
            _follow(process, waiting, say)
        except BaseException:
            process.terminate()
            process.wait()
            raise
    done = [job for job in waiting if Path(job.stamp).is_file()]
    rest = [job for job in waiting if job not in done]
    failed = [job for job in rest if Path(job.log).is_file()]
    if rest and not failed:
        raise EvalSuiteError(f"Snakemake ended early, see {log}: {_fault(log, process.returncode)}")
    return Outcome(up_to_date, done, failed, [job for job in rest if job not in failed])


def last_line(log: Path) -> str:
    """The last line a log says, or an empty text."""
    try:
        lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    except OSError:
        return ""
    return lines[-1] if lines else ""


def _fault(log: Path, code: int) -> str:
    """What Snakemake says is wrong, or how it ended."""
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    first = next((i for i, line in enumerate(lines) if "Error" in line or "Exception" in line), None)
    if first is not None:
        return " ".join(lines[first : first + 2])
    if code < 0:
        return f"it was ended by the signal {signal.Signals(-code).name}"
    return lines[-1] if lines else f"it said nothing and ended with code {code}"


def _follow(process: subprocess.Popen[bytes], waiting: list[Job], say: Callable[[str], None]) -> None:
    open_jobs = list(waiting)
    said: dict[str, str] = {}
    total = len(waiting)
    last = time.monotonic()
    while True:
        ended = process.poll() is not None
        for job in [job for job in open_jobs if Path(job.stamp).is_file()]:
            open_jobs.remove(job)
            say(f"[{total - len(open_jobs)}/{total}] {job.name}: {last_line(Path(job.log))}")
            last = time.monotonic()
        if ended:
            return
        if time.monotonic() - last > _LINE_EVERY_SECONDS:
            last = time.monotonic()
            for job in open_jobs:
                line = last_line(Path(job.log))
                if line and line != said.get(job.name):
                    said[job.name] = line
                    say(f"      {job.name}: {line}")
        time.sleep(_POLL_SECONDS)


def _asking(executor: str) -> list[str]:
    """How to learn of a job's end: Slurm's plugin asks sacct, which for want of an accounting database never answers."""
    if executor != "slurm" or shutil.which("sacct") is None:
        return []
    answers = subprocess.run(["sacct", "--noheader"], check=False, capture_output=True).returncode == 0
    return [] if answers else ["--slurm-status-command", "squeue"]


def _snakemake(plan: Plan, where: list[str]) -> list[str]:
    snakefile = str(resources.files("eval_suite.suite") / "Snakefile")
    # Our own lock guards the folder and ends with its process; Snakemake's would outlive a killed run.
    return [
        sys.executable,
        *("-m", "snakemake", "--snakefile", snakefile, "--directory", str(plan.folder)),
        *("--nolock", "--keep-going", "--rerun-incomplete"),
        *("--scheduler", "greedy"),  # the other solves an integer program whenever a job has ended
        *("--rerun-triggers", "mtime", "--quiet", "host", "progress", "reason", "rules", *where),
    ]


def default_jobs() -> int:
    """One job per CPU core, or one where a GPU would be shared."""
    return 1 if has_gpu() else max(1, len(os.sched_getaffinity(0)))
