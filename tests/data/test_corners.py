"""Both conventions of a box's corners, and the way from one to the other."""

import numpy as np

from eval_suite.data.corners import Boxes


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
