"""Scores that shape features or the last layer, against closed forms and pytorch-ood; larger is more in-distribution."""

import numpy as np
import pytest
import torch
from pytorch_ood.detector import ASH, DICE, SCALE, VRA, KLMatching, NNGuide, fDBD
from scipy.special import logsumexp, rel_entr, softmax
from torch import Tensor, nn

from eval_suite.core.errors import InputError
from eval_suite.tasks.ood.confidences import FitOptions, TrainingFeatures, make_confidences
from eval_suite.tasks.ood.confidences.ash import largest
from eval_suite.tasks.ood.options import OodOptions

OPTIONS = FitOptions.of(OodOptions(data="folder:x", nnguide_k=4))
WIDTH, CLASSES = 20, 3
ASHES = {"ash-p": 0.6, "ash-b": 0.65, "ash-s": 0.9}


def some_features(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(seed)).relu()


@pytest.fixture
def training() -> TrainingFeatures:
    torch.manual_seed(0)
    layer, features = nn.Linear(WIDTH, CLASSES), some_features(90)
    with torch.no_grad():
        return TrainingFeatures(features, torch.arange(90) % CLASSES, layer, layer(features))


def of(name: str, training: TrainingFeatures, features: Tensor, **changes: object) -> np.ndarray:
    made = make_confidences([name], training, OPTIONS._replace(**changes))  # type: ignore[arg-type]
    assert training.layer is not None
    with torch.no_grad():
        found = made[name](training.layer(features), features)
    assert found.dtype == torch.float64
    return np.asarray(found.numpy())


def head(training: TrainingFeatures) -> tuple[np.ndarray, np.ndarray]:
    assert training.layer is not None
    weight, bias = training.layer.weight.detach(), training.layer.bias.detach()
    return weight.numpy().astype(float), bias.numpy().astype(float)


def energy(training: TrainingFeatures, features: np.ndarray) -> np.ndarray:
    weight, bias = head(training)
    return np.asarray(logsumexp(features @ weight.T + bias, axis=1))


def layer_of(training: TrainingFeatures) -> nn.Linear:
    weight, bias = head(training)
    layer = nn.Linear(WIDTH, CLASSES).double()
    layer.weight.data, layer.bias.data = torch.from_numpy(weight), torch.from_numpy(bias)
    return layer


# ASH and SCALE.


def test_the_largest_by_hand() -> None:
    given = torch.tensor([[1.0, 5.0, 0.0, 2.0]])
    assert largest(given, 0.5).tolist() == [[0, 5, 0, 2]]
    assert largest(given, 0.5, mark=True).tolist() == [[0, 1, 0, 1]]
    assert largest(given, 0.99).tolist() == [[0, 5, 0, 0]]  # one stays
    assert largest(given, 0.0).tolist() == given.tolist()


def test_shaped_energies_by_hand(training: TrainingFeatures) -> None:
    one = TrainingFeatures(training.features[:, :4], training.labels, nn.Linear(4, 1, bias=False))
    assert one.layer is not None
    one.layer.weight.data = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    given = torch.tensor([[1.0, 5.0, 0.0, 2.0]])
    pruned, whole = 2 * 5 + 4 * 2.0, 1 + 2 * 5 + 4 * 2.0
    factor = np.exp(8 / 7)
    for name, expected in {
        "ash-p": pruned,
        "ash-b": (2 + 4) * 4.0,
        "ash-s": pruned * factor,
    }.items():
        assert of(name, one, given, ash_percentile=0.5) == pytest.approx([expected])
    assert of("scale", one, given, scale_percentile=0.5) == pytest.approx([whole * factor])


@pytest.mark.parametrize("percentile", [None, 0.65, 0.95])
@pytest.mark.parametrize("name", list(ASHES))
def test_ash_is_that_of_pytorch_ood(name: str, percentile: float | None, training: TrainingFeatures) -> None:
    new = some_features(40, 1)
    head_of_maps = nn.Sequential(nn.Flatten(), layer_of(training))
    theirs = ASH(nn.Identity(), head_of_maps, name, ASHES[name] if percentile is None else percentile)
    expected = -theirs.predict_feature_maps(new.double()[:, :, None, None])
    np.testing.assert_allclose(of(name, training, new, ash_percentile=percentile), expected, rtol=1e-12)


