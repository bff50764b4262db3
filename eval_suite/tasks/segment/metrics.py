"""What segmentation measures: ratios of pixels summed over all images, and what each image has to do with them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.metrics import MetricKind
from eval_suite.data.masks import IGNORED

MIOU = MetricKind("miou", "Mean IoU")
CLASS_IOU = MetricKind("class_iou", "IoU")
PIXEL_ACCURACY = MetricKind("pixel_accuracy", "Pixel accuracy")
MEAN_CLASS_ACCURACY = MetricKind("pixel_mean_class_accuracy", "Mean accuracy of the classes' pixels")


class Counts(NamedTuple):
    """Of n images and K classes the pixels (n, K) that are of a class, that are called so, and that are both."""

    true: NDArray[np.int64]
    called: NDArray[np.int64]
    both: NDArray[np.int64]

    @property
    def union(self) -> NDArray[np.int64]:
        """The pixels (n, K) that are of a class or are called so."""
        return self.true + self.called - self.both


def confusion(labels: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """How many pixels of each class (rows) are called each class (columns); ignored ones are left out.

    Args:
        labels: (H, W) true classes, or `IGNORED`.
        predicted: (H, W) classes.
        classes: how many there are.

    Example:
        >>> confusion(np.array([[0, 1, 255]], np.uint8), np.array([[1, 1, 0]], np.uint8), 2).tolist()
        [[0, 1], [0, 1]]
    """
    counted = labels != IGNORED
    pairs = labels[counted].astype(np.int64) * classes + predicted[counted]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def counts_of(confusions: NDArray[np.int64]) -> Counts:
    """The counts of confusion matrices (n, K, K)."""
    return Counts(
        confusions.sum(2), confusions.sum(1), np.ascontiguousarray(np.einsum("nkk->nk", confusions))
    )


def mean_ratio(over: NDArray[np.int64], under: NDArray[np.int64]) -> float:
    """The mean over columns of the ratio of their sums, of the columns whose second sum is not 0.

    Args:
        over: (n, K) per image.
        under: (n, K) per image.
    """
    top, bottom = over.sum(0), under.sum(0)
    there = bottom > 0
    return float((top[there] / bottom[there]).mean())


def influence(over: NDArray[np.int64], under: NDArray[np.int64]) -> NDArray[np.float64]:
    """Each image's part in `mean_ratio`: (n,) values whose mean it is.

    The ratio is taken as linear around the sums A and B: image i counts A/B + n (a_i - b_i A/B) / B. Differences of
    these values between two networks resample as the difference of the ratios does, to first order.

    Reference: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 22 (influence function).
    """
    there = under.sum(0) > 0
    over, under = over[:, there], under[:, there]
    bottom = under.sum(0)
    ratios = over.sum(0) / bottom
    values: NDArray[np.float64] = (ratios + len(over) * (over - under * ratios) / bottom).mean(1)
    return values
