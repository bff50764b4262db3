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


def equal_mass_calibration_error(
    confidence: NDArray[np.floating], correct: NDArray[np.bool_], bins: int = 15
) -> float:
    """ECE with bins of equally many items: those of rising confidence, the first bins one larger where it does not divide.

    Args:
        confidence: (n,) in [0, 1].
        correct: (n,) booleans.
        bins: number of bins; with fewer items each is a bin.

    Reference: Nixon et al., CVPR Workshops 2019, sec. 4 (adaptive calibration error of the top prediction).
    """
    order = np.argsort(confidence, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    gaps = [abs(float(correct[part].mean() - confidence[part].mean())) * len(part) for part in parts]
    return float(np.sum(gaps) / len(order))


def classwise_calibration_error(probabilities: NDArray[np.floating], labels: Labels, bins: int = 15) -> float:
    """The calibration error of each class's probability in equal-width bins, as a mean over the classes.

    Args:
        probabilities: (n, classes), rows summing to 1.
        labels: (n,) class indices.
        bins: number of bins.

    Reference: Kull et al., NeurIPS 2019, eq. 3.
    """
    classes = probabilities.shape[1]
    errors = [
        expected_calibration_error(np.clip(probabilities[:, label], 0, 1), labels == label, bins)
        for label in range(classes)
    ]
    return float(np.mean(errors))


def brier_scores(probabilities: NDArray[np.floating], labels: Labels) -> NDArray[np.float64]:
    """Σ_c (p_c - [c is the label])² of each item, in [0, 2].

    Args:
        probabilities: (n, classes), rows summing to 1.
        labels: (n,) class indices.

    Reference: Brier, Monthly Weather Review 1950.
    """
    of_label = probabilities[np.arange(len(labels)), labels]
    return np.asarray(np.square(probabilities).sum(axis=1) - 2 * of_label + 1, np.float64)


def area_under_risk_coverage(confidence: NDArray[np.floating], correct: NDArray[np.bool_]) -> float:
    """AURC: the error among the k most confident items, as a mean over k = 1..n; of tied items in any order.

    Args:
        confidence: (n,), larger is surer.
        correct: (n,) booleans.

    Reference: Geifman et al., ICLR 2019, eq. 2.
    """
    return float(risks(confidence, correct).mean())


def risks(confidence: NDArray[np.floating], correct: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The error among the k most confident items, for k = 1..n: (n,); of tied items in any order, their mean.

    Args:
        confidence: (n,), larger is surer.
        correct: (n,) booleans.

    Reference: El-Yaniv and Wiener, JMLR 2010, sec. 2 (the selective risk at coverage k / n).

    Example:
        >>> risks(np.array([0.9, 0.6, 0.8]), np.array([True, False, True])).round(3).tolist()
        [0.0, 0.0, 0.333]
    """
    values, place = np.unique(-np.asarray(confidence), return_inverse=True)
    counts = np.bincount(place, minlength=len(values))
    wrong = np.bincount(place, ~correct, minlength=len(values)) / counts
    expected = np.repeat(wrong, counts)  # in falling confidence; within a tie each place holds its mean
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

    exact, rows = logits.astype(np.float64), np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return -float(log_softmax(exact / np.exp(log_temperature))[rows, labels].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-5, 5), method="bounded", options={"xatol": 1e-6}).x))