@pytest.mark.parametrize("percentile", [0.65, 0.85])
def test_scale_is_that_of_pytorch_ood(percentile: float, training: TrainingFeatures) -> None:
    new = some_features(40, 1)
    theirs = SCALE(nn.Identity(), nn.Sequential(nn.Flatten(), layer_of(training)), percentile)
    expected = -theirs.predict_feature_maps(new.double()[:, :, None, None].contiguous())
    np.testing.assert_allclose(of("scale", training, new, scale_percentile=percentile), expected, rtol=1e-12)


def test_nothing_removed_is_the_energy(training: TrainingFeatures) -> None:
    new = some_features(30, 2)
    plain = energy(training, new.numpy().astype(float))
    for name in ("ash-p",):
        np.testing.assert_allclose(of(name, training, new, ash_percentile=0.0), plain)
    stretched = energy(training, np.e * new.numpy().astype(float))
    np.testing.assert_allclose(of("ash-s", training, new, ash_percentile=0.0), stretched)
    np.testing.assert_allclose(of("scale", training, new, scale_percentile=0.0), stretched)
    np.testing.assert_allclose(of("dice", training, new, dice_sparsity=0.0).shape, (30,))


def test_an_image_without_activations_is_a_number(training: TrainingFeatures) -> None:
    new = torch.cat([torch.zeros(1, WIDTH), some_features(3, 3)])
    for name in (*ASHES, "scale", "vra", "dice", "fdbd", "nnguide"):
        found = of(name, training, new)
        assert np.isfinite(found).all(), name
        np.testing.assert_allclose(found[1:], of(name, training, new[1:]), rtol=1e-12)


def test_the_order_of_features_does_not_matter(training: TrainingFeatures) -> None:
    order = torch.randperm(WIDTH, generator=torch.Generator().manual_seed(3))
    assert training.layer is not None
    turned = nn.Linear(WIDTH, CLASSES)
    turned.weight.data, turned.bias.data = training.layer.weight.data[:, order], training.layer.bias.data
    other = training._replace(features=training.features[:, order], layer=turned)
    new = some_features(20, 4) + torch.rand(
        20, WIDTH
    )  # ASH-B fills whichever of equal activations come first
    for name in (*ASHES, "scale", "vra", "dice", "fdbd", "nnguide"):
        np.testing.assert_allclose(of(name, other, new[:, order]), of(name, training, new), rtol=1e-5)


# DICE.


def test_dice_keeps_the_largest_contributions(training: TrainingFeatures) -> None:
    weight, bias = head(training)
    contributions = weight * training.features.numpy().astype(float).mean(0)
    kept = np.where(contributions > np.quantile(contributions, 0.7), weight, 0)
    new = some_features(20, 5)
    expected = logsumexp(new.numpy().astype(float) @ kept.T + bias, axis=1)
    np.testing.assert_allclose(of("dice", training, new, dice_sparsity=0.7), expected, rtol=1e-12)
    assert (kept != 0).sum() == np.ceil(0.3 * weight.size)


def test_dice_is_that_of_pytorch_ood(training: TrainingFeatures) -> None:
    layer, new = layer_of(training).float(), some_features(40, 6)
    theirs = DICE(None, layer.weight, layer.bias, p=0.9).fit_features(training.features, training.labels)
    np.testing.assert_allclose(of("dice", training, new), -theirs.predict_features(new), rtol=1e-5)


# KL matching.


def test_the_divergence_to_the_nearest_typical_probabilities(training: TrainingFeatures) -> None:
    assert training.logits is not None
    known = softmax(training.logits.numpy().astype(float), axis=1)
    typical = np.stack([known[known.argmax(1) == c].mean(0) for c in np.unique(known.argmax(1))])
    new = some_features(20, 7)
    weight, bias = head(training)
    probabilities = softmax(new.numpy().astype(float) @ weight.T + bias, axis=1)
    expected = -rel_entr(probabilities[:, None], typical[None]).sum(2).min(1)
    np.testing.assert_allclose(of("klm", training, new), expected, rtol=1e-5, atol=1e-7)
    theirs = KLMatching(None).fit_logits(training.logits.double())
    logits = torch.from_numpy(np.log(probabilities))
    np.testing.assert_allclose(-theirs.predict_logits(logits), expected, rtol=1e-6)


