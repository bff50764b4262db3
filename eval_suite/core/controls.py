"""What trivial methods reach on the same items, to hold numbers against (numpy only)."""

import numpy as np
from numpy.typing import NDArray

CHANCE = "chance"
MOST_FREQUENT = "most frequent class"


def guessing(labels: NDArray[np.integer], classes: int, k: int = 1) -> dict[str, float]:
    """The top-k error of drawing classes evenly, and of always naming the k classes that most of the items have.

    Args:
        labels: (n,) true classes of the items.
        classes: how many can be named.
        k: how many guesses.

    Example:
        >>> guessing(np.array([0, 0, 0, 1]), classes=5)
        {'chance': 0.8, 'most frequent class': 0.25}
    """
    counts = np.sort(np.bincount(labels, minlength=classes))[::-1]
    return {CHANCE: 1 - min(k, classes) / classes, MOST_FREQUENT: float(1 - counts[:k].sum() / len(labels))}
