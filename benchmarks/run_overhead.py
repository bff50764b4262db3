"""What `run` costs beside its jobs: planning a suite of many jobs, and running as many that do nothing.

Each job does as little as a shell can. Seconds are the processor's, of this process and of Snakemake's, and on the clock.
"""

import os
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import yaml
from timing import options

from eval_suite.suite.execute import execute
from eval_suite.suite.plan import jobs_to_run, make_plan, write_plan
from eval_suite.suite.suite import load_suite

AIM_PLAN, AIM_JOB = 2.0, 1.0
TASKS = 6


def main() -> None:
    parser = options(__doc__, repeats=1, device=False)
    parser.add_argument("--jobs", type=int, default=300, help="jobs of the suite, about")
    parser.add_argument("--at-once", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        begin, used = time.perf_counter(), processor_seconds()
        plan = make_plan(load_suite(large_suite(arguments.jobs)), threads=1)
        waiting = len(jobs_to_run(plan))
        write_plan(plan)
        report(f"planning {waiting} jobs", begin, used, 1, AIM_PLAN)
        nothing = [replace(job, verb="data", command="true", inputs=job.inputs[:1]) for job in plan.jobs]
        for job in nothing:
            Path(job.product).parent.mkdir(parents=True, exist_ok=True)
            Path(job.product).touch()
        idle = replace(plan, jobs=nothing)
        write_plan(idle)
        begin, used = time.perf_counter(), processor_seconds()
        done = execute(idle, arguments.at_once, say=lambda _line: None).done
        assert len(done) == waiting
        report("running them, each", begin, used, waiting, AIM_JOB)


def large_suite(jobs: int) -> str:
    """A suite file of pretrained backbones with six tasks each."""
    data = {"data": "folder:data"}
    tasks = {
        "classify": data,
        "robustness": data,
        "probe": data,
        "ood": {**data, "outliers": ["uniform"]},
        "wsol": {"data": "cub:data", "fit": {"preset": "none"}},
        "caption": {"data": "coco:data"},
    }
    rows = {f"network-{number}": {"source": "timm:resnet18"} for number in range(-(-jobs // TASKS))}
    suite = {"name": "large", "baseline": "network-0", "seeds": [0], "backbones": rows, "tasks": tasks}
    path = Path("large.yaml")
    path.write_text(yaml.safe_dump(suite))
    return str(path)


def report(what: str, begin: float, used: float, over: int, aim: float) -> None:
    """One line: seconds on the clock and of the processor."""
    wall = (time.perf_counter() - begin) / over
    print(f"{what}: {wall:.2f} s, {(processor_seconds() - used) / over:.2f} of the processor, aim <= {aim:g}")


def processor_seconds() -> float:
    """Of this process and of its children that have ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(spent.ru_utime + spent.ru_stime for spent in both)


if __name__ == "__main__":
    main()
