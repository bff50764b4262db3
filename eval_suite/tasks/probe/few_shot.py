"""Which training images a probe learns from: shares of each class, drawn by a seed (numpy only)."""

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.runtime import derive_seed

_DRAW = 0x9B0BE1
_VALIDATION = 0x9B0BE2


def drawn(labels: NDArray[np.integer], fraction: float, seed: int) -> NDArray[np.int64]:
    """Places of a share of each class's items, rounded, and of one item at least; sorted.

    Those of a smaller share are among those of a larger one.

    Args:
        labels: (n,) classes.
        fraction: the share, in (0, 1].
        seed: decides which.

    Example:
        >>> drawn(np.array([0, 0, 0, 0, 1, 1]), 0.5, seed=0).tolist()
        [1, 2, 5]
    """
    return np.sort(np.concatenate([part for part, _ in _divided(labels, fraction, seed, _DRAW, fewest=1)]))


def validation_split(
    labels: NDArray[np.integer], fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places to fit to and places to validate on, a share of each class; of a class the last item is never taken away.

    Args:
        labels: (n,) classes.
        fraction: share to validate on, in (0, 1); at least one item of a class that has two.
        seed: decides which.
    """
    pairs = _divided(labels, 1 - fraction, seed, _VALIDATION, fewest=1, spare=1)
    fitted, validated = (np.sort(np.concatenate(parts)) for parts in zip(*pairs, strict=True))
    return fitted, validated


def _divided(
    labels: NDArray[np.integer], fraction: float, seed: int, purpose: int, *, fewest: int, spare: int = 0
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Of each class the places of a share, at least ``fewest`` and leaving ``spare`` where there are enough, and the rest."""
    pairs = []
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        shuffled = np.random.default_rng(derive_seed(seed, int(label), purpose)).permutation(places)
        count = max(fewest, min(round(fraction * len(places)), len(places) - spare))
        pairs.append((shuffled[:count], shuffled[count:]))
    return pairs
