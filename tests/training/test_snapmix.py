"""SnapMix against its authors' steps, image by image."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from eval_suite.backbones.backbone import Backbone
from eval_suite.core.errors import InputError
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.training.loop import train
from eval_suite.training.network import Network
from eval_suite.training.recipe import Recipe
from eval_suite.training.regularizers.base import Context
from eval_suite.training.regularizers.boxes import cutmix_box
from eval_suite.training.regularizers.draws import beta, integers, permutation, uniform
from eval_suite.training.regularizers.labels import LabelSmoothing
from eval_suite.training.regularizers.snapmix import SnapMix

CLASSES, SIZE = 3, 16


def installed() -> Network:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 4, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, CLASSES)
    )
    backbone = Backbone.wrap(net, input_size=(SIZE, SIZE), mean=(0.5,) * 3, std=(0.25,) * 3).train()
    network = Network(net, "small", (SIZE, SIZE), backbone)
    SnapMix().install(network)
    return network


def class_map(network: Network, image: Tensor, label: int) -> Tensor:
    """(H, W): the normalised map of the authors' `get_spm`."""
    features = network.net[1](network.net[0]((image[None] - 0.5) / 0.25))  # type: ignore[index, operator]
    weight, bias = network.net[4].weight, network.net[4].bias  # type: ignore[index, union-attr]
    out = F.conv2d(features, weight[:, :, None, None], bias)[:, [label]]  # type: ignore[index, arg-type]
    resized = F.interpolate(out, (SIZE, SIZE), mode="bilinear", align_corners=False)[0, 0]
    resized = resized - resized.min()
    return resized / resized.sum()


@torch.no_grad()
def test_labels_and_pixels_are_the_authors() -> None:
    network, mixer = installed(), SnapMix(alpha=1.0)
    before = torch.rand(6, 3, SIZE, SIZE, generator=Generator().manual_seed(1))
    labels = torch.tensor([0, 1, 2, 0, 1, 0])
    targets = F.one_hot(labels, CLASSES).float()
    mixed = 0
    for seed in range(12):
        images, parts = mixer.apply(
            before.clone(),
            targets.clone(),
            Context(Generator().manual_seed(seed), torch.zeros(3), network=network),
        )
        generator = Generator().manual_seed(seed)
        uniform(generator)
        lambdas = [beta(1.0, generator) for _ in range(2)]
        order = permutation(6, generator)
        box, source = (
            cutmix_box(SIZE, SIZE, lam, int(integers(SIZE, 1, generator)), int(integers(SIZE, 1, generator)))
            for lam in lambdas
        )
        if not (box.area and source.area):
            assert torch.equal(images, before)
            continue
        mixed += 1
        for i, partner in enumerate(order.tolist()):
            content = F.interpolate(
                before[partner][(slice(None), *source.inside)][None],
                (box.y1 - box.y0, box.x1 - box.x0),
                mode="bilinear",
                align_corners=True,
            )
            expected = before[i].clone()
            expected[(slice(None), *box.inside)] = content[0]
            torch.testing.assert_close(images[i], expected)
            own = 1 - class_map(network, before[i], int(labels[i]))[box.inside].sum()
            theirs = class_map(network, before[partner], int(labels[partner]))[source.inside].sum()
            if labels[i] == labels[partner]:
                own = theirs = own + theirs
            torch.testing.assert_close(parts[i, 0], targets[i] * own)
            torch.testing.assert_close(parts[i, 1], targets[partner] * theirs)
    assert mixed > 6


@torch.no_grad()
def test_the_loss_weighs_both_labels_also_smoothed() -> None:
    logits, weights = torch.randn(4, CLASSES), torch.tensor([[0.9, 0.4], [1.1, 1.1], [0.2, 0.0], [1.0, 0.5]])
    labels = torch.tensor([[0, 1], [2, 2], [1, 0], [2, 1]])
    parts = F.one_hot(labels, CLASSES) * weights[..., None]
    for smoothing in (0.0, 0.1):
        smoothed = (
            LabelSmoothing(epsilon=smoothing)
            .apply(logits, parts, Context(Generator(), torch.zeros(3)))
            .targets
        )
        each = [
            F.cross_entropy(logits, labels[:, k], reduction="none", label_smoothing=smoothing) * weights[:, k]
            for k in (0, 1)
        ]
        torch.testing.assert_close(SnapMix().criterion(None)(logits, smoothed), sum(each).mean())  # type: ignore[union-attr]
    unmixed = torch.eye(CLASSES)[[0, 1, 2, 0]]
    torch.testing.assert_close(SnapMix().criterion(None)(logits, unmixed), F.cross_entropy(logits, unmixed))


def test_a_map_of_one_value_mixes_labels_by_area() -> None:
    network = installed()
    with torch.no_grad():
        network.net[4].weight.zero_()  # type: ignore[index, union-attr, operator]
    before = torch.rand(4, 3, SIZE, SIZE)
    for seed in range(8):
        context = Context(Generator().manual_seed(seed), torch.zeros(3), network=network)
        _, parts = SnapMix(alpha=1.0).apply(before.clone(), torch.eye(CLASSES)[[0, 1, 2, 1]], context)
        assert parts.isfinite().all()
        if parts.ndim == 3:
            same = parts[:, 0].argmax(1) == parts[:, 1].argmax(1)
            torch.testing.assert_close(parts.sum((1, 2))[~same], torch.ones(int((~same).sum())))


def test_a_network_without_a_pooled_linear_classifier_is_refused() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.Flatten(), nn.Linear(16, CLASSES))
    backbone = Backbone.wrap(net, input_size=(SIZE, SIZE), mean=(0.5,) * 3, std=(0.5,) * 3)
    with pytest.raises(InputError, match="linear layer of the mean"):
        SnapMix().install(Network(net, "small", (SIZE, SIZE), backbone))


def test_a_recipe_trains_with_it(tiny_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = tiny_recipe(regularizers=["snapmix", "label-smoothing"], epochs=1, limit=32, accumulate=2)
    runtime = RuntimeOptions(device="cpu", workers=0, threads=1)
    card = train(recipe, name="net", seed=0, folder=tmp_path / "net", runtime=runtime).card
    assert card.training is not None
    assert 0 < card.training["last"]["train_loss"] < 10