def test_typical_probabilities_themselves_have_no_divergence() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    nothing = torch.zeros(0)
    training = TrainingFeatures(nothing, torch.tensor([0, 1]), None, logits)
    made = make_confidences(["klm"], training, OPTIONS)
    np.testing.assert_allclose(made["klm"](logits, nothing), [0, 0], atol=1e-12)
    assert made["klm"](torch.tensor([[0.0, 0.0]]), nothing).item() < -0.1


# fDBD.


def test_distance_to_boundaries_by_hand(training: TrainingFeatures) -> None:
    weight, bias = head(training)
    new = some_features(20, 8).numpy().astype(float)
    mean, expected = training.features.numpy().astype(float).mean(0), []
    for z in new:
        logits = weight @ z + bias
        top = logits.argmax()
        apart = [
            (logits[top] - logits[c]) / np.linalg.norm(weight[top] - weight[c])
            for c in range(CLASSES)
            if c != top
        ]
        expected.append(np.mean(apart) / np.linalg.norm(z - mean))
    found = of("fdbd", training, torch.from_numpy(new).float())
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    theirs = fDBD(None, layer_of(training).float()).fit_features(training.features)
    np.testing.assert_allclose(found, -theirs.predict_features(torch.from_numpy(new).float()), rtol=1e-5)


def test_classes_of_equal_weights_have_no_boundary(training: TrainingFeatures) -> None:
    twice = nn.Linear(WIDTH, CLASSES + 1)
    assert training.layer is not None
    twice.weight.data = training.layer.weight.data[[0, 1, 2, 2]]
    twice.bias.data = training.layer.bias.data[[0, 1, 2, 2]]
    new = some_features(40, 9)
    found, alone = (of("fdbd", each, new) for each in (training._replace(layer=twice), training))
    with torch.no_grad():
        third = (training.layer(new).argmax(1) == 2).numpy()
    assert third.any()
    np.testing.assert_allclose(found[third], alone[third], rtol=1e-6)


# NNGuide.


def test_guidance_is_the_mean_of_the_largest_products(training: TrainingFeatures) -> None:
    known, new = training.features.numpy().astype(float), some_features(25, 10)
    exact = new.numpy().astype(float)
    bank = known / np.linalg.norm(known, axis=1, keepdims=True) * energy(training, known)[:, None]
    products = exact / np.linalg.norm(exact, axis=1, keepdims=True) @ bank.T
    expected = np.sort(products, axis=1)[:, -4:].mean(1) * energy(training, exact)
    np.testing.assert_allclose(of("nnguide", training, new), expected, rtol=1e-10)
    theirs = NNGuide(None, layer_of(training).float(), k=4).fit_features(training.features, training.labels)
    np.testing.assert_allclose(
        of("nnguide", training, new), -theirs.predict_features(new).detach(), rtol=1e-4
    )


def test_more_neighbours_than_training_images_are_refused(training: TrainingFeatures) -> None:
    with pytest.raises(InputError) as caught:
        of("nnguide", training, training.features, nnguide_k=91)
    assert (caught.value.found, "--nnguide-k" in (caught.value.remedy or "")) == ("90", True)


# VRA.


def test_low_features_are_0_and_high_ones_cut(training: TrainingFeatures) -> None:
    known, new = training.features.numpy().astype(float), some_features(25, 11)
    low, high = np.quantile(known, [0.6, 0.95], axis=0)
    exact = new.numpy().astype(float)
    expected = energy(training, np.where(exact < low, 0, np.minimum(exact, high)))
    np.testing.assert_allclose(of("vra", training, new), expected, rtol=1e-12)


def test_vra_is_that_of_pytorch_ood_where_nothing_is_low(training: TrainingFeatures) -> None:
    new = some_features(25, 12)
    theirs = VRA(None, nn.Sequential(nn.Flatten(), layer_of(training)), 0.0, 0.9)
    theirs.fit_feature_maps(training.features.double()[:, :, None, None], training.labels)
    expected = -theirs.predict_feature_maps(new.double()[:, :, None, None])
    found = of("vra", training, new, vra_percentiles=(0.0, 0.9))
    np.testing.assert_allclose(found, expected.detach(), rtol=1e-6)
