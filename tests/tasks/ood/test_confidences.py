"""Score functions against closed forms, pytorch-ood and scikit-learn; larger is always more in-distribution."""

import numpy as np
import pytest
import torch
from pytorch_ood.detector import KNN
from pytorch_ood.detector import Mahalanobis as PytorchOodMahalanobis
from scipy.special import logsumexp, softmax
from sklearn.covariance import EmpiricalCovariance
from torch import Tensor, nn

from eval_suite.core.errors import InputError
from eval_suite.tasks.ood.confidences import FitOptions, OodScore, TrainingFeatures, make_confidences
from eval_suite.tasks.ood.confidences.knn import Neighbours
from eval_suite.tasks.ood.confidences.mahalanobis import Mahalanobis
from eval_suite.tasks.ood.options import OodOptions
from eval_suite.tasks.ood.scores import fitted_scores, require_scores, score_title

OPTIONS = FitOptions.of(OodOptions(data="folder:x", knn_k=5, nnguide_k=4))
EMPTY = torch.zeros(0)
NONE = TrainingFeatures(EMPTY, EMPTY.long())


def some_features(n: int, width: int = 6, seed: int = 0) -> Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed)).relu() + 0.01


@pytest.fixture
def training() -> TrainingFeatures:
    torch.manual_seed(0)
    return TrainingFeatures(some_features(90), torch.arange(90) % 3, nn.Linear(6, 3))


def of(
    name: str, training: TrainingFeatures | None, logits: Tensor, features: Tensor, **changes: object
) -> np.ndarray:
    made = make_confidences([name], training or NONE, OPTIONS._replace(**changes))  # type: ignore[arg-type]
    found = made[name](logits, features)
    assert found.dtype == torch.float64
    return np.asarray(found.numpy())


@pytest.mark.parametrize("scale", [1, 30])
def test_scores_of_logits(scale: int) -> None:
    logits = scale * torch.randn(50, 7, generator=torch.Generator().manual_seed(1))
    exact = logits.numpy().astype(np.float64)
    np.testing.assert_allclose(of("max-softmax", None, logits, EMPTY), softmax(exact, axis=1).max(axis=1))
    np.testing.assert_allclose(of("max-logit", None, logits, EMPTY), exact.max(axis=1))
    np.testing.assert_allclose(of("energy", None, logits, EMPTY), logsumexp(exact, axis=1))


def test_sure_networks_keep_different_confidences() -> None:
    logits = torch.zeros(100, 10)
    logits[:, 0] = torch.linspace(18, 30, 100)
    assert len(np.unique(of("max-softmax", None, logits, EMPTY))) == 100
    assert len(logits.softmax(dim=1).amax(dim=1).unique()) < 10  # in single precision


def test_mahalanobis_is_the_nearest_class_under_one_covariance(training: TrainingFeatures) -> None:
    features, labels = training.features.numpy().astype(float), training.labels.numpy()
    means = np.stack([features[labels == c].mean(axis=0) for c in range(3)])
    shared = EmpiricalCovariance(assume_centered=True).fit(features - means[labels])
    new = some_features(20, seed=5)
    distances = []
    for mean in means:
        centred = new.numpy().astype(float) - mean
        distances.append(np.einsum("ni,ij,nj->n", centred, shared.precision_, centred))
    np.testing.assert_allclose(of("mahalanobis", training, EMPTY, new), -np.min(distances, axis=0))


def test_mahalanobis_agrees_with_pytorch_ood_where_single_precision_does(training: TrainingFeatures) -> None:
    theirs = PytorchOodMahalanobis(None).fit_features(training.features, training.labels)
    new = some_features(20, seed=5)
    # Theirs is half the distance, and its covariance a sum over the images instead of a mean.
    expected = -2 * 90 * theirs.predict_features(new).numpy()
    np.testing.assert_allclose(of("mahalanobis", training, EMPTY, new), expected, rtol=1e-3)


def fitted(score: OodScore, features: Tensor, labels: Tensor, **changes: object) -> OodScore:
    score.fit(
        TrainingFeatures(features, labels, nn.Linear(features.shape[1], 3)),
        OPTIONS._replace(**changes),  # type: ignore[arg-type]
    )
    return score


