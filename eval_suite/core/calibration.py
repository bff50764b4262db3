"""How sure a classifier is, and how right it is when it is sure (numpy only)."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.statistics import topk_correct

Logits = NDArray[np.floating]
Labels = NDArray[np.integer]
# Double precision for so many numbers at a time, whatever the number of items.
_NUMBERS_AT_ONCE = 2**19


class Reliability(NamedTuple):
    """Equal-width confidence bins: (bins,) mean confidence, accuracy (both NaN where empty) and number of items."""

    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    items: NDArray[np.int64]


def log_softmax(logits: Logits) -> NDArray[np.float64]:
    """Log probabilities (n, classes) in double precision."""
    from scipy import special  # slow to import, and help does not need it

    result: NDArray[np.float64] = special.log_softmax(logits.astype(np.float64), axis=1)
    return result


def log_probabilities(
    logits: Logits, temperature: float = 1.0
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Log probabilities in double precision, block by block, so that memory does not grow with the number of items.

    Args:
        logits: (n, classes).
        temperature: what they are divided by.

    Yields:
        Which items, and (items, classes) of them.
    """
    at_once = max(1, _NUMBERS_AT_ONCE // logits.shape[1])
    for first in range(0, len(logits), at_once):
        items = slice(first, first + at_once)
        yield items, log_softmax(logits[items].astype(np.float64) / temperature)


class ItemMeasures(NamedTuple):
    """What the class probabilities of n items say of each, (n,) each.

    Attributes:
        confidence: the maximum softmax probability, in [1/classes, 1].
        correct: whether that class is the label, as the top-1 error counts it: a tie counts against the network.
        nll: -log softmax probability of the label in nats, at least 0.
        brier: `brier_scores`.
    """

    confidence: NDArray[np.float64]
    correct: NDArray[np.bool_]
    nll: NDArray[np.float64]
    brier: NDArray[np.float64]


def item_measures(logits: Logits, labels: Labels, temperature: float = 1.0) -> ItemMeasures:
    """Confidence, correctness, likelihood and Brier score of each item.

    Args:
        logits: (n, classes).
        labels: (n,) class indices.
        temperature: what the logits are divided by.

    Example:
        >>> item_measures(np.array([[0.0, 0.0], [0.0, 1.0]]), np.array([1, 1])).nll.round(3).tolist()
        [0.693, 0.313]
    """
    n = len(labels)
    measures = ItemMeasures(np.empty(n), np.empty(n, np.bool_), np.empty(n), np.empty(n))
    for items, log_probability in log_probabilities(logits, temperature):
        own = labels[items]
        measures.confidence[items] = np.exp(log_probability.max(axis=1))
        measures.correct[items] = topk_correct(logits[items], own, 1)
        measures.nll[items] = -log_probability[np.arange(len(own)), own]
        measures.brier[items] = brier_scores(np.exp(log_probability), own)
    return measures


def reliability(
    confidence: NDArray[np.floating],
    correct: NDArray[np.bool_],
    bins: int = 15,
    placed: NDArray[np.intp] | None = None,
) -> Reliability:
    """Accuracy against confidence in equal-width bins ((i)/bins, (i+1)/bins], the first closed at 0.

    Args:
        confidence: (n,) in [0, 1].
        correct: (n,) booleans.
        bins: number of bins.
        placed: the confidences' `bin_of`, where it is known, as in a resample.

    Raises:
        ValueError: if a confidence leaves [0, 1].

    Reference: Guo et al., ICML 2017, sec. 2.
    """
    if placed is None:
        placed = bin_of(confidence, bins)
    return _means(
        np.bincount(placed, confidence, minlength=bins),
        np.bincount(placed, correct, minlength=bins),
        np.bincount(placed, minlength=bins),
    )


def expected_calibration_error(
    confidence: NDArray[np.floating],
    correct: NDArray[np.bool_],
    bins: int = 15,
    placed: NDArray[np.intp] | None = None,
) -> float:
    """ECE: mean over items of |accuracy - confidence| of the item's equal-width bin.

    Args:
        confidence: (n,) in [0, 1].
        correct: (n,) booleans.
        bins: number of bins.
        placed: the confidences' `bin_of`, where it is known.

    Reference: Guo et al., ICML 2017, eq. 3.
    """
    return _calibration_error(reliability(confidence, correct, bins, placed))


def _calibration_error(found: Reliability) -> float:
    filled = found.items > 0
    gap = np.abs(found.accuracy[filled] - found.confidence[filled])
    return float((gap * found.items[filled]).sum() / found.items.sum())


def bin_of(confidence: NDArray[np.floating], bins: int) -> NDArray[np.intp]:
    """The equal-width bin of each confidence (n,), from 0.

    Raises:
        ValueError: if a confidence leaves [0, 1].

    Example:
        >>> bin_of(np.array([0.0, 0.5, 0.51, 1.0]), 2).tolist()
        [0, 0, 1, 1]
    """
    if confidence.size and not (confidence.min() >= 0 and confidence.max() <= 1 + 1e-12):
        raise ValueError("expected confidences in [0, 1]")
    # Compared with the edges: ceil(confidence * bins) puts some edges, such as 7/25, one bin too high.
    inner = np.arange(1, bins) / bins
    return np.searchsorted(inner, confidence, side="left")


def _means(confidence: NDArray[Any], correct: NDArray[Any], items: NDArray[Any]) -> Reliability:
    """The means of bins (bins,) from their sums."""
    with np.errstate(invalid="ignore"):
        return Reliability(confidence / items, correct / items, items)


def ranks(confidence: NDArray[np.floating]) -> NDArray[np.unsignedinteger]:
    """Which of the distinct confidences each is, from the smallest, (n,): of a resample it is known without sorting.

    It is in the smallest type that holds it, since small whole numbers are sorted in a tenth of the time.

    Example:
        >>> ranks(np.array([0.9, 0.2, 0.9])).tolist()
        [1, 0, 1]
    """
    values, place = np.unique(confidence, return_inverse=True)
    ranked: NDArray[np.unsignedinteger] = place.astype(np.min_scalar_type(len(values)))
    return ranked


def equal_mass_calibration_error(
    confidence: NDArray[np.floating],
    correct: NDArray[np.bool_],
    bins: int = 15,
    ranked: NDArray[np.unsignedinteger] | None = None,
) -> float:
    """ECE with bins of equally many items: those of rising confidence, the first bins one larger where it does not divide.

    Args:
        confidence: (n,) in [0, 1].
        correct: (n,) booleans.
        bins: number of bins; with fewer items each is a bin.
        ranked: numbers that order the confidences as their `ranks` do, where they are known.

    Reference: Nixon et al., CVPR Workshops 2019, sec. 4 (adaptive calibration error of the top prediction).
    """
    order = np.argsort(confidence if ranked is None else ranked, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    gaps = [abs(float(correct[part].mean() - confidence[part].mean())) * len(part) for part in parts]
    return float(np.sum(gaps) / len(order))


def classwise_calibration_error(
    blocks: Iterable[tuple[NDArray[np.floating], Labels]], classes: int, bins: int = 15
) -> float:
    """The calibration error of each class's probability in equal-width bins, as a mean over the classes.

    Args:
        blocks: all items, some at a time: probabilities (items, classes), rows summing to 1, and class indices (items,).
        classes: their number.
        bins: number of bins.

    Reference: Kull et al., NeurIPS 2019, eq. 3.
    """
    cells = np.arange(classes * bins)
    confidence: NDArray[Any] = np.zeros(len(cells))
    right, count = np.zeros(len(cells)), np.zeros(len(cells), np.int64)
    for probabilities, labels in blocks:
        values = np.clip(probabilities, 0, 1).ravel()
        places = np.tile(cells[::bins], len(labels))
        # Nearly all lie in the first bin, as one comparison shows.
        above = np.flatnonzero(values > 1 / bins)
        places[above] += bin_of(values[above], bins)
        # Added one by one to what the blocks before came to, as a sum over all items adds them.
        confidence = np.bincount(np.concatenate([cells, places]), np.concatenate([confidence, values]))
        right += np.bincount(places[np.arange(len(labels)) * classes + labels], minlength=len(cells))
        count += np.bincount(places, minlength=len(cells))
    of_classes = zip(*(each.reshape(classes, bins) for each in (confidence, right, count)), strict=True)
    return float(np.mean([_calibration_error(_means(*each)) for each in of_classes]))


def brier_scores(probabilities: NDArray[np.floating], labels: Labels) -> NDArray[np.float64]:
    """Σ_c (p_c - [c is the label])² of each item, in [0, 2].

    Args:
        probabilities: (n, classes), rows summing to 1.
        labels: (n,) class indices.

    Reference: Brier, Monthly Weather Review 1950.
    """
    of_label = probabilities[np.arange(len(labels)), labels]
    return np.asarray(np.square(probabilities).sum(axis=1) - 2 * of_label + 1, np.float64)


def risks(
    confidence: NDArray[np.floating],
    correct: NDArray[np.bool_],
    ranked: NDArray[np.unsignedinteger] | None = None,
) -> NDArray[np.float64]:
    """The error among the k most confident items, for k = 1..n: (n,); of tied items in any order, their mean.

    Their mean is the AURC, the area under the risk-coverage curve.

    Args:
        confidence: (n,), larger is surer.
        correct: (n,) booleans.
        ranked: numbers that order the confidences as their `ranks` do, where they are known.

    Reference: El-Yaniv and Wiener, JMLR 2010, sec. 2 (the selective risk at coverage k / n); Geifman et al., ICLR 2019,
    eq. 2 (AURC).

    Example:
        >>> risks(np.array([0.9, 0.6, 0.8]), np.array([True, False, True])).round(3).tolist()
        [0.0, 0.0, 0.333]
    """
    place = ranks(confidence) if ranked is None else ranked
    counts, wrong = np.bincount(place)[::-1], np.bincount(place, ~correct)[::-1]
    there = counts > 0
    counts = counts[there]
    expected = np.repeat(wrong[there] / counts, counts)  # within a tie each place holds its mean
    return np.asarray(np.cumsum(expected) / np.arange(1, len(expected) + 1), np.float64)


def items_covered(items: int, coverage: float) -> int:
    """How many of some items are accepted at a coverage in (0, 1]: the fewest that make up the share, at least one.

    Example:
        >>> items_covered(10, 0.85)
        9
    """
    return max(1, int(np.ceil(round(items * coverage, 9))))


def fitted_temperature(logits: Logits, labels: Labels) -> float:
    """The temperature T > 0 for which the logits divided by it have the smallest mean NLL, within e^-5..e^5.

    Args:
        logits: (n, classes) of items that are not evaluated.
        labels: (n,) class indices.

    Reference: Guo et al., ICML 2017, sec. 4.2.
    """
    from scipy.optimize import minimize_scalar

    own = np.empty(len(labels))

    def loss(log_temperature: float) -> float:
        for items, log_probability in log_probabilities(logits, np.exp(log_temperature)):
            own[items] = log_probability[np.arange(len(log_probability)), labels[items]]
        return -float(own.mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-5, 5), method="bounded", options={"xatol": 1e-6}).x))
