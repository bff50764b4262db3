"""What the mixtures of a batch show of its images, chosen together: the optimisation of Co-Mixup."""

import itertools

import numpy as np
from numpy.typing import NDArray

from eval_suite.training.regularizers._label_swap import swap_labels

# The whole numbers of the library that the authors cut graphs with: of costs, of weights between cells, of differences of labels.
_COSTS, _WEIGHTS, _DIFFERENCES = 100_000, 1000, 100
_HALF = 0.25  # of the difference of two labels, that between one of them and both of them half and half
_PREFER_HALVES = 5e-4
_STILL = 1e-6  # relative change of the objective below which the mixtures are taken as final


def choose_together(
    cost: NDArray[np.float64],
    compatible: NDArray[np.float64],
    start: NDArray[np.int64],
    *,
    beta: float,
    gamma: float,
    threshold: float,
    rounds: int,
) -> NDArray[np.float64]:
    """(m, n, b, b): shares of n images in the cells of m mixtures.

    Args:
        cost: (n, b, b) of showing an image in a cell.
        compatible: (n, n) by how much an image counts as another one.
        start: (m, b, b) the image that each cell of each mixture begins with.
        beta: cost of two neighbours of different images.
        gamma: cost of a cell for each cell of other mixtures that shows the same image.
        threshold: cells of other mixtures from which on that cost counts.
        rounds: over all mixtures.

    Reference: Kim et al., ICLR 2021, algorithm 1, with the thresholds, whole numbers and order of its authors' code.
    """
    shares = np.eye(len(cost))[start]
    counts = shares.sum((1, 2))
    pushed = np.zeros_like(counts)
    before = _objective(cost, shares, beta, gamma)
    for turn in range(rounds):
        for j in range(len(shares)):
            others = counts.sum(0) - counts[j]
            crowded = compatible @ others > threshold
            # As the authors' operators are ordered: an image below the threshold counts for none, itself or others.
            taken = 2 * gamma * ((crowded * compatible) @ others)
            unary = cost + (taken + gamma * pushed[j])[:, None, None]
            shares[j] = _cheapest(unary.transpose(1, 2, 0), counts[j], beta, halves=turn > 0)
            counts[j] = shares[j].sum((0, 1))
        if turn == rounds - 2:
            pushed = _same_images(counts > 0)
        now = _objective(cost, shares, beta, gamma)
        if abs(before - now) < _STILL * abs(now):
            break
        before = now
    return shares.transpose(0, 3, 1, 2)


def _cheapest(
    unary: NDArray[np.float64], counts: NDArray[np.float64], beta: float, *, halves: bool
) -> NDArray[np.float64]:
    """Shares (b, b, n) of one mixture for costs (b, b, n), where it showed ``counts`` (n,) before."""
    n = unary.shape[2]
    most = np.sort(np.argsort(-counts, kind="stable")[:3])
    shown = [int(image) for image in most if counts[image] > 0]
    pairs = list(itertools.combinations(shown, 2)) if halves else []
    table, differ = np.eye(n + len(pairs), n), 1 - np.eye(n + len(pairs))
    for label, pair in enumerate(pairs, n):
        table[label, pair] = 0.5
        differ[label, pair] = differ[pair, label] = _HALF
    costs = unary @ table.T
    costs[..., n:] -= _PREFER_HALVES
    weights = (differ * _DIFFERENCES).astype(np.int64) * int(beta * _WEIGHTS)
    return table[swap_labels((costs * _COSTS).astype(np.int64), weights)]


def _same_images(shown: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(m, n) of mixtures (m, n) of the same two images or more: 1 for an image that each is to leave to the other."""
    pushed = np.zeros(shown.shape)
    for j, k in itertools.combinations(range(len(shown)), 2):
        images = np.flatnonzero(shown[j])
        if len(images) > 1 and np.array_equal(shown[j], shown[k]):
            pushed[j, images[0]] = pushed[k, images[1]] = 1
    return pushed


def _objective(cost: NDArray[np.float64], shares: NDArray[np.float64], beta: float, gamma: float) -> float:
    """Of all mixtures, with what they have in common counted from the first cell on."""
    counts = shares.sum((1, 2))
    down, across = np.diff(shares, axis=1), np.diff(shares, axis=2)
    return float(
        (cost.transpose(1, 2, 0) * shares).sum()
        + beta / 2 * ((down**2).sum() + (across**2).sum())
        + gamma * ((counts.sum(0) ** 2).sum() - (counts**2).sum())
    )
