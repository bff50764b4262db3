"""RegMixup and AugMix: the views of each image, and the losses of the authors' code."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Generator

from eval_suite.core.runtime import RuntimeOptions
from eval_suite.training.loop import train
from eval_suite.training.recipe import Recipe
from eval_suite.training.regularizers import Context, Shard
from eval_suite.training.regularizers._operations import OPERATIONS, posterize, rotate, shear_x, translate_y
from eval_suite.training.regularizers.draws import beta, permutation
from eval_suite.training.regularizers.views import AugMix, RegMixup
from tests.training.mixtures import context


def test_regmixup_is_the_images_and_their_mixup_and_its_loss_the_authors() -> None:
    before, labels = torch.rand(5, 3, 8, 8), torch.tensor([0, 2, 1, 1, 0])
    images, targets = RegMixup(alpha=20).apply(before.clone(), F.one_hot(labels, 3).float(), context(2))
    generator = Generator().manual_seed(2)
    lam = beta(20, generator)
    order = permutation(5, generator)
    assert torch.equal(images[::2], before)
    torch.testing.assert_close(images[1::2], lam * before + (1 - lam) * before[order])
    logits = torch.randn(10, 3)
    # The authors' criterion over images, then mixtures: lambda of the own labels, the rest of the partners'.
    both = torch.cat((logits[::2], logits[1::2]))
    expected = lam * F.cross_entropy(both, torch.cat((labels, labels))) + (1 - lam) * F.cross_entropy(
        both, torch.cat((labels, labels[order]))
    )
    torch.testing.assert_close(F.cross_entropy(logits, targets), expected)


def test_augmix_begins_with_the_image_and_blends_within_its_bounds() -> None:
    before = torch.rand(6, 3, 16, 16, generator=Generator().manual_seed(0))
    images, targets = AugMix().apply(before.clone(), torch.eye(6), context(1))
    views = images.unflatten(0, (6, 3))
    assert torch.equal(views[:, 0], before)
    assert (views[:, 1:] != before[:, None]).flatten(1).any(1).all()
    assert views.min() >= 0
    assert views.max() <= 1
    assert torch.equal(targets, torch.eye(6).repeat_interleave(3, 0))


def test_a_mixture_of_chains_that_do_nothing_is_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "eval_suite.training.regularizers._operations.OPERATIONS", (lambda image, _level, _sign: image,)
    )
    before = torch.randint(256, (2, 3, 8, 8), generator=Generator().manual_seed(0)) / 255
    images, _ = AugMix(alpha=0.5, width=4).apply(before.clone(), torch.eye(2), context())
    # Weights that sum to 1.
    torch.testing.assert_close(images, before.repeat_interleave(3, 0))


def test_augmix_loss_is_the_authors() -> None:
    generator = Generator().manual_seed(0)
    logits = torch.randn(12, 5, generator=generator) * 3
    labels = torch.tensor([0, 4, 2, 1])
    targets = F.one_hot(labels, 5).float().repeat_interleave(3, 0)
    clean, first, second = (logits[i::3] for i in range(3))
    p = [one.softmax(1) for one in (clean, first, second)]
    mixture = torch.clamp(sum(p) / 3, 1e-7, 1).log()  # type: ignore[arg-type]
    expected = (
        F.cross_entropy(clean, labels)
        + 12 * sum(F.kl_div(mixture, one, reduction="batchmean") for one in p) / 3
    )
    torch.testing.assert_close(AugMix().criterion(None)(logits, targets), expected)


def test_alike_predictions_cost_nothing_and_opposite_ones_log_2_over_3_and_more() -> None:
    targets = torch.eye(2)[[0]].repeat(3, 1)
    alike = torch.zeros(3, 2)
    assert AugMix().criterion(None)(alike, targets).item() == pytest.approx(math.log(2))
    opposite = torch.tensor([[50.0, 0.0], [0.0, 50.0], [0.0, 50.0]])
    # Entropy of (1/3, 2/3), as all three are certain.
    entropy = -(math.log(1 / 3) / 3 + 2 * math.log(2 / 3) / 3)
    loss = AugMix(consistency=1.0).criterion(None)(opposite, targets).item()
    assert loss == pytest.approx(entropy, abs=1e-5)


def test_operations_are_pillows_at_their_levels() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8))
    same = {
        "posterize": (posterize(image, 3.0, 1), ImageOps.posterize(image, 3)),
        "rotate": (rotate(image, 2.0, -1), image.rotate(-6, resample=Image.Resampling.BILINEAR)),
        "shear": (
            shear_x(image, 3.0, 1),
            image.transform(
                (12, 9), Image.Transform.AFFINE, (1, 0.09, 0, 0, 1, 0), Image.Resampling.BILINEAR
            ),
        ),
        "translate": (
            translate_y(image, 10.0, 1),
            image.transform((12, 9), Image.Transform.AFFINE, (1, 0, 0, 0, 1, 3), Image.Resampling.BILINEAR),
        ),
    }
    for found, expected in same.values():
        assert np.array_equal(np.asarray(found), np.asarray(expected))
    assert all(operation(image, 0.1, 1).size == image.size for operation in OPERATIONS)


def test_two_processes_augment_as_one_does() -> None:
    images = torch.rand(4, 3, 8, 8, generator=Generator().manual_seed(0))
    whole = AugMix().apply(images.clone(), torch.eye(4), context(5)).images
    halves = []
    for rank in (0, 1):
        part = slice(2 * rank, 2 * rank + 2)
        own = Context(Generator().manual_seed(5), torch.zeros(3), share=Shard(rank, 2))
        halves.append(AugMix().apply(images[part].clone(), torch.eye(4)[part], own).images)
    assert torch.equal(torch.cat(halves), whole)


@pytest.mark.parametrize("name", ["augmix", "regmixup"])
def test_a_recipe_trains_with_several_views_also_in_parts(
    name: str, tiny_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = tiny_recipe(regularizers=[name, "label-smoothing"], epochs=1, accumulate=2, limit=32)
    card = train(
        recipe,
        name="net",
        seed=0,
        folder=tmp_path / name,
        runtime=RuntimeOptions(device="cpu", workers=0, threads=1),
    ).card
    assert card.training is not None
    assert 0 < card.training["last"]["train_loss"] < 10
