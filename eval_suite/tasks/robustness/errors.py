"""Which predictions count as errors, and what a curve of them amounts to (numpy only)."""

import numpy as np
from numpy.typing import NDArray


def in_none_of(predicted: NDArray[np.integer], accepted: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Whether a prediction is none of the accepted classes.

    Args:
        predicted: (n, ...) class indices.
        accepted: (n, k) classes that count as right, e.g. the label, or the two classes of a mixed image.

    Returns:
        (n, ...) booleans.
    """
    shape = (len(accepted),) + (1,) * (predicted.ndim - 1)
    right = np.zeros(predicted.shape, bool)
    for column in accepted.T:
        right |= predicted == column.reshape(shape)
    return ~right


def trapezoid_weights(grid: NDArray[np.floating]) -> NDArray[np.float64]:
    """Weights that turn values on a grid into their mean over its range, by the trapezoid rule.

    The area under a curve over [0, 1] is ``values @ weights``; so it also is the mean over items of each item's own
    area, which is what paired comparisons need.

    Args:
        grid: (p,) ascending, at least one point.

    Returns:
        (p,) at least 0, with sum 1; a single point weighs 1.

    Raises:
        ValueError: if the grid is empty or does not ascend.
    """
    grid = np.asarray(grid, np.float64)
    if grid.size == 0 or (np.diff(grid) <= 0).any():
        raise ValueError(f"expected an ascending grid, found {grid.tolist()}")
    if grid.size == 1:
        return np.ones(1)
    gaps = np.diff(grid)
    weights = np.zeros(grid.size)
    weights[:-1] += gaps / 2
    weights[1:] += gaps / 2
    return weights / (grid[-1] - grid[0])


def mean_per_item(
    values: NDArray[np.floating], owner: NDArray[np.integer], items: int
) -> NDArray[np.float64] | None:
    """Mean of the values that belong to each item; None where items own different numbers of them or none.

    Only where all own equally many is the mean over items the mean over values.

    Args:
        values: (m,).
        owner: (m,) positions of items.
        items: number of items.
    """
    counts = np.bincount(owner, minlength=items)
    if items == 0 or counts.min() < 1 or counts.min() != counts.max():
        return None
    return np.bincount(owner, weights=values, minlength=items) / counts
