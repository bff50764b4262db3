"""Detection on a set and on its resamples: each item comes as often in the resamples of one score as in those of another."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.runtime import derive_seed
from eval_suite.tasks.ood.predictions import Predictions
from eval_suite.tasks.ood.rates import Detection, Ranking, detection_from_counts, rank

RESAMPLES = 500
_PER_CHUNK = 1_000_000
_RESAMPLING = 0x00D201  # purpose of `derive_seed`


class Measured(NamedTuple):
    """One set's six metrics, (resamples,) of each, and the numbers of in-distribution items and outliers."""

    value: Detection
    resampled: Detection
    known: int
    outliers: int


class Draws:
    """How often each item comes in each resample: (resamples, n), the same for every score."""

    def __init__(self, found: Predictions) -> None:
        first = next(iter(found.scores))
        self.known = _draw(len(found.scores[first]), 0)
        self.outliers = {
            name: _draw(len(each.scores[first]), number)
            for number, (name, each) in enumerate(found.outliers.items(), start=1)
        }


def _draw(items: int, number: int) -> NDArray[np.uint16]:
    rng = np.random.default_rng(derive_seed(number, _RESAMPLING))
    counts = np.empty((RESAMPLES, items), np.uint16)
    for row in counts:
        row[:] = np.bincount(rng.integers(0, items, items), minlength=items)
    return counts


def measured_on(found: Predictions, draws: Draws, name: str, score: str) -> Measured:
    """The six metrics of a score on an outlier set, and on each resample of it and of the in-distribution items."""
    ranking = rank(found.scores[score], found.outliers[name].scores[score])
    value = detection_from_counts(ranking.known_above, ranking.outliers_above)
    known, outliers = draws.known, draws.outliers[name]
    n, m = known.shape[1], outliers.shape[1]
    rows = max(1, _PER_CHUNK // (n + m))
    parts = [
        _resampled(ranking, known[start : start + rows], outliers[start : start + rows])
        for start in range(0, RESAMPLES, rows)
    ]
    return Measured(value, Detection(*map(np.concatenate, zip(*parts, strict=True))), n, m)


def _resampled(ranking: Ranking, known: NDArray[np.uint16], outliers: NDArray[np.uint16]) -> Detection:
    """The metrics of resamples, from how often each item comes: no sorting again."""
    return detection_from_counts(
        _running(known[:, ranking.known_order])[:, ranking.known_above],
        _running(outliers[:, ranking.outlier_order])[:, ranking.outliers_above],
    )


def _running(counts: NDArray[np.uint16]) -> NDArray[np.int64]:
    total = np.zeros((counts.shape[0], counts.shape[1] + 1), np.int64)
    np.cumsum(counts, axis=1, out=total[:, 1:])
    return total
