"""The section of robustness: relative corruption errors by hand, its charts, and its published numbers."""

from typing import Any

import pytest

from eval_suite.core.records import Curve, Metric
from eval_suite.report.collate import SuiteInfo, collate
from eval_suite.report.compare import TaskComparison
from eval_suite.report.printed import published_number
from eval_suite.report.views import task_view
from eval_suite.tasks.robustness.metrics import MCE_TO_BASELINE
from eval_suite.tasks.robustness.report import SECTION
from tests.report.fake_suite import FakeSuite, metric_named

FGSM = "Top-1 error under FGSM (ε=8/255)"


def metric(name: str, value: float, subset: str | None = None) -> Metric:
    return metric_named(name, value, subset=subset)


def add(
    suite: FakeSuite,
    backbone: str,
    errors: dict[str, float],
    seed: int = 0,
    severities: str = "severities 1-5",
) -> None:
    own = [metric(f"Corruption error ({severities})", value, name) for name, value in errors.items()]
    whole = [metric(FGSM, 0.5), metric(f"Mean corruption error (2 corruptions, {severities})", 0.4)]
    curve = Curve(name="Centre occlusion error", x=[0, 1], y=[0.1, 0.9], x_label="x", y_label="y")
    changes: dict[str, Any] = {"metrics": [*whole, *own], "curves": [curve]}
    suite.add(backbone, seed, task="robustness", outcomes=False, **changes)


def relative(suite: FakeSuite, baseline: str | None = None) -> dict[str, float | None]:
    comparison = TaskComparison(collate(suite.folder, baseline), "robustness", SECTION.derive)
    column = comparison.column(MCE_TO_BASELINE.id())
    return {} if column is None else {name: cell.value for name, cell in column.cells.items()}


def test_relative_mce_by_hand(suite: FakeSuite) -> None:
    add(suite, "baseline", {"fog": 0.5, "snow": 0.8})
    add(suite, "cutmix", {"fog": 0.25, "snow": 0.6})
    # CE of fog 0.25/0.5, of snow 0.6/0.8; the mean of ratios, not the ratio of means.
    assert relative(suite) == pytest.approx({"baseline": 1.0, "cutmix": (0.5 + 0.75) / 2})
    assert relative(suite, "cutmix") == pytest.approx({"baseline": (2 + 0.8 / 0.6) / 2, "cutmix": 1.0})


def test_relative_mce_of_errors_among_some_outputs_and_among_all(suite: FakeSuite) -> None:
    """Those among some come first in a record, and only they count."""
    for backbone, among, every in (("baseline", 0.5, 0.9), ("cutmix", 0.25, 0.9)):
        errors = [
            metric("Corruption error (severities 1-5)", value, "fog").model_copy(
                update={"params": {"severities": "1-5", "outputs": outputs}}
            )
            for outputs, value in ((10, among), (1000, every))
        ]
        suite.add(backbone, 0, task="robustness", outcomes=False, metrics=errors)
    assert relative(suite) == pytest.approx({"baseline": 1.0, "cutmix": 0.5})


def test_relative_mce_needs_the_same_corruptions_and_severities(suite: FakeSuite) -> None:
    add(suite, "baseline", {"fog": 0.5, "snow": 0.8})
    add(suite, "cutmix", {"fog": 0.25})
    add(suite, "mixup", {"fog": 0.25, "snow": 0.6}, severities="severity 3")
    add(suite, "cutout", {})
    assert relative(suite) == {"baseline": 1.0, "cutmix": None, "mixup": None, "cutout": None}


def test_relative_mce_over_seeds_divides_by_the_baselines_own_or_only_seed(suite: FakeSuite) -> None:
    add(suite, "baseline", {"fog": 0.5}, seed=0)
    add(suite, "cutmix", {"fog": 0.25}, seed=0)
    add(suite, "cutmix", {"fog": 0.5}, seed=1)
    assert relative(suite) == pytest.approx({"baseline": 1.0, "cutmix": 0.75})
    add(suite, "baseline", {"fog": 1.0}, seed=1)
    assert relative(suite) == pytest.approx({"baseline": 1.0, "cutmix": 0.5})


def test_a_perfect_baseline_gives_a_reason(suite: FakeSuite) -> None:
    add(suite, "baseline", {"fog": 0.0})
    add(suite, "cutmix", {"fog": 0.1})
    comparison = TaskComparison(collate(suite.folder), "robustness", SECTION.derive)
    column = comparison.column(MCE_TO_BASELINE.id())
    assert column is not None
    assert column.cells["cutmix"].remarks == ("no value (the baseline makes no error under fog)",)


def test_without_corruptions_there_is_no_such_column(suite: FakeSuite) -> None:
    add(suite, "baseline", {})
    assert relative(suite) == {}


def test_the_section_draws_its_curves_and_corruptions(suite: FakeSuite) -> None:
    add(suite, "baseline", {"fog": 0.5, "jpeg_compression": 0.8})
    add(suite, "cutmix", {"fog": 0.25, "jpeg_compression": 0.6})
    comparison = TaskComparison(collate(suite.folder), "robustness", SECTION.derive)
    charts = SECTION.charts(comparison)
    assert [chart.title for chart in charts] == [
        "Centre occlusion error",
        "Corruption error (severities 1-5)",
    ]
    assert all(chart.percent for chart in charts)
    assert charts[1].categories == ["fog", "jpeg compression"]
    assert [series.y for series in charts[1].series] == [[0.5, 0.8], [0.25, 0.6]]
    heads = [row.head.metric for row in task_view(SECTION, comparison, {}, [], "k").matrix.groups[0].rows]
    assert heads[-1] == MCE_TO_BASELINE.name({})


@pytest.mark.parametrize(
    ("backbone", "accuracy"), [("baseline", 8.2), ("mixup", 24.4), ("cutout", 11.5), ("cutmix", 31.0)]
)
def test_table_11_is_printed_as_accuracy_and_shown_as_error(backbone: str, accuracy: float) -> None:
    found = published_number(
        SuiteInfo(name="table11"), backbone, "robustness", "fgsm_error", {"epsilon": "8/255"}
    )
    assert found is not None
    assert 100 * (1 - found.value) == pytest.approx(accuracy)
    assert str(accuracy) in found.note
