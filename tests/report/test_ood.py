"""The section on out-of-distribution detection: what is shown, what is left to the files, and the paper's numbers."""

import html
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from eval_suite.core.predictions import About
from eval_suite.report.collate import collate
from eval_suite.report.compare import TaskComparison
from eval_suite.report.findings import finding
from eval_suite.report.printed import published_numbers
from eval_suite.report.render import write_report
from eval_suite.report.section import headline_columns
from eval_suite.tasks.external import score_file
from eval_suite.tasks.ood.predictions import Outliers, Predictions, write_predictions
from eval_suite.tasks.ood.report import SECTION
from eval_suite.tasks.ood.task import OodTask
from tests.report.fake_suite import FakeSuite

SETS = {"svhn": False, "uniform": True}
PAPER = "CutMix paper, Table 12"


def add(suite: FakeSuite, backbone: str, gap: float, tmp_path: Path) -> None:
    """A record made by the task's own scoring of made-up logits, those of outliers smaller by a gap."""

    def logits(n: int, scale: float) -> NDArray[np.float32]:
        return (scale * np.random.default_rng(0).normal(size=(n, 5))).astype(np.float32)

    def scores(given: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
        exact = np.exp(given.astype(float))
        return {"max-softmax": exact.max(axis=1) / exact.sum(axis=1), "energy": np.log(exact.sum(axis=1))}

    known = logits(100, 4)
    outliers = {
        name: Outliers([], scores(logits(40, 4 - gap)), None, noise, About(name, "all", 40, "", []))
        for name, noise in SETS.items()
    }
    ids = [f"i{i}" for i in range(100)]
    labels = known.argmax(axis=1)
    about = About("demo", "val", 100, "d" * 64, [])
    path = tmp_path / f"{backbone}.npz"
    write_predictions(path, Predictions(ids, scores(known), known, labels, [], about, outliers, {}))
    found = score_file(OodTask(), path, None, None)
    record = suite.add(
        backbone, task="ood", metrics=found.metrics, curves=found.curves, data=found.data, outcomes=True
    )
    found.write_items(record.parent / "ood")


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> FakeSuite:
    folder = tmp_path_factory.mktemp("ood")
    made = FakeSuite(folder / "reports" / "fake")
    made.describe(name="table12", baseline="baseline", backbones=["baseline", "cutmix"], tasks=["ood"])
    add(made, "baseline", 1.0, folder)
    add(made, "cutmix", 3.0, folder)
    return made


@pytest.fixture(scope="module")
def page(suite: FakeSuite) -> str:
    return write_report(suite.folder).index.read_text("utf-8")


def test_every_rate_of_the_headline_is_tested(suite: FakeSuite) -> None:
    comparison = TaskComparison(collate(suite.folder), "ood")
    verdicts = {}
    for column in headline_columns(SECTION, comparison):
        delta = column.cells["cutmix"].delta
        assert delta is not None
        verdicts[column.metric] = delta.verdict
    assert verdicts == {
        "AUROC, max softmax, without noise": "better",
        "TNR@TPR95 (ID positive), max softmax, without noise": "better",
        "Detection accuracy, max softmax, without noise": "better",
    }


def test_a_score_of_another_tool_has_a_finding(tmp_path: Path) -> None:
    made = FakeSuite(tmp_path / "reports" / "fake")
    for name in "ab":
        add(made, name, 1.0, tmp_path)
        path = made.folder / "results" / f"{name}-s0" / "ood.json"
        path.write_text(path.read_text().replace("max-softmax", "theirs"))
    comparison = TaskComparison(collate(made.folder), "ood")
    found = finding(SECTION, comparison)
    assert found is not None
    assert found.metric == headline_columns(SECTION, comparison)[0].metric


def test_charts_compare_scores_and_confidences(suite: FakeSuite) -> None:
    charts = SECTION.charts(TaskComparison(collate(suite.folder), "ood"))
    assert [chart.title for chart in charts] == [
        "AUROC by score function",
        "AUROC by score function, without noise",
        "Confidence on in-distribution images",
        "Confidence on outliers: svhn",
        "Confidence on outliers: uniform",
    ]
    assert charts[0].categories == ["max softmax", "energy"]
    assert [series.backbone for series in charts[0].series] == ["baseline", "cutmix"]


def test_the_papers_score_is_shown_in_full_and_the_others_are_folded(page: str) -> None:
    shown, folded = page.split("more metrics</summary>")
    heads = re.findall(r'<span class="label">\s*(.+?) <span', shown.split("main metrics</span>")[1])
    rates = ["AUROC", "TNR@TPR95 (ID positive)", "Detection accuracy", "FPR95 (OOD positive)"]
    rates += ["AUPR-In (average precision)", "AUPR-Out (average precision)"]
    named = [html.unescape(head).removesuffix(",\u00a0%") for head in heads]
    for rate in rates:
        assert f"{rate}, max softmax" in named
        assert f"{rate}, max softmax, without noise" in named
        assert f"{rate}, max softmax on each of 2 subsets" in page
    table = folded.split("</details>")[0]
    rows = [
        html.unescape(row)
        for row in re.findall(r'<th scope="row">([^<]+)</th>', table.replace(" <span", "</th><span"))
    ]
    assert len(rows) == int(re.findall(r"(\d+) $", shown)[0])
    for rate in rates[1:]:
        assert f"{rate}, energy,\u00a0%" in rows
        assert f"{rate}, energy, without noise,\u00a0%" in rows
    assert not {row.removesuffix(",\u00a0%") for row in rows} & set(named)


def test_the_files_hold_every_metric_on_every_set(page: str, suite: FakeSuite) -> None:
    facts = (suite.folder / "tables" / "task-ood.csv").read_text("utf-8")
    for name in ("AUPR-In (average precision), energy", "FPR95 (OOD positive), max softmax"):
        assert name in facts


def test_the_papers_numbers_stand_beside_ours(page: str) -> None:
    assert PAPER in page
    assert "paper 94.40" in page  # AUROC of CutMix, mean over seven sets
    assert "paper 99.80" in page  # on uniform noise


def test_the_papers_sets_average_to_its_table_12() -> None:
    printed = {(p.backbone, p.id, p.subset): p.value for p in published_numbers() if p.suite == "table12"}
    assert len(printed) == 4 * 3 * 8
    for (backbone, metric, subset), value in printed.items():
        if subset is None:
            each = [v for (b, m, s), v in printed.items() if (b, m) == (backbone, metric) and s]
            assert value == pytest.approx(np.mean(each), abs=0.00051)
