"""The k-NN classifier against a hand-computed vote and scikit-learn's."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier

from eval_suite.tasks.probe.knn import knn_votes

CPU = torch.device("cpu")


def votes(known: object, labels: object, queries: object, **options: float) -> NDArray[np.float32]:
    settings = {"classes": 3, "k": 2, "temperature": 0.5, **options}
    return knn_votes(
        np.asarray(known, np.float32),
        np.asarray(labels),
        np.asarray(queries, np.float32),
        device=CPU,
        **settings,  # type: ignore[arg-type]
    )


def test_a_vote_by_hand() -> None:
    # To (1, 0) the cosines are 1, 0.6 and -1: the two nearest weigh e^(1/0.5) and e^(0.6/0.5).
    found = votes([[2, 0], [3, 4], [-1, 0]], [0, 2, 1], [[5, 0]])
    first, second = np.exp(2.0), np.exp(1.2)
    np.testing.assert_allclose(found[0], [first / (first + second), 0, second / (first + second)], rtol=1e-6)


@pytest.mark.parametrize("block", [(1024, 65_536), (7, 11)])
def test_the_votes_are_scikit_learns(block: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    known, queries = rng.normal(size=(120, 16)), rng.normal(size=(40, 16))
    labels = rng.integers(0, 5, 120)
    model = KNeighborsClassifier(
        20, metric="cosine", algorithm="brute", weights=lambda d: np.exp((1 - d) / 0.07)
    ).fit(known, labels)
    found = votes(known, labels, queries, classes=5, k=20, temperature=0.07, block=block)  # type: ignore[arg-type]
    np.testing.assert_allclose(found, model.predict_proba(queries), atol=1e-5)


@pytest.mark.parametrize("keys", [3_000, 1_313, 20])
def test_the_nearest_among_many_are_found_by_groups(keys: int) -> None:
    rng = np.random.default_rng(2)
    known, queries = rng.normal(size=(3_000, 8)), rng.normal(size=(50, 8))
    known[1_000:1_200] = known[:200]  # equals in different groups
    labels = rng.integers(0, 5, 3_000)
    labels[1_000:1_200] = labels[:200]
    found = votes(known, labels, queries, classes=5, k=7, block=(16, keys))  # type: ignore[arg-type]
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (known, queries)]
    similar = unit[1] @ unit[0].T
    nearest = np.argsort(-similar, axis=1, kind="stable")[:, :7]
    weights = np.exp(np.take_along_axis(similar, nearest, 1) / 0.5)
    expected = np.stack([(weights * (labels[nearest] == label)).sum(1) for label in range(5)], 1)
    np.testing.assert_allclose(found, expected / expected.sum(1, keepdims=True), atol=1e-5)


def test_lengths_do_not_count_and_the_smallest_temperature_is_the_nearest_neighbour() -> None:
    rng = np.random.default_rng(1)
    known, queries, labels = rng.normal(size=(30, 8)), rng.normal(size=(9, 8)), rng.integers(0, 3, 30)
    lengths = rng.uniform(0.1, 50, (30, 1))
    np.testing.assert_allclose(
        votes(known * lengths, labels, queries, k=5), votes(known, labels, queries, k=5), atol=1e-5
    )
    nearest = votes(known, labels, queries, k=1).argmax(1)
    np.testing.assert_array_equal(votes(known, labels, queries, k=30, temperature=1e-5).argmax(1), nearest)


def test_features_of_zero_norm_are_far_from_all() -> None:
    found = votes([[0, 0], [1, 0], [1, 0.1]], [0, 1, 1], [[1, 0]])
    np.testing.assert_allclose(found[0], [0, 1, 0])
