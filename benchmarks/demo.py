"""The whole demo, `eval-suite run demo`, from nothing to its report in an empty temporary folder."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from timing import options

AIM_SECONDS = 600


class Job(NamedTuple):
    """One job as its record or card tells of it; the start of its process is not in it."""

    name: str
    seconds: float
    detail: str


def main() -> None:
    parser = options(__doc__, repeats=1, device=False)
    parser.add_argument("--suite", default="demo", help="bundled suite, or path of a suite file")
    arguments = parser.parse_args()
    suite = str(Path(arguments.suite).resolve()) if Path(arguments.suite).is_file() else arguments.suite
    for _ in range(arguments.repeats):
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-m", "eval_suite", "run", suite], check=True, cwd=folder)
            wall = time.perf_counter() - begin
            jobs = jobs_in(Path(folder))
        cores = len(os.sched_getaffinity(0))
        inside = sum(job.seconds for job in jobs)
        for job in jobs:
            print(f"  {job.name:<24} {job.seconds:7.1f} s   {job.detail}")
        print(f"  {'all of them':<24} {inside:7.1f} s   {inside / cores:.1f} s on each of {cores} cores")
        ratio = wall / AIM_SECONDS
        print(
            f"{arguments.suite}: {wall:.1f} s wall, aim {AIM_SECONDS} s on two cores: ratio {ratio:.3f}, aim <= 1"
        )


def jobs_in(folder: Path) -> list[Job]:
    """The jobs that left a card or a record."""
    jobs = []
    for path in sorted(folder.glob("checkpoints/*/*/card.json")):
        training = json.loads(path.read_text("utf-8"))["training"]
        jobs.append(Job(f"train {path.parent.name}", training["seconds"], f"{training['epochs']} epochs"))
    for path in sorted(folder.glob("reports/*/results/*/*.json")):
        record = json.loads(path.read_text("utf-8"))
        stages = record["run"]["seconds"]
        detail = ", ".join(f"{name} {value:.1f}" for name, value in stages.items())
        jobs.append(
            Job(f"{path.stem} {path.parent.name}", sum(stages.values()), f"{record['status']}: {detail}")
        )
    return jobs


if __name__ == "__main__":
    main()
