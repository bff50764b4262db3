"""The worked example of the documentation does what it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from eval_suite.core.parts import part
from eval_suite.report.collate import collate
from eval_suite.report.compare import TaskComparison
from eval_suite.suite.file import bundled_suites
from tests.training.mixtures import constant_images, context, shares

GUIDE = (Path(__file__).parents[1] / "docs" / "own-regularizer.md").read_text("utf-8")


def block(language: str) -> str:
    """The guide's first block of a language."""
    found = re.search(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    assert found is not None
    return found.group(1)


def test_the_example_mixes_labels_by_area(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(block("python"))
    mixer = part("regularizer", f"{tmp_path}/mine.py:Diagonal")()
    mixed = 0
    for seed in range(10):
        images, targets = mixer.apply(constant_images(5, 16, 24), torch.eye(5).double(), context(seed))
        torch.testing.assert_close(shares(images), targets, rtol=0, atol=1e-6)
        mixed += bool((targets.diagonal() < 1).any())
    assert mixed > 5


@pytest.mark.long
def test_the_examples_row_is_compared_over_tasks(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(block("python"))
    suite = yaml.safe_load(bundled_suites()["smoke"].read_text())
    suite["name"], suite["backbones"] = "mine", {"baseline": {}, **yaml.safe_load(block("yaml"))}
    # The others are run in test_end_to_end, with rows of ours.
    suite["tasks"] = {name: suite["tasks"][name] for name in ("classify", "ood")}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(suite, sort_keys=False))
    ran = subprocess.run(
        [sys.executable, "-m", "eval_suite", "run", "mine.yaml", "--jobs", "2"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    collation = collate(tmp_path / "reports" / "mine")
    for task in suite["tasks"]:
        comparison = TaskComparison(collation, task)
        columns = [comparison.column(metric) for metric in comparison.metrics]
        deltas = [column.cells["diagonal"].delta for column in columns if column is not None]
        assert any(delta is not None for delta in deltas), task
        assert any(delta and delta.interval for delta in deltas), task
    assert "diagonal" in (tmp_path / "reports" / "mine" / "index.html").read_text("utf-8")
