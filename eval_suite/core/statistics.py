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
    resampled = bootstrap_values(statistic, n, resamples=resamples, seed=seed)
    return normal_interval(statistic(np.arange(n)), resampled, bounds=bounds, confidence=confidence)


def bootstrap_values(
    statistic: Callable[[NDArray[np.intp]], float | NDArray[np.float64]],
    n: int,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> NDArray[np.float64]:
    """A statistic of (n,) item indices, or several, on bootstrap samples: (resamples, ...), of the same items for any statistic."""
    rng = np.random.default_rng(seed)
    return np.array([statistic(rng.integers(0, n, size=n)) for _ in range(resamples)])


def normal_interval(
    value: float,
    resampled: NDArray[np.floating],
    *,
    bounds: Interval = Interval(-np.inf, np.inf),  # noqa: B008 - immutable
    confidence: float = 0.95,
) -> Interval:
    """Normal interval around a value, as wide as its (resamples,) bootstrap values spread, cut to the bounds."""
    half = _normal_quantile(0.5 + confidence / 2) * float(np.std(resampled, ddof=1))
    return Interval(max(bounds.low, value - half), min(bounds.high, value + half))


def resampled_difference(
    difference: float, a: NDArray[np.floating], b: NDArray[np.floating], n: int
) -> PairedDifference:
    """A difference of two statistics of the same items that are no means over them, with a paired bootstrap.

    Args:
        difference: of the two, the second taken from the first.
        a: (resamples,) the first on bootstrap samples of the items.
        b: (resamples,) the second on the same samples.
        n: number of items.

    Reference: Efron and Tibshirani, 1993, ch. 13; the interval is normal, as that of `bootstrap_normal`.
    """
    return PairedDifference(difference, normal_interval(difference, np.asarray(a, float) - b), n)


def bootstrap_mean(
    values: NDArray[np.floating], *, confidence: float = 0.95, resamples: int = 1000, seed: int = 0
) -> Interval:
    """Percentile bootstrap interval of the mean of (n,) per-item values."""
    return _percentiles(_resampled_means([[np.asarray(values, float)]], resamples, seed)[0][:, 0], confidence)


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
    return mean_differences([[a - b]], confidence=confidence, resamples=resamples, seed=seed)[0][0]


def mean_differences(
    groups: Sequence[Sequence[NDArray[np.floating]]],
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> list[list[PairedDifference]]:
    """`paired_difference` of many pairs; those over equally many items are resampled together, which is far faster.

    Args:
        groups: of each metric, of each pair, (n,) differences of its items, n >= 1.
        confidence: coverage in (0, 1).
        resamples: number of bootstrap samples.
        seed: seed of the resampling.

    Returns:
        For each pair what it has alone.
    """
    intervals: dict[tuple[int, int], Interval] = {}
    for n in {len(each) for group in groups for each in group}:
        of_group = (
            [(index, place) for place, each in enumerate(group) if len(each) == n]
            for index, group in enumerate(groups)
        )
        places = [found for found in of_group if found]
        means = _resampled_means([[groups[i][k] for i, k in found] for found in places], resamples, seed)
        for found, resampled in zip(places, means, strict=True):
            for place, values in zip(found, resampled.T, strict=True):
                intervals[place] = _percentiles(values, confidence)
    return [
        [
            PairedDifference(float(each.mean()), intervals[index, place], len(each))
            for place, each in enumerate(group)
        ]
        for index, group in enumerate(groups)
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


def _resampled_means(
    groups: Sequence[Sequence[NDArray[np.floating]]], resamples: int, seed: int
) -> list[NDArray[np.float64]]:
    """Of each group of m columns with a value of each of n items, means (resamples, m) of the same bootstrap samples."""
    n = len(groups[0][0])
    if n <= _MANY_ITEMS:
        return _means_by_item([np.stack(columns, axis=1) for columns in groups], resamples, seed)
    means = [np.empty((resamples, len(columns))) for columns in groups]
    rest: dict[int, list[int]] = {}
    for index, columns in enumerate(groups):
        for place, column in enumerate(columns):
            if (counted := _counted_values(column)) is None:
                rest.setdefault(index, []).append(place)
                continue
            # How often each value is in a sample follows a multinomial, which need not know of the items.
            distinct, times = counted
            drawn = np.random.default_rng(seed).multinomial(n, times / n, size=resamples)
            means[index][:, place] = drawn @ distinct / n
    # Single precision halves the time; of distances to the mean its rounding is nothing to the interval's width.
    middles = {i: np.array([groups[i][place].mean() for place in places]) for i, places in rest.items()}
    distances = [
        np.stack(
            [groups[i][place] - middle for place, middle in zip(places, middles[i], strict=True)],
            dtype=np.float32,
            casting="same_kind",
        ).T
        for i, places in rest.items()
    ]
    for (index, places), found in zip(rest.items(), _means_by_item(distances, resamples, seed), strict=True):
        means[index][:, places] = middles[index] + found
    return means


def _counted_values(column: NDArray[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.intp]] | None:
    """The distinct values and how often each occurs; None where there are many."""
    if len(np.unique(column[:_MANY_ITEMS])) > _FEW_VALUES:
        return None
    distinct, times = np.unique(column, return_counts=True)
    return (distinct, times) if len(distinct) <= _FEW_VALUES else None


def _means_by_item(
    groups: Sequence[NDArray[np.floating]], resamples: int, seed: int
) -> list[NDArray[np.float64]]:
    if not groups:
        return []
    n = len(groups[0])
    draw = _kept_counts if n * resamples <= _ENTRIES_KEPT else _counts
    sums: list[list[NDArray[np.floating]]] = [[] for _ in groups]
    for counts in draw(n, resamples, seed):
        weights = counts.astype(groups[0].dtype)
        # A product with the counts instead of a sum over the chosen: many values of an item cost hardly more than one.
        # Groups are not joined: how a product is rounded depends on its width, and none should depend on the others.
        for values, found in zip(groups, sums, strict=True):
            found.append(weights @ values)
    return [np.concatenate(found).astype(np.float64) / n for found in sums]


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
