"""Intervals and paired comparisons over per-item outcomes (numpy and scipy only)."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_ENTRIES_AT_ONCE = 8_000_000
_ENTRIES_KEPT = 200_000_000
# From here on a metric that takes few values, such as an error, is resampled by its values.
_MANY_ITEMS, _FEW_VALUES = 10_000, 100
_ROUNDING = 1e-12
_ITEMS_AT_ONCE = 4096


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
    return _percentiles(
        _resampled_means(np.asarray(values, float)[:, None], resamples, seed)[:, 0], confidence
    )


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
    return mean_differences([a - b], confidence=confidence, resamples=resamples, seed=seed)[0]


def mean_differences(
    differences: Sequence[NDArray[np.floating]],
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> list[PairedDifference]:
    """`paired_difference` of many pairs; those over equally many items are resampled together, which is far faster.

    Args:
        differences: of each pair, (n,) differences of its items, n >= 1.
        confidence: coverage in (0, 1).
        resamples: number of bootstrap samples.
        seed: seed of the resampling.

    Returns:
        For each pair what it has alone.
    """
    intervals: dict[int, Interval] = {}
    for n in {len(each) for each in differences}:
        places = [place for place, each in enumerate(differences) if len(each) == n]
        means = _resampled_means(np.stack([differences[place] for place in places], axis=1), resamples, seed)
        for place, resampled in zip(places, means.T, strict=True):
            intervals[place] = _percentiles(resampled, confidence)
    return [
        PairedDifference(float(each.mean()), intervals[place], len(each))
        for place, each in enumerate(differences)
    ]


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
    own, rivals = logits[np.arange(len(labels)), labels], np.empty(len(labels), np.int64)
    for first in range(0, len(labels), _ITEMS_AT_ONCE):
        items = slice(first, first + _ITEMS_AT_ONCE)
        rivals[items] = (logits[items] >= own[items, None]).sum(axis=1) - 1
    return (rivals < k) & ~np.isnan(own)


def _normal_quantile(probability: float) -> float:
    from scipy.special import ndtri  # slow to import, and neither help nor the report needs it

    return float(ndtri(probability))


def _resampled_means(values: NDArray[np.floating], resamples: int, seed: int) -> NDArray[np.float64]:
    """Means (resamples, m) of bootstrap samples of n items with m values each."""
    n = len(values)
    if n <= _MANY_ITEMS:
        return _means_by_item(values, resamples, seed)
    means = np.empty((resamples, values.shape[1]))
    rest = []
    for place, column in enumerate(values.T):
        distinct, times = np.unique(column, return_counts=True)
        if len(distinct) <= _FEW_VALUES:
            # How often each value is in a sample follows a multinomial, which need not know of the items.
            drawn = np.random.default_rng(seed).multinomial(n, times / n, size=resamples)
            means[:, place] = drawn @ distinct / n
        else:
            rest.append(place)
    if rest:
        # Single precision halves the time; of distances to the mean its rounding is nothing to the interval's width.
        middle = values[:, rest].mean(axis=0)
        means[:, rest] = middle + _means_by_item(
            (values[:, rest] - middle).astype(np.float32), resamples, seed
        )
    return means


def _means_by_item(values: NDArray[np.floating], resamples: int, seed: int) -> NDArray[np.float64]:
    draw = _kept_counts if len(values) * resamples <= _ENTRIES_KEPT else _counts
    # A product with the counts instead of a sum over the chosen: many values of an item cost hardly more than one.
    sums = [counts.astype(values.dtype) @ values for counts in draw(len(values), resamples, seed)]
    return np.concatenate(sums).astype(np.float64) / len(values)


def _counts(n: int, resamples: int, seed: int) -> Iterator[NDArray[np.uint8]]:
    """How often each of n items is in each bootstrap sample, (a few samples, n) at a time."""
    rng = np.random.default_rng(seed)
    at_once = max(1, _ENTRIES_AT_ONCE // n)
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        places = rng.integers(0, n, size=(rows, n)) + n * np.arange(rows)[:, None]
        # No count of a sample of many items comes near 255, and with few it cannot.
        yield np.bincount(places.ravel(), minlength=rows * n).reshape(rows, n).astype(np.uint8)


@lru_cache(maxsize=1)
def _kept_counts(n: int, resamples: int, seed: int) -> list[NDArray[np.uint8]]:
    """The same, kept for the next metric over as many items."""
    return list(_counts(n, resamples, seed))


def _percentiles(values: NDArray[np.floating], confidence: float) -> Interval:
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(float(low), float(high))
