"""Intervals and paired comparisons over per-item outcomes (numpy and scipy only)."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_RESAMPLE_BUDGET = 20_000_000
_ROUNDING = 1e-12


class Interval(NamedTuple):
    """A two-sided interval."""

    low: float
    high: float

    @property
    def degenerate(self) -> bool:
        """Whether it has no width but for rounding: the sample says nothing of how far the value may be off."""
        return self.high - self.low < _ROUNDING


class PairedDifference(NamedTuple):
    """Mean of ``a - b`` over the same items, with its bootstrap interval."""

    difference: float
    interval: Interval
    n: int

    @property
    def tied(self) -> bool:
        """Whether the interval contains 0."""
        return self.interval.low <= 0.0 <= self.interval.high


def wilson_interval(successes: float, n: int, confidence: float = 0.95) -> Interval:
    """Wilson score interval of a binomial proportion, without continuity correction.

    Args:
        successes: number of successes, 0 <= successes <= n; a fraction where items succeed in part.
        n: number of trials, at least 1.
        confidence: coverage in (0, 1).

    Returns:
        Bounds in [0, 1]; they never leave it, also at 0 or n successes.

    Raises:
        ValueError: if the counts are not 0 <= successes <= n with n >= 1.

    Reference: Wilson, JASA 1927; Brown, Cai and DasGupta, Statistical Science 2001, eq. 4.
    """
    if not (n >= 1 and 0 <= successes <= n):
        raise ValueError(f"expected 0 <= successes <= n and n >= 1, found {successes} of {n}")
    z = _normal_quantile(0.5 + confidence / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    low = 0.0 if successes == 0 else max(0.0, float(centre - half))
    high = 1.0 if successes == n else min(1.0, float(centre + half))
    return Interval(low, high)


def bootstrap_normal(
    statistic: Callable[[NDArray[np.intp]], float],
    n: int,
    *,
    bounds: Interval,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Normal interval with the bootstrap's standard error, for statistics that resampling biases.

    A calibration error of a resample is larger than that of the sample, so its percentiles can miss the very value
    they are to bound; its spread is still right.

    Args:
        statistic: maps (n,) item indices to a number.
        n: number of items, at least 1.
        bounds: the statistic's range; the interval is cut to it.
        confidence: coverage in (0, 1).
        resamples: number of bootstrap samples.
        seed: seed of the resampling.

    Reference: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 12.
    """
    rng = np.random.default_rng(seed)
    error = np.std([statistic(rng.integers(0, n, size=n)) for _ in range(resamples)], ddof=1)
    value = statistic(np.arange(n))
    half = _normal_quantile(0.5 + confidence / 2) * float(error)
    return Interval(max(bounds.low, value - half), min(bounds.high, value + half))


def bootstrap_mean(
    values: NDArray[np.floating], *, confidence: float = 0.95, resamples: int = 1000, seed: int = 0
) -> Interval:
    """Percentile bootstrap interval of the mean of (n,) per-item values."""
    return _percentiles(_resampled_means(np.asarray(values, float), resamples, seed), confidence)


def paired_difference(
    a: NDArray[np.floating],
    b: NDArray[np.floating],
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> PairedDifference:
    """Mean difference ``a - b`` over the same items, with a paired percentile bootstrap.

    Args:
        a: (n,) per-item outcomes of one model.
        b: (n,) per-item outcomes of the other on the same items in the same order.
        confidence: coverage in (0, 1).
        resamples: number of bootstrap samples.
        seed: seed of the resampling.

    Raises:
        ValueError: if the two are not equally long and non-empty.

    Reference: Efron and Tibshirani, 1993, ch. 13; pairs as in Koehn, EMNLP 2004.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.shape != b.shape or a.ndim != 1 or a.size == 0:
        raise ValueError(f"expected two equally long lists of outcomes, found {a.shape} and {b.shape}")
    difference = a - b
    interval = _percentiles(_resampled_means(difference, resamples, seed), confidence)
    return PairedDifference(float(difference.mean()), interval, a.size)


def topk_correct(logits: NDArray[np.floating], labels: NDArray[np.integer], k: int) -> NDArray[np.bool_]:
    """Whether the label is among the k highest logits; ties count against the model.

    Args:
        logits: (n, classes).
        labels: (n,) class indices.
        k: how many guesses; at or above the number of classes every item is correct.

    Returns:
        (n,) booleans. An item is correct when fewer than k *other* classes score at or above the label's
        logit, so a constant output earns nothing and a NaN logit of the label is never correct.
    """
    own = logits[np.arange(len(labels)), labels]
    rivals = (logits >= own[:, None]).sum(axis=1) - 1
    return (rivals < k) & ~np.isnan(own)


def _normal_quantile(probability: float) -> float:
    from scipy.special import ndtri  # slow to import, and neither help nor the report needs it

    return float(ndtri(probability))


def _resampled_means(values: NDArray[np.floating], resamples: int, seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    chunk = max(1, _RESAMPLE_BUDGET // max(1, values.size))
    means = [
        values[rng.integers(0, values.size, size=(min(chunk, resamples - start), values.size))].mean(1)
        for start in range(0, resamples, chunk)
    ]
    return np.concatenate(means)


def _percentiles(values: NDArray[np.floating], confidence: float) -> Interval:
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(float(low), float(high))
