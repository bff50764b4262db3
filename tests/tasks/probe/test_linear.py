"""The linear probe against scikit-learn's logistic regression, on every device's solver."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from eval_suite.core.errors import InputError
from eval_suite.tasks.probe.few_shot import drawn, validation_split
from eval_suite.tasks.probe.linear import by_torch, fit_linear, logistic, scale_of

CPU = torch.device("cpu")


def world(classes: int, n: int = 150) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % classes
    centres = 1.2 * rng.normal(size=(classes, 6))
    return (centres[labels] + rng.normal(size=(n, 6))).astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("c", [0.01, 1.0])
def test_both_solvers_find_scikit_learns_minimum(classes: int, c: float) -> None:
    features, labels = world(classes)
    expected = LogisticRegression(C=c, tol=1e-8, max_iter=5000).fit(features.astype(float), labels)
    probabilities = expected.predict_proba(features)
    from_sklearn = logistic(features, labels, c, classes, 1000, CPU)
    from_torch, converged = by_torch(features, labels, c, 1000, CPU)
    assert converged
    assert from_sklearn.converged
    for weight, bias in ((from_sklearn.weight, from_sklearn.bias), (from_torch[:, :-1], from_torch[:, -1])):
        logits = torch.from_numpy(features @ weight.T + bias)
        np.testing.assert_allclose(logits.softmax(1).numpy(), probabilities, atol=2e-3)


def test_a_warm_start_ends_at_the_same_minimum() -> None:
    for classes in (2, 3):
        features, labels = world(classes)
        first = logistic(features, labels, 0.1, classes, 1000, CPU)
        warm = logistic(features, labels, 1.0, classes, 1000, CPU, first)
        cold = logistic(features, labels, 1.0, classes, 1000, CPU)
        np.testing.assert_allclose(
            warm.weight - warm.weight.mean(0), cold.weight - cold.weight.mean(0), atol=0.02
        )


def test_the_penalty_is_chosen_on_items_that_are_not_fitted_to() -> None:
    rng = np.random.default_rng(1)
    features, labels = rng.normal(size=(80, 60)).astype(np.float32), np.arange(80) % 2
    features[:, 0] += 2 * (
        2 * labels - 1
    )  # one feature tells, 59 are noise: loose penalties remember the noise
    probe = fit(features, labels, [1e-3, 1e-2, 1e4])
    assert set(probe.accuracies) == {1e-3, 1e-2, 1e4}
    assert probe.c == max(probe.accuracies, key=lambda c: (probe.accuracies[c], -c))
    fitted, validated = validation_split(labels, 0.25, 0)
    scaled = scale_of(features).apply(features)
    alone = logistic(scaled[fitted], labels[fitted], 1e-3, 2, 1000, CPU)
    right = (scaled[validated] @ alone.weight.T + alone.bias).argmax(1) == labels[validated]
    assert probe.accuracies[1e-3] == pytest.approx(right.mean())


def fit(features: np.ndarray, labels: np.ndarray, penalties: list[float], classes: int = 2):  # type: ignore[no-untyped-def]
    return fit_linear(
        features,
        labels,
        classes=classes,
        penalties=penalties,
        validation_fraction=0.25,
        max_iterations=1000,
        seed=0,
        device=CPU,
    )


def test_units_of_the_features_do_not_count() -> None:
    features, labels = world(3)
    one, other = fit(features, labels, [1.0], 3), fit(1000 * features + 5, labels, [1.0], 3)
    np.testing.assert_allclose(one.scores(features), other.scores(1000 * features + 5), atol=0.02)


def test_a_class_without_training_images_is_never_predicted() -> None:
    features, labels = world(2)
    scores = fit(features, 2 * labels, [1.0], 4).scores(features)
    assert set(scores.argmax(1).tolist()) <= {0, 2}
    assert np.isfinite(scores).all()


def test_what_cannot_be_chosen_or_fitted_is_refused() -> None:
    features, labels = world(3, n=3)
    with pytest.raises(InputError, match="--linear-c"):
        fit(features, labels, [0.1, 1.0], 3)
    assert fit(features, labels, [1.0], 3).accuracies == {}
    with pytest.raises(InputError, match="two classes"):
        fit(features, np.zeros(3, np.int64), [1.0], 3)


def test_shares_are_of_each_class_and_nested() -> None:
    labels = np.repeat([0, 1, 2], [100, 10, 1])
    few, more = drawn(labels, 0.1, 0), drawn(labels, 0.5, 0)
    assert np.bincount(labels[few]).tolist() == [10, 1, 1]
    assert set(few) <= set(more)
    assert drawn(labels, 1.0, 0).tolist() == list(range(111))
    assert not np.array_equal(few, drawn(labels, 0.1, 1))


def test_the_validation_part_is_disjoint_and_spares_the_last_of_a_class() -> None:
    labels = np.repeat([0, 1, 2], [10, 2, 1])
    fitted, validated = validation_split(labels, 0.2, 0)
    assert np.bincount(labels[fitted]).tolist() == [8, 1, 1]
    assert sorted([*fitted, *validated]) == list(range(13))
