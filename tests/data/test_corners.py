"""Both conventions of a box's corners, and the way from one to the other."""

import numpy as np

from eval_suite.data.corners import Boxes, corner_evidence, look_like_shares, outside


def test_a_box_one_pixel_wide_has_width_one() -> None:
    boxes = Boxes(np.array([[4.0, 2, 4, 9]]), inclusive=True)
    assert boxes.as_edges().tolist() == [[4, 2, 5, 10]]
    assert boxes.as_inclusive().tolist() == [[4, 2, 4, 9]]


def test_there_and_back_is_the_same_box() -> None:
    corners = np.array([[0, 0, 9, 4], [3, 3, 3, 3]], np.float32)
    back = Boxes(Boxes(corners, inclusive=True).as_edges(), inclusive=False).as_inclusive()
    assert np.array_equal(back, corners)
    assert back.dtype == np.float32


def test_a_detection_narrower_than_a_pixel_keeps_its_order_of_corners() -> None:
    assert Boxes(np.array([[4.0, 2, 4.5, 9]]), inclusive=False).as_inclusive().tolist() == [[4, 2, 4, 8]]


def test_no_boxes() -> None:
    assert Boxes(np.zeros((0, 4)), inclusive=False).as_inclusive().shape == (0, 4)


def test_narrow_boxes_are_those_of_one_pixel() -> None:
    corners = np.array([[4.0, 2, 4, 9], [4, 2, 5, 9], [0, 7, 9, 7]])
    assert Boxes(corners, inclusive=True).narrow().tolist() == [True, False, True]


SIZES = np.array([[100, 80]] * 4)
PIXELS = np.array([[10, 10, 20, 20], [60, 50, 30, 20], [0, 0, 100, 80], [70, 60, 25, 15]], float)


def test_corners_are_told_from_widths() -> None:
    corners = np.hstack([PIXELS[:, :2], PIXELS[:, :2] + PIXELS[:, 2:]])
    assert corner_evidence(corners, SIZES).are_corners
    assert not corner_evidence(PIXELS, SIZES).are_corners
    assert not corner_evidence(np.zeros((0, 4)), np.zeros((0, 2), np.int64)).are_corners


def test_a_box_that_reaches_a_little_outside_is_no_corner() -> None:
    assert not corner_evidence(np.array([[10.0, 10, 93, 72]]), SIZES[:1]).are_corners


def test_a_few_boxes_that_are_not_clipped_or_inverted_change_nothing() -> None:
    corners = np.hstack([PIXELS[:, :2], PIXELS[:, :2] + PIXELS[:, 2:]])
    many, sizes = np.tile(corners, (25, 1)), np.tile(SIZES, (25, 1))
    many[:8] = [60, 50, 140, 90]  # outside in both readings
    many[8] = [60, 50, 20, 20]  # within as x, y, width, height alone
    evidence = corner_evidence(many, sizes)
    assert evidence.widths == 1
    assert (evidence.are_corners, evidence.contradictory, evidence.doubtful) == (True, False, False)
    widths = np.tile(PIXELS, (25, 1))
    widths[:3] = [60, 50, 80, 70]  # as corners alone
    evidence = corner_evidence(widths, sizes)
    assert evidence.corners == 3
    assert (evidence.are_corners, evidence.contradictory, evidence.doubtful) == (False, False, False)


def test_readings_that_are_not_clearly_apart() -> None:
    both, sizes = np.array([[60, 50, 90, 70]] * 6 + [[60, 50, 30, 20]] * 2, float), np.tile(SIZES, (2, 1))
    assert corner_evidence(both, sizes).contradictory
    assert not corner_evidence(both, sizes).are_corners
    both[2:] = [60, 50, 30, 20]
    assert corner_evidence(both, sizes).doubtful
    assert not corner_evidence(both, sizes).contradictory


def test_shares_and_boxes_outside() -> None:
    assert look_like_shares(PIXELS / 100, SIZES)
    assert not look_like_shares(PIXELS, SIZES)
    assert not look_like_shares(np.ones((1, 4)), np.array([[4, 4]]))
    corners = np.array([[100, 0, 110, 5], [-9, 0, -1, 5], [0, 0, 5, 5], [99.5, 79, 120, 90]], float)
    assert outside(corners, SIZES).tolist() == [True, True, False, False]
