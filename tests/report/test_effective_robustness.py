"""Effective robustness over the backbones of a report, by hand."""

from math import exp, log

import numpy as np
import pytest

from eval_suite.core.metrics import Bounds, MetricSet
from eval_suite.report.collate import collate
from eval_suite.report.compare import TaskComparison
from eval_suite.tasks.robustness.effective import Line
from eval_suite.tasks.robustness.metrics import EFFECTIVE_ROBUSTNESS, SHIFT, SHIFT_REFERENCE
from eval_suite.tasks.robustness.report import SECTION
from tests.report.fake_suite import FakeSuite


def add(suite: FakeSuite, backbone: str, before: float, after: float, seed: int = 0, n: int = 1000) -> None:
    into = MetricSet()
    into.add(SHIFT, 1 - after, n, {"images": "v2"}, uncertainty=Bounds())
    into.add(SHIFT_REFERENCE, 1 - before, 5 * n, {"images": "v2"}, uncertainty=Bounds())
    suite.add(backbone, seed, task="robustness", outcomes=False, metrics=into.metrics)


def effective(suite: FakeSuite) -> dict[str, float | None]:
    comparison = TaskComparison(collate(suite.folder, None), "robustness", SECTION.derive)
    column = comparison.column(EFFECTIVE_ROBUSTNESS.id(images="v2"))
    return {} if column is None else {name: cell.value for name, cell in column.cells.items()}


def on_the_line(before: float, slope: float = 0.9, intercept: float = -0.5) -> float:
    return 1 / (1 + exp(-(slope * log(before / (1 - before)) + intercept)))


def test_on_the_line_it_is_zero_and_above_it_the_difference(suite: FakeSuite) -> None:
    names = ["baseline", "mixup", "cutout", "cutmix"]
    for name, before in zip(names, (0.5, 0.6, 0.7, 0.8), strict=True):
        add(suite, name, before, on_the_line(before) + (0.05 if name == "cutmix" else 0.0))
    found = effective(suite)
    # cutmix is compared with the line through the three others; those with lines that it pulls up.
    assert found["cutmix"] == pytest.approx(0.05)
    assert all(found[name] != pytest.approx(0.0, abs=1e-4) for name in ("baseline", "mixup", "cutout"))


def test_seeds_of_a_backbone_count_as_one_point(suite: FakeSuite) -> None:
    for name, before in (("baseline", 0.5), ("mixup", 0.6), ("cutout", 0.7), ("cutmix", 0.8)):
        add(suite, name, before, on_the_line(before))
    add(suite, "cutmix", 0.8, on_the_line(0.8) + 0.02, seed=1)
    assert effective(suite)["cutmix"] == pytest.approx(0.01)


def test_fewer_than_three_others_make_no_line(suite: FakeSuite) -> None:
    for name, before in (("baseline", 0.5), ("mixup", 0.6), ("cutmix", 0.8)):
        add(suite, name, before, on_the_line(before))
    assert effective(suite) == {"baseline": None, "mixup": None, "cutmix": None}


def test_the_interval_grows_with_fewer_images(suite: FakeSuite) -> None:
    for name, before in (("baseline", 0.5), ("mixup", 0.6), ("cutout", 0.7), ("cutmix", 0.8)):
        add(suite, name, before, on_the_line(before), n=100 if name == "cutmix" else 10_000)
    comparison = TaskComparison(collate(suite.folder, None), "robustness", SECTION.derive)
    column = comparison.column(EFFECTIVE_ROBUSTNESS.id(images="v2"))
    assert column is not None
    interval = column.cells["cutmix"].interval
    assert interval is not None
    after, slope = on_the_line(0.8), 0.9 * on_the_line(0.8) * (1 - on_the_line(0.8)) / (0.8 * 0.2)
    half = 1.959964 * np.sqrt(after * (1 - after) / 100 + slope**2 * 0.8 * 0.2 / 500)
    assert interval == pytest.approx((-half, half), abs=1e-6)


def test_a_line_is_numpys_least_squares_in_logits() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0.1, 0.9, 8), rng.uniform(0.1, 0.9, 8)
    line = Line.through(list(zip(x.tolist(), y.tolist(), strict=True)))
    assert line is not None
    slope, intercept = np.polyfit(np.log(x / (1 - x)), np.log(y / (1 - y)), 1)
    assert (line.slope, line.intercept) == (pytest.approx(slope), pytest.approx(intercept))
    assert Line.through([(0.5, 0.4)] * 5) is None
    assert Line.through([(0.5, 0.4), (0.6, 0.5), (1.0, 0.9)]) is None
