"""Robustness metrics by hand and against numpy's own trapezoid rule."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval_suite.tasks.robustness.errors import in_none_of, mean_per_item, trapezoid_weights


def test_errors_by_hand() -> None:
    predicted = np.array([[0, 1], [1, 1], [2, 0]])
    assert in_none_of(predicted, np.array([[0], [1], [2]])).tolist() == [
        [False, True],
        [False, False],
        [False, True],
    ]
    both = np.array([[0, 1], [0, 2], [0, 2]])
    assert in_none_of(predicted, both).tolist() == [[False, False], [True, True], [False, False]]
    assert in_none_of(predicted[:, 0], np.array([[0], [0], [0]])).tolist() == [False, True, True]
    assert in_none_of(predicted[:, :, None], both).shape == (3, 2, 1)


def test_areas_by_hand() -> None:
    assert trapezoid_weights(np.array([0, 0.5, 1])).tolist() == [0.25, 0.5, 0.25]
    assert trapezoid_weights(np.array([0, 0.2, 1])).tolist() == pytest.approx([0.1, 0.5, 0.4])
    assert trapezoid_weights(np.array([0.3])).tolist() == [1]
    assert trapezoid_weights(np.array([0.2, 0.4])).tolist() == [0.5, 0.5]
    # A straight line from 0 to 1 encloses one half.
    grid = np.array([0, 0.1, 0.4, 0.75, 1])
    assert grid @ trapezoid_weights(grid) == pytest.approx(0.5)


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=30, unique=True), st.integers(0, 2**32 - 1))
def test_areas_are_those_of_numpy(points: list[int], seed: int) -> None:
    grid = np.sort(points) / 1000
    values = np.random.default_rng(seed).random(len(grid))
    area = np.trapezoid(values, grid) / (grid[-1] - grid[0])
    assert values @ trapezoid_weights(grid) == pytest.approx(area)
    assert np.ones(len(grid)) @ trapezoid_weights(grid) == pytest.approx(1)


def test_the_mean_of_areas_is_the_area_of_the_mean() -> None:
    wrong = np.random.default_rng(0).random((40, 6)) < 0.5
    grid = np.array([0, 0.1, 0.3, 0.6, 0.8, 1])
    areas = wrong @ trapezoid_weights(grid)
    assert areas.mean() == pytest.approx(np.trapezoid(wrong.mean(axis=0), grid))


@pytest.mark.parametrize("grid", [[], [0.5, 0.5], [1, 0]])
def test_a_grid_that_does_not_ascend_is_refused(grid: list[float]) -> None:
    with pytest.raises(ValueError, match="expected an ascending grid"):
        trapezoid_weights(np.array(grid))


def test_means_per_item() -> None:
    found = mean_per_item(np.array([1.0, 0.0, 0.5, 1.0]), np.array([0, 1, 1, 0]), 2)
    assert found is not None
    assert found.tolist() == [1.0, 0.25]
    assert mean_per_item(np.array([1.0, 0.0, 0.5]), np.array([0, 1, 1]), 2) is None
    assert mean_per_item(np.array([1.0, 0.0]), np.array([0, 0]), 2) is None
    assert mean_per_item(np.array([]), np.array([], int), 0) is None
