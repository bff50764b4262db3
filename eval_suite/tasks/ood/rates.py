"""How well confidences tell in-distribution items from outliers (numpy only).

A confidence is larger for items that look more in-distribution. One sort of all of them gives every metric; items
of equal confidence are accepted or rejected together.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Confidences = NDArray[np.floating]
Counts = NDArray[np.integer]

# 95 % as a ratio of whole numbers, so that a rate of exactly 95 % is met whatever the number of items.
_NUMERATOR, _DENOMINATOR = 19, 20
_ODIN_STEPS = 100_000


class Detection(NamedTuple):
    """Six ways to say how well a threshold on the confidence separates the two; each a number or an array of them.

    ``tnr`` is the share of outliers rejected at the largest threshold that accepts 95 % of the in-distribution items.
    ``fpr_outliers_positive`` is the share of in-distribution items rejected at the smallest threshold that rejects
    95 % of the outliers. ``aupr_in`` and ``aupr_out`` are average precisions with in-distribution items and outliers
    as the positives, whose precision depends on how many there are of each; see `odin_reference_aupr` for another.
    """

    tnr: NDArray[np.float64]
    auroc: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    aupr_in: NDArray[np.float64]
    aupr_out: NDArray[np.float64]
    fpr_outliers_positive: NDArray[np.float64]


class ReferenceAupr(NamedTuple):
    """AUPR with in-distribution items as the positives, and with outliers as the positives."""

    known_positive: float
    outliers_positive: float | None


class Ranking(NamedTuple):
    """All items by falling confidence.

    ``known_order`` (n,) and ``outlier_order`` (m,) sort each kind by itself. A cut runs between items of different
    confidence: ``known_above`` and ``outliers_above`` (cuts,) count the items of each kind above it, from the cut
    that rejects everything to the one that accepts everything.
    """

    known_order: NDArray[np.intp]
    outlier_order: NDArray[np.intp]
    known_above: NDArray[np.int64]
    outliers_above: NDArray[np.int64]


def detection(known: Confidences, outliers: Confidences) -> Detection:
    """Every metric from one sort.

    Args:
        known: (n,) confidences of in-distribution items, n >= 1.
        outliers: (m,) confidences of outliers, m >= 1.

    Raises:
        ValueError: if either is empty or holds NaN.
    """
    known, outliers = _both(known, outliers)
    return detection_from_counts(*_merged(np.sort(known), np.sort(outliers)))


def rank(known: Confidences, outliers: Confidences) -> Ranking:
    """Sort all items by falling confidence, and count them at every cut.

    Raises:
        ValueError: if either is empty or holds NaN.
    """
    known, outliers = _both(known, outliers)
    known_order, outlier_order = np.argsort(known)[::-1], np.argsort(outliers)[::-1]
    counts = _merged(known[known_order[::-1]], outliers[outlier_order[::-1]])
    return Ranking(known_order, outlier_order, *counts)


def detection_from_counts(known_above: Counts, outliers_above: Counts) -> Detection:
    """Every metric from the numbers of items above each cut.

    Args:
        known_above: (..., cuts) in-distribution items above each cut, from 0 to all of them.
        outliers_above: (..., cuts) outliers likewise.

    Reference: Liang et al., ICLR 2018, sec. 4.3, for TNR and detection accuracy (1 - detection error); Fawcett,
    Pattern Recognition Letters 2006, for AUROC under ties.
    """
    # Whole numbers this small are exact in floating point, which divides and multiplies them faster.
    known, outliers = (each.astype(np.float64, copy=False) for each in (known_above, outliers_above))
    n, m = known[..., -1:], outliers[..., -1:]

    # Counts only grow from cut to cut: how many fall short tells the place of the first that does not.
    accepting = np.count_nonzero(known < _most_of(n), axis=-1)
    rejecting = np.count_nonzero(outliers <= m - _most_of(m), axis=-1) - 1

    # Few arrays, used again: asking the system for new ones takes longer than the arithmetic.
    here, each, gap = (np.empty_like(known) for _ in range(3))
    here, short, part = here[..., 1:], each[..., 1:], gap[..., 1:]
    np.subtract(outliers[..., 1:], outliers[..., :-1], out=here)
    np.add(known[..., 1:], known[..., :-1], out=short)
    # Twice the pairs in which the in-distribution item stands higher: a tie counts one, a win two.
    pairs = np.einsum("...g,...g->...", here, short)
    np.subtract(np.divide(known, n, out=gap), np.divide(outliers, m, out=each), out=gap)
    accuracy = 0.5 + 0.5 * gap.max(axis=-1)
    total = np.add(known, outliers, out=each)
    # Resampled counts may leave the first groups, or the last, empty; they weigh nothing.
    np.divide(known[..., 1:], np.maximum(total[..., 1:], 1, out=part), out=part)
    np.subtract(known[..., 1:], known[..., :-1], out=here)
    aupr_in = np.einsum("...g,...g->...", here, part) / n[..., 0]
    np.maximum(np.subtract(n + m, total[..., :-1], out=part), 1, out=part)
    np.divide(np.subtract(m, outliers[..., :-1], out=short), part, out=part)
    np.subtract(outliers[..., 1:], outliers[..., :-1], out=here)
    aupr_out = np.einsum("...g,...g->...", here, part) / m[..., 0]
    return Detection(
        tnr=(m[..., 0] - _at(outliers, accepting)) / m[..., 0],
        auroc=pairs / (2 * n[..., 0] * m[..., 0]),
        accuracy=accuracy,
        aupr_in=aupr_in,
        aupr_out=aupr_out,
        fpr_outliers_positive=(n[..., 0] - _at(known, rejecting)) / n[..., 0],
    )


def placements(known: Confidences, outliers: Confidences) -> NDArray[np.float64]:
    """Share of outliers below each in-distribution item, ties counting half: (n,), whose mean is the AUROC.

    Reference: DeLong et al., Biometrics 1988, eq. 5.
    """
    ranked = np.sort(outliers)
    below = np.searchsorted(ranked, known, side="left") + np.searchsorted(ranked, known, side="right")
    return below / (2 * len(ranked))


def threshold_accepting_95(known: Confidences) -> float:
    """The largest confidence that at least 95 % of the in-distribution items reach."""
    n = len(known)
    kept = -(-_NUMERATOR * n // _DENOMINATOR)
    return float(np.sort(known)[n - kept])


def odin_reference_tnr(known: Confidences, outliers: Confidences, lowest: float) -> float | None:
    """TNR at 95 % TPR as ODIN's published code finds it, to compare with numbers made by that code.

    It walks 100,000 thresholds from ``lowest`` to 1 and averages the false-positive rate over those at which the
    true-positive rate lies in [0.9495, 0.9505].

    Args:
        known: (n,) confidences in [lowest, 1].
        outliers: (m,) likewise.
        lowest: smallest possible confidence, 1 / classes for a maximum softmax probability.

    Returns:
        None where no threshold has such a rate; the published code divides by zero there.
    """
    thresholds = np.arange(lowest, 1.0, (1.0 - lowest) / _ODIN_STEPS)
    accepted = 1 - _share_below(known, thresholds)
    mistaken = 1 - np.searchsorted(np.sort(outliers), thresholds, side="right") / len(outliers)
    near = (accepted >= 0.9495) & (accepted <= 0.9505)
    return float(1 - mistaken[near].mean()) if near.any() else None


def odin_reference_aupr(known: Confidences, outliers: Confidences, lowest: float) -> ReferenceAupr:
    """AUPR with either kind as the positives as ODIN's published code finds it, to compare with numbers made by that code.

    Precision is that of as many outliers as in-distribution items, whatever their numbers. Of 100,000 thresholds
    between ``lowest`` and 1, each adds its precision times the fall of the recall since the one before.

    Args:
        known: (n,) confidences in [lowest, 1].
        outliers: (m,) likewise.
        lowest: smallest possible confidence, 1 / classes for a maximum softmax probability.

    Returns:
        For outliers as the positives None where every confidence is 1; the published code stops with an error there.
    """
    step = (1.0 - lowest) / _ODIN_STEPS
    rising, falling = np.arange(lowest, 1.0, step), np.arange(1.0, lowest, -step)
    area_in = _area_by_rates(1 - _share_below(known, rising), 1 - _share_below(outliers, rising))
    assert area_in is not None
    return ReferenceAupr(
        area_in, _area_by_rates(_share_below(outliers, falling), _share_below(known, falling))
    )


def _share_below(items: Confidences, thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.searchsorted(np.sort(items), thresholds, side="left") / len(items)


def _area_by_rates(true: NDArray[np.float64], false: NDArray[np.float64]) -> float | None:
    """Area under precision over recall from rates that fall from one threshold to the next."""
    some = true + false > 0
    if not some.any():
        return None
    recall = true[some]
    precision = recall / (recall + false[some])
    fall = -np.diff(recall, prepend=1.0)
    return float(fall @ precision + recall[-1] * precision[-1])


def _most_of(items: NDArray[np.float64]) -> NDArray[np.float64]:
    """The smallest whole number of items that is 95 % of them or more."""
    return np.ceil(_NUMERATOR * items / _DENOMINATOR)


def _at(counts: NDArray[np.float64], group: NDArray[np.intp]) -> NDArray[np.float64]:
    return np.take_along_axis(counts, np.asarray(group)[..., None], axis=-1)[..., 0]


def _merged(known: Confidences, outliers: Confidences) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of items of each kind above every cut of a `Ranking`, from each kind's confidences in rising order."""
    if np.isnan(known[-1]) or np.isnan(outliers[-1]):  # sorting puts NaN last
        raise ValueError("expected numbers as confidences, found NaN")
    # Two sorts of plain numbers are several times faster than one of places; then the stable sort only merges two runs.
    both = np.concatenate([known, outliers])
    order = np.argsort(both, kind="stable")
    is_known, rising = order < len(known), both[order]
    del both, order
    differs = rising[1:] != rising[:-1]
    del rising
    known_below = np.zeros(len(is_known) + 1, np.int64)
    np.cumsum(is_known, out=known_below[1:])
    below = np.arange(len(is_known) + 1)
    if not differs.all():
        cuts = np.concatenate([[True], differs, [True]])
        known_below, below = known_below[cuts], below[cuts]
    below -= known_below
    np.subtract(len(outliers), below, out=below)
    np.subtract(len(known), known_below, out=known_below)
    return known_below[::-1], below[::-1]


def _both(known: Confidences, outliers: Confidences) -> tuple[Confidences, Confidences]:
    known, outliers = np.asarray(known), np.asarray(outliers)
    if not (known.size and outliers.size):
        raise ValueError(f"expected items of both kinds, found {known.size} and {outliers.size}")
    return known, outliers
