"""Split conformal prediction: sets of classes that hold the label with a given probability (numpy only).

A score says how badly a class fits an image. The largest score that a set accepts is found on calibration images, so that
the sets of further images from the same distribution miss the label with probability alpha at most.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.calibration import Labels

ConformalMethod = Literal["lac", "aps", "raps"]
METHODS: tuple[ConformalMethod, ...] = get_args(ConformalMethod)
RAPS_WEIGHT, RAPS_RANK = 0.01, 5
"""The penalty of each class beyond this many, by Angelopoulos et al.'s experiments on ImageNet."""

Probabilities = NDArray[np.floating]


class PredictionSets(NamedTuple):
    """Of each image (n,): how many classes its set has, and whether the label is among them."""

    sizes: NDArray[np.int64]
    covered: NDArray[np.bool_]


def prediction_sets(
    calibration: Iterable[Probabilities],
    calibration_labels: Labels,
    probabilities: Iterable[Probabilities],
    labels: Labels,
    *,
    method: ConformalMethod,
    alpha: float,
    seed: int = 0,
) -> PredictionSets:
    """The sets of images, from a threshold that other images chose.

    Args:
        calibration: of m images that are not evaluated, some at a time: (images, classes), rows summing to 1.
        calibration_labels: (m,).
        probabilities: of n images, likewise.
        labels: (n,).
        method: lac accepts every class above a probability; aps the most probable ones up to a total, of which the last
            counts a random part; raps is aps with a penalty on the classes beyond `RAPS_RANK`.
        alpha: the share of images whose set may miss the label.
        seed: of the random parts.

    Reference: Sadinle, Lei and Wasserman, JASA 2019 (lac); Romano, Sesia and Candes, NeurIPS 2020 (aps); Angelopoulos et
    al., ICLR 2021 (raps); the threshold is that of Angelopoulos and Bates, 2021, sec. 1.
    """
    rng = np.random.default_rng(seed)
    of_labels = [
        _of_labels(found, own) for found, own in _scored(calibration, calibration_labels, method, rng)
    ]
    threshold = conformal_quantile(np.concatenate(of_labels), alpha)
    sizes, covered = [], []
    for found, own in _scored(probabilities, labels, method, rng):
        accepted = found <= threshold
        sizes.append(accepted.sum(1))
        covered.append(_of_labels(accepted, own))
    return PredictionSets(np.concatenate(sizes), np.concatenate(covered))


def _scored(
    blocks: Iterable[Probabilities], labels: Labels, method: ConformalMethod, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.float64], Labels]]:
    """Each block's scores (images, classes) and labels (images,)."""
    first = 0
    for block in blocks:
        yield scores(block, method, rng), labels[first : first + len(block)]
        first += len(block)


def _of_labels(values: NDArray[Any], labels: Labels) -> NDArray[Any]:
    return values[np.arange(len(labels)), labels]


def conformal_quantile(values: NDArray[np.floating], alpha: float) -> float:
    """The ceil((m + 1) (1 - alpha))-th smallest of (m,) scores; infinite where there are not as many.

    Example:
        >>> conformal_quantile(np.array([0.4, 0.1, 0.3, 0.2]), alpha=0.4)
        0.3
    """
    # Rounded, so that 0.9 of ten is nine and not ten.
    place = int(np.ceil(round((len(values) + 1) * (1 - alpha), 9)))
    return float(np.sort(values)[place - 1]) if place <= len(values) else float("inf")


def scores(
    probabilities: Probabilities, method: ConformalMethod, rng: np.random.Generator
) -> NDArray[np.float64]:
    """How badly each class fits each image (n, classes); one random number serves all classes of an image.

    lac: 1 - p_c. aps: the probability of the classes above c and a random part of p_c. raps: as much, and
    `RAPS_WEIGHT` for each place that c is ranked beyond `RAPS_RANK`.
    """
    exact = np.asarray(probabilities, np.float64)
    if method == "lac":
        return 1 - exact
    order = np.argsort(-exact, axis=1, kind="stable")
    falling = np.take_along_axis(exact, order, axis=1)
    part = rng.random((len(exact), 1))
    above = np.cumsum(falling, axis=1) - falling + part * falling
    if method == "raps":
        above += RAPS_WEIGHT * np.maximum(np.arange(1, exact.shape[1] + 1) - RAPS_RANK, 0)
    result = np.empty_like(above)
    np.put_along_axis(result, order, above, axis=1)
    return result
