"""Charts: what stands in them besides the curves."""

import re

import pytest

from eval_suite.report.figures import draw
from eval_suite.report.palette import styles_of
from eval_suite.report.section import Chart, Series


@pytest.mark.parametrize(
    ("levels", "named", "lines"),
    [
        ({"chance": 0.6, "most frequent class": 0.6}, ["chance, most frequent class"], 1),
        ({"chance": 0.6, "most frequent class": 0.5}, ["chance", "most frequent class"], 2),
        ({"chance": 0.99, "rare class": 0.98}, ["chance: 99, above; rare class: 98, above"], 0),
        ({"chance": 0.6, "noise": -1.0}, ["chance", "noise: -100, below"], 1),
    ],
)
def test_levels_are_named_once_each_and_far_ones_at_the_edge(
    levels: dict[str, float], named: list[str], lines: int
) -> None:
    series = Series("baseline", [0, 1, 2], [0.2, 0.3, 0.25])
    chart = Chart("Error", "share", "top-1 error", [series], percent=True, levels=levels)
    svg = draw(chart, styles_of(["baseline"], "baseline"), "a").svg
    assert [text for text in re.findall(r">([^<>]*)</text>", svg) if any(n in text for n in levels)] == named
    # Each line is a dotted path of its own, as those of the grid are not.
    assert len(re.findall(r"stroke-dasharray: 0\.8", svg)) == lines
