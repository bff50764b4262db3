"""The centre Gaussian against centred boxes by hand."""

import numpy as np
import pytest

from eval_suite.tasks.wsol.box_accuracy import threshold_grid
from eval_suite.tasks.wsol.controls import centre_map, centre_metrics
from eval_suite.tasks.wsol.metrics import GT_KNOWN_LOC, MAX_BOX_ACC, MAX_BOX_ACC_V2, TOP1_LOC

SIZE = (64, 64)


def values(boxes: list[list[int]]) -> dict[str, float | None]:
    found = centre_metrics(
        [np.array([box]) for box in boxes],
        SIZE,
        sigma=0.15,
        thresholds=threshold_grid(0.01),
        ious=(0.5,),
    )
    return {metric.id: metric.value for metric in found.metrics}


def test_the_map_is_highest_at_the_centre_and_alike_on_all_sides() -> None:
    found = centre_map((4, 6))
    assert (found.min(), found.max()) == (0, 1)
    np.testing.assert_allclose(found, found[::-1, ::-1], atol=1e-12)
    assert found.argmax() in (8, 9, 14, 15)


def test_centred_boxes_are_found_and_those_in_a_corner_are_not() -> None:
    centred, corner = [16, 16, 47, 47], [0, 0, 9, 9]
    assert values([centred])[MAX_BOX_ACC.key] == 1
    assert values([corner])[MAX_BOX_ACC.key] == 0
    both = values([centred, corner])
    assert both[MAX_BOX_ACC.key] == pytest.approx(0.5)
    assert both[GT_KNOWN_LOC.id(sigma="best")] == pytest.approx(0.5)
    assert both[MAX_BOX_ACC_V2.id(iou="50")] == pytest.approx(0.5)
    assert both[TOP1_LOC.id(sigma="best")] is None
