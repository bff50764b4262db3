"""How sure a classifier is, and how right it is when it is sure (numpy only)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.floating]
Labels = NDArray[np.integer]


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


def confidence_and_correctness(
    logits: Logits, labels: Labels
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Maximum softmax probability of each item, and whether that class is the label.

    Returns:
        (n,) in [1/classes, 1] and (n,) booleans; of tied classes the first counts as predicted.
    """
    log_probability = log_softmax(logits)
    predicted = log_probability.argmax(axis=1)
    return np.exp(log_probability.max(axis=1)), predicted == labels


def reliability(confidence: NDArray[np.floating], correct: NDArray[np.bool_], bins: int = 15) -> Reliability:
    """Accuracy against confidence in equal-width bins ((i)/bins, (i+1)/bins], the first closed at 0.

    Args:
        confidence: (n,) in [0, 1].
        correct: (n,) booleans.
        bins: number of bins.

    Raises:
        ValueError: if a confidence leaves [0, 1].

    Reference: Guo et al., ICML 2017, sec. 2.
    """
    return _binned(_bin_of(confidence, bins), confidence, correct, bins)


def expected_calibration_error(
    confidence: NDArray[np.floating], correct: NDArray[np.bool_], bins: int = 15
) -> float:
    """ECE: mean over items of |accuracy - confidence| of the item's equal-width bin.

    Args:
        confidence: (n,) in [0, 1].
        correct: (n,) booleans.
        bins: number of bins.

    Reference: Guo et al., ICML 2017, eq. 3.
    """
    found = reliability(confidence, correct, bins)
    filled = found.items > 0
    gap = np.abs(found.accuracy[filled] - found.confidence[filled])
    return float((gap * found.items[filled]).sum() / found.items.sum())


def _bin_of(confidence: NDArray[np.floating], bins: int) -> NDArray[np.intp]:
    if confidence.size and not (confidence.min() >= 0 and confidence.max() <= 1 + 1e-12):
        raise ValueError("expected confidences in [0, 1]")
    # Compared with the edges: ceil(confidence * bins) puts some edges, such as 7/25, one bin too high.
    inner = np.arange(1, bins) / bins
    return np.searchsorted(inner, confidence, side="left")


def _binned(
    bin_of: NDArray[np.intp], confidence: NDArray[np.floating], correct: NDArray[np.bool_], bins: int
) -> Reliability:
    count = np.bincount(bin_of, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean_confidence = np.bincount(bin_of, confidence, minlength=bins) / count
        accuracy = np.bincount(bin_of, correct, minlength=bins) / count
    return Reliability(mean_confidence, accuracy, count)
