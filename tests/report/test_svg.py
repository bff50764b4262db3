"""Drawings as the page holds them: the same lines in fewer bytes."""

import re

import pytest

from eval_suite.report.figures import Trace, TrainingPanels
from eval_suite.report.palette import styles_of
from eval_suite.report.svg import path_data, svg_for_page

STYLES = styles_of(["baseline", "cutmix", "mixup"], "baseline")


@pytest.mark.parametrize(
    ("commands", "compact"),
    [
        ("M 1 2 L 3.456 1 L 3.456 1 L -1 0.5", "M1 2l2.46-1 0 0-4.46-.5"),
        ("M 0.001 0 L 0.004 0.006 L 0.009 0.01\nM 10 -4 L 5 5", "M0 0l0 .01 .01 0M10-4l-5 9"),
        ("M 1.23456 2 C 3.4 4 4.44444 5 6 0.126 z", "M 1.23 2 C 3.4 4 4.44 5 6 .13 z"),
    ],
)
def test_lines_are_steps_in_hundredths_of_a_point(commands: str, compact: str) -> None:
    assert path_data(commands) == compact


def test_steps_lead_to_every_point_without_adding_up_their_rounding() -> None:
    points = [(7.0037 * step, 100 / (1 + step)) for step in range(500)]
    compact = path_data("M " + " L ".join(f"{x:.6f} {y:.6f}" for x, y in points))
    steps = [float(number) for number in re.findall(r"-?\d*\.?\d+", compact)]
    x, y = sum(steps[::2]), sum(steps[1::2])
    assert (x, y) == pytest.approx(points[-1], abs=0.006)


def test_what_repeats_stands_once() -> None:
    use = '<use xlink:href="#m{0}" x="{0}.5" y="1.2512" style="fill: #0068b5; stroke: #0068b5"/>'
    marker = '<defs><path id="m{0}" d="M 0 0 L 1 1 z" style="stroke: #0068b5"/></defs>'
    source = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 9 9" width="9pt">'
        f'<metadata>x</metadata><g id="axes_1"><g id="series-1">{marker.format(1)}{marker.format(2)}'
        f'<g clip-path="url(#p1)">{use.format(1)}{use.format(2)}</g></g><g id="line"><g/></g></g>'
        '<defs><clipPath id="p1"><rect x="0" y="0"/></clipPath></defs></svg>'
    )
    assert svg_for_page(source, "k", "A chart") == (
        '<svg viewBox="0 0 9 9" role="img" aria-label="A chart"><defs><path id="k-1" d="M 0 0 L 1 1 z"/></defs>'
        '<g clip-path="url(#k-0)" style="fill: var(--s1); stroke: var(--s1)" data-b="1">'
        '<use href="#k-1" x="1.5" y="1.25"/><use href="#k-1" x="2.5" y="1.25"/></g>'
        '<defs><clipPath id="k-0"><rect x="0" y="0"/></clipPath></defs></svg>'
    )


def test_trainings_of_the_same_axes_refer_to_those_of_the_first() -> None:
    panels = TrainingPanels({"Error": (0.0, 10.0)})
    long, short = [Trace([1, 2, 3], [9, 5, 1])], [Trace([1, 2], [9, 5])]
    first, same, other = (
        panels.draw({"Error": traces}, STYLES[name], name).svg
        for name, traces in zip(STYLES, (long, long, short), strict=True)
    )
    assert first.count('id="baseline-axes"') == 1
    assert first.count("epoch</text>") == other.count("epoch</text>") == 1
    assert same.endswith('<use href="#baseline-axes"/></svg>')
    assert "<text" not in same
    assert 'id="mixup-axes"' in other
    # The lines are the same but for their colour and ids.
    drawn = [svg.split('<g id="')[0].split('<use href="#baseline-axes')[0] for svg in (first, same)]
    paths = [re.findall(r'd="(M[^"z]+)"', svg) for svg in drawn]
    assert paths[0]
    assert paths[0] == paths[1]