def test_mahalanobis_stands_dead_features_and_missing_classes() -> None:
    features = torch.cat([some_features(60), torch.zeros(60, 2)], dim=1)
    dead = fitted(Mahalanobis(), features, torch.arange(60) % 3 * 2)  # classes 0, 2, 4
    new = some_features(10, seed=5)
    plain = fitted(Mahalanobis(), features[:, :6], torch.arange(60) % 3)
    padded = torch.cat([new, torch.zeros(10, 2)], dim=1)
    np.testing.assert_allclose(dead(EMPTY, padded), plain(EMPTY, new), rtol=1e-6)


def test_mahalanobis_of_many_classes_is_the_distance_written_out() -> None:
    features, labels = some_features(400, 20).double() + 50, torch.arange(400) % 100
    made = fitted(Mahalanobis(), features, labels)
    new = some_features(30, 20, seed=5).double() + 50
    assert isinstance(made, Mahalanobis)
    apart = new[:, None] - made.means
    expected = -torch.einsum("ncd,de,nce->nc", apart, made.precision, apart).amin(dim=1)
    torch.testing.assert_close(made(EMPTY, new), expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize(("images", "classes", "match"), [(6, 3, "more than 6"), (7, 7, "a class with two")])
def test_mahalanobis_needs_a_covariance(images: int, classes: int, match: str) -> None:
    with pytest.raises(InputError, match=match):
        fitted(Mahalanobis(), some_features(images), torch.arange(images) % classes)
    assert fitted(Mahalanobis(), some_features(7), torch.arange(7) % 6)


@pytest.mark.parametrize("dimension", [None, 1, 5])
def test_vim_needs_more_images_than_features(training: TrainingFeatures, dimension: int | None) -> None:
    options = OPTIONS._replace(vim_dimension=dimension)
    with pytest.raises(InputError, match="expected more than 6 training images"):
        make_confidences(
            ["vim"],
            training._replace(features=training.features[:6], labels=training.labels[:6]),
            options,
        )
    few = training._replace(features=training.features[:7], labels=training.labels[:7])
    assert make_confidences(["vim"], few, options)


def test_neighbours_are_those_of_scikit_learn_and_pytorch_ood(training: TrainingFeatures) -> None:
    theirs = KNN(None, k=5).fit_features(training.features.double(), training.labels)
    new = some_features(40, seed=6)
    found = of("knn", training, EMPTY, new)
    np.testing.assert_allclose(found, -theirs.predict_features(new.double()).numpy(), atol=1e-9)
    np.testing.assert_allclose(of("knn", training, EMPTY, 7 * new), found)  # length does not count
    itself = of("knn", training, EMPTY, training.features, knn_k=1)
    np.testing.assert_allclose(itself, 0, atol=1e-7)


def test_what_is_scored_together_does_not_matter() -> None:
    nearest = fitted(Neighbours(), some_features(30), torch.arange(30) % 3, knn_k=3)
    new = some_features(2500, seed=2)
    apart = torch.cat([nearest(EMPTY, new[:100]), nearest(EMPTY, new[100:])])
    torch.testing.assert_close(nearest(EMPTY, new), apart)


def test_react_cuts_at_a_percentile_of_all_activations(training: TrainingFeatures) -> None:
    limit = np.percentile(training.features.numpy().astype(float), 90)
    new = some_features(20, seed=7)
    weight, bias = training.layer.weight.detach().numpy(), training.layer.bias.detach().numpy()
    expected = logsumexp(np.minimum(new.numpy().astype(float), limit) @ weight.T.astype(float) + bias, axis=1)
    np.testing.assert_allclose(of("react", training, EMPTY, new), expected)
    uncut = of("react", training, EMPTY, training.features, react_percentile=1.0)
    with torch.no_grad():
        logits = training.layer(training.features)
    np.testing.assert_allclose(uncut, of("energy", None, logits, EMPTY), rtol=1e-5)


def test_vim_is_the_energy_less_the_scaled_residual(training: TrainingFeatures) -> None:
    weight = training.layer.weight.detach().numpy().astype(float)
    bias = training.layer.bias.detach().numpy().astype(float)
    origin = -np.linalg.pinv(weight) @ bias
    known, new = training.features.numpy().astype(float), some_features(20, seed=8).numpy().astype(float)
    _, _, directions = np.linalg.svd(known - origin)  # by falling variance
    rest = directions[2:].T
    alpha = (known @ weight.T + bias).max(axis=1).mean() / np.linalg.norm(
        (known - origin) @ rest, axis=1
    ).mean()
    expected = logsumexp(new @ weight.T + bias, axis=1) - alpha * np.linalg.norm(
        (new - origin) @ rest, axis=1
    )
    found = of("vim", training, EMPTY, torch.from_numpy(new).float(), vim_dimension=2)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    by_rule = of("vim", training, EMPTY, torch.from_numpy(new).float())
    np.testing.assert_array_equal(
        by_rule, of("vim", training, EMPTY, torch.from_numpy(new).float(), vim_dimension=3)
    )


def test_a_last_layer_without_bias(training: TrainingFeatures) -> None:
    layer = nn.Linear(6, 3, bias=False)
    zero = nn.Linear(6, 3)
    zero.weight, zero.bias.data = layer.weight, torch.zeros(3)
    new = some_features(10, seed=9)
    for name in ("react", "vim"):
        without = of(name, training._replace(layer=layer), EMPTY, new)
        np.testing.assert_allclose(without, of(name, training._replace(layer=zero), EMPTY, new))


@pytest.mark.parametrize("name", ["mahalanobis", "knn"])
def test_training_images_score_above_far_ones(name: str, training: TrainingFeatures) -> None:
    far = torch.tensor([[-30.0, 40, -50, 20, -10, 60]])
    with torch.no_grad():
        near, away = training.layer(training.features), training.layer(far)
    assert of(name, training, near, training.features).min() > of(name, training, away, far).max()


def test_too_few_training_images_and_a_dimension_too_wide(training: TrainingFeatures) -> None:
    with pytest.raises(
        InputError, match="expected at least 91 training images for the score 'knn', found 90"
    ):
        make_confidences(["knn"], training, OPTIONS._replace(knn_k=91))
    with pytest.raises(InputError, match="from 1 to 5 for features of width 6, found 6"):
        make_confidences(["vim"], training, OPTIONS._replace(vim_dimension=6))


def test_names() -> None:
    assert require_scores(["energy", "odin", "energy"]) == ["energy", "odin"]
    with pytest.raises(InputError, match=r"unknown score 'enrgy'\. Did you mean 'energy'\?"):
        require_scores(["max-softmax", "enrgy"])
    assert score_title("knn") == "KNN"
    assert score_title("theirs") == "theirs"
    assert set(fitted_scores()) == {
        "mahalanobis",
        "rmd",
        "knn",
        "react",
        "she",
        "vim",
        "dice",
        "klm",
        "fdbd",
        "nnguide",
        "vra",
        "gram",
    }


def test_generalised_entropy_by_hand_over_at_most_a_hundred_classes() -> None:
    two = torch.tensor([[0.5, 0.5], [0.9, 0.1]]).log()
    expected = [-2 * 0.25**0.1, -2 * 0.09**0.1]
    np.testing.assert_allclose(of("gen", None, two, EMPTY), expected, rtol=1e-6)
    logits = torch.randn(20, 150, generator=torch.Generator().manual_seed(0))
    top = np.sort(softmax(logits.numpy().astype(float), axis=1))[:, -100:]
    np.testing.assert_allclose(of("gen", None, logits, EMPTY), -((top * (1 - top)) ** 0.1).sum(1))


def test_the_relative_distance_is_that_of_two_gaussians(training: TrainingFeatures) -> None:
    features, queries = training.features.numpy().astype(float), some_features(20, seed=3)
    background = EmpiricalCovariance().fit(features)
    expected = of("mahalanobis", training, EMPTY, queries) + background.mahalanobis(
        queries.numpy().astype(float)
    )
    np.testing.assert_allclose(of("rmd", training, EMPTY, queries), expected, rtol=1e-6)


def test_patterns_are_of_the_images_that_were_right() -> None:
    layer = nn.Linear(2, 2, bias=False)
    layer.weight.data = torch.eye(2)
    # The third is taken for class 1 but is of class 0, so the pattern of class 0 is the mean of the first two.
    known = torch.tensor([[4.0, 0.0], [2.0, 1.0], [0.0, 9.0], [0.0, 3.0]])
    training = TrainingFeatures(known, torch.tensor([0, 0, 0, 1]), layer)
    features = torch.tensor([[1.0, 2.0], [5.0, 1.0]])
    found = of("she", training, features, features)
    np.testing.assert_allclose(found, [2.0 * 3.0, 5.0 * 3.0 + 1.0 * 0.5])
    with pytest.raises(InputError):
        of("she", training._replace(labels=torch.tensor([1, 1, 0, 0])), features, features)
