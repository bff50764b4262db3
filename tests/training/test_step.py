"""One step: what is learnt from a batch, whole or in parts, and at which rates."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from eval_suite.data.loading import Batch
from eval_suite.training.preparation import initial_state
from eval_suite.training.recipe import Recipe
from eval_suite.training.regularizers import Shard
from eval_suite.training.step import TrainStep, accelerator_on

MakeRecipe = Callable[..., Recipe]
CLASSES = ["a", "b", "c"]


def train_step(recipe: Recipe, seed: int = 0, rates: dict[str, float] | None = None) -> TrainStep:
    accelerator = accelerator_on(torch.device("cpu"), recipe.precision)
    start = initial_state(recipe, name="net", seed=seed, folder=Path(), classes=CLASSES)
    start = start._replace(rates=rates or {})
    return TrainStep(recipe, start, accelerator, Shard(0, 1), seed)


def batch(count: int = 8) -> Batch:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(count, 3, 32, 32, generator=generator)
    return Batch(images, torch.arange(count) % len(CLASSES), torch.arange(count))


def weights(of: TrainStep) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in of.model.parameters()])


def test_a_step_is_sgd_on_the_mean_loss(tiny_recipe: MakeRecipe) -> None:
    one = train_step(tiny_recipe(momentum=0.0, nesterov=False, weight_decay=0.0, lr=0.1))
    images = batch()
    one.begin(0)
    before = weights(one)
    expected = F.cross_entropy(one.model.backbone(images.images), images.labels)
    gradients = torch.autograd.grad(expected, list(one.model.parameters()))
    loss = one.step(images, 0, 0, 4)
    torch.testing.assert_close(loss, expected.detach())
    slope = torch.cat([gradient.flatten() for gradient in gradients])
    torch.testing.assert_close(weights(one), before - 0.1 * slope, atol=1e-6, rtol=1e-5)


def test_what_is_drawn_hangs_on_the_place_of_a_step_alone(tiny_recipe: MakeRecipe) -> None:
    def after(epoch: int, step: int) -> Tensor:
        one = train_step(tiny_recipe(regularizers=["cutmix"]))
        torch.manual_seed(99)
        one.begin(0)
        one.step(batch(), epoch, step, 4)
        return weights(one)

    assert torch.equal(after(0, 1), after(0, 1))
    assert not torch.equal(after(0, 1), after(0, 2))
    assert not torch.equal(after(0, 1), after(1, 1))


@pytest.mark.parametrize("parts", [2, 4])
def test_parts_of_a_batch_teach_what_the_whole_does(tiny_recipe: MakeRecipe, parts: int) -> None:
    def after(**changes: Any) -> tuple[Tensor, Tensor]:
        one = train_step(tiny_recipe(batch_norm_groups=4, lr=0.1, **changes))
        one.begin(0)
        loss = one.step(batch(), 0, 0, 4)
        return loss, weights(one)

    for whole, divided in zip(after(), after(accumulate=parts), strict=True):
        torch.testing.assert_close(divided, whole, atol=1e-5, rtol=1e-5)


def test_an_epoch_begins_with_its_rates_and_in_training(tiny_recipe: MakeRecipe) -> None:
    recipe = tiny_recipe(lr=0.2, milestones=[0.5], epochs=4)
    one = train_step(recipe, rates={"backbone.net.fc.": 10.0})
    one.model.eval()
    for epoch in (0, 3):
        one.begin(epoch)
        rates = sorted(group["lr"] for group in one.optimizer.param_groups)
        assert rates == pytest.approx([recipe.learning_rate(epoch), 10 * recipe.learning_rate(epoch)])
    assert recipe.learning_rate(3) < recipe.learning_rate(0)
    assert one.model.training
