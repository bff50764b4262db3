"""The section on detection: a line for every backbone, also for one that finds nothing."""

import numpy as np
import pytest

from eval_suite.core.records import Curve
from eval_suite.report.collate import collate
from eval_suite.report.compare import TaskComparison
from eval_suite.report.render import write_report
from eval_suite.report.section import headline_columns
from eval_suite.tasks.detect.report import SECTION
from tests.report.fake_suite import FakeSuite, metric_named

NAME = "SSD precision-recall (mean over classes)"
MAP = "SSD mAP (VOC07 11-point, no +1)"


def add(suite: FakeSuite, backbone: str, heights: list[float], **uncertain: object) -> None:
    curve = Curve(
        name=NAME,
        x=(np.arange(101) / 100).tolist(),
        y=[*heights, *[0.0] * (101 - len(heights))],
        x_label="recall",
        y_label="interpolated precision",
    )
    metric = metric_named(MAP, sum(heights) / 101, higher_is_better=True, **uncertain)
    suite.add(backbone, task="detect", curves=[curve], metrics=[metric], outcomes=False)


@pytest.fixture
def detected(suite: FakeSuite) -> FakeSuite:
    suite.describe(baseline="baseline", backbones=["baseline", "mixup"], tasks=["detect"], seeds=[0])
    add(suite, "baseline", [0.9] * 71, interval=(0.5, 0.7), method="bootstrap")
    add(suite, "mixup", [], reason="every resample of the items gives the same value")
    return suite


def test_curves_are_drawn_to_the_end_of_the_recall(detected: FakeSuite) -> None:
    (chart,) = SECTION.charts(TaskComparison(collate(detected.folder), "detect"))
    assert (chart.title, chart.limits) == (NAME, (0.0, 1.0))
    lines = {line.backbone: line for line in chart.series}
    assert (lines["baseline"].y[70], lines["baseline"].y[71]) == (0.9, 0.0)
    assert lines["mixup"].y == [0.0] * 101
    assert all(line.x[-1] == 1.0 for line in lines.values())


def test_a_map_of_zero_stands_without_an_interval_and_says_why(detected: FakeSuite) -> None:
    page = write_report(detected.folder).index.read_text("utf-8")
    assert "counts as 0 beyond the share of its objects that is found" in page
    assert "no interval (every resample of the items gives the same value)" in page
    assert "[0.00, 0.00]" not in page


@pytest.mark.parametrize(
    ("maps", "expected"),
    [
        ([MAP, "SSD mAP (area, +1)"], ["map"]),  # VOC: the paper's number alone
        (["SSD mAP (area, no +1)"], ["coco_ap", "map"]),
    ],
)
def test_the_overview_has_cocos_ap_of_boxes_in_cocos_format(
    suite: FakeSuite, maps: list[str], expected: list[str]
) -> None:
    suite.describe(baseline="baseline", backbones=["baseline"], tasks=["detect"], seeds=[0])
    names = ["SSD COCO AP (IoU 0.50:0.95)", *maps]
    metrics = [metric_named(name, 0.5, higher_is_better=True) for name in names]
    suite.add("baseline", task="detect", metrics=metrics, outcomes=False)
    comparison = TaskComparison(collate(suite.folder), "detect")
    assert [column.sample.key for column in headline_columns(SECTION, comparison)] == expected
