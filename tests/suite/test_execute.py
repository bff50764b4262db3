"""How a plan is handed to Snakemake."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from eval_suite.core.errors import EvalSuiteError
from eval_suite.core.store import write_json
from eval_suite.suite.execute import _asking, execute, last_line
from eval_suite.suite.plan import _COMMAND, Job, Plan


@pytest.mark.parametrize(("code", "words"), [(0, []), (1, ["--slurm-status-command", "squeue"])])
def test_slurm_is_asked_through_squeue_where_it_keeps_no_accounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: list[str]
) -> None:
    sacct = tmp_path / "sacct"
    sacct.write_text(f"#!/bin/sh\nexit {code}\n")
    sacct.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _asking("slurm") == words
    assert _asking("kubernetes") == []
    sacct.unlink()
    assert _asking("slurm") == []


def plan_of(folder: Path, calls: dict[str, str]) -> Plan:
    """A plan of shell commands, written as `run` writes it."""
    jobs = []
    for name, call in calls.items():
        specification, log = folder / f"{name}.json", folder / f"{name}.log"
        write_json(specification, {})
        command = _COMMAND.format(cwd="/", call=call, log=f"'{log}'")
        product = folder / f"{name}.made"
        product.touch()
        jobs.append(
            Job(
                name,
                "data",
                command,
                [str(specification)],
                str(folder / "done" / name),
                str(product),
                str(log),
                1,
                {},
            )
        )
    suite: Any = None
    calls_written = [
        {
            "name": job.name,
            "command": job.command,
            "inputs": [os.path.relpath(path, folder) for path in job.inputs],
            "stamp": os.path.relpath(job.stamp, folder),
            "threads": 1,
        }
        for job in jobs
    ]
    (folder / "plan.json").write_text(json.dumps({"jobs": calls_written}))
    return Plan(suite, folder, jobs)


def test_odd_names_folders_and_killed_jobs(tmp_path: Path) -> None:
    folder = tmp_path / "a {x} # b: c"
    folder.mkdir()
    calls = {
        "a-b": "true",
        "a_b": "echo well",
        "killed": "sh -c 'kill -9 $$'",
        "wrong": "sh -c 'echo no; exit 2'",
    }
    plan = plan_of(folder, calls)
    outcome = execute(plan, 2, say=lambda _line: None)
    assert {job.name for job in outcome.done} == {"a-b", "a_b"}
    assert {job.name for job in outcome.failed} == {"killed", "wrong"}
    said = {job.name: last_line(Path(job.log)) for job in plan.jobs}
    assert said["wrong"] == "no"
    assert "signal KILL" in said["killed"]


def test_what_snakemake_says_is_passed_on(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, {"a": "true"})
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(EvalSuiteError, match="JSONDecodeError"):
        execute(plan, 1, say=lambda _line: None)
