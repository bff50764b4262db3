"""One step: what is learnt from a batch, whole or in parts, and at which rates."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eval_suite.backbones.backbone import Backbone
from eval_suite.core.errors import InputError
from eval_suite.data.loading import Batch
from eval_suite.training.objective import Objective, TrainInit
from eval_suite.training.preparation import initial_state, require_regularizers
from eval_suite.training.recipe import Recipe
from eval_suite.training.regularizers import Mixed, Regularizer, Shard
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


def test_gradients_are_clipped_to_a_norm(tiny_recipe: MakeRecipe) -> None:
    settings: dict[str, Any] = {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0, "lr": 1.0}
    moves = {}
    for limit in (None, 1e-2, 1e6):
        one = train_step(tiny_recipe(clip_grad=limit, **settings))
        one.begin(0)
        before = weights(one)
        one.step(batch(), 0, 0, 4)
        moves[limit] = weights(one) - before
    assert float(moves[1e-2].norm()) == pytest.approx(1e-2, rel=1e-3)
    assert torch.equal(moves[None], moves[1e6])
    torch.testing.assert_close(moves[1e-2] / 1e-2, moves[None] / moves[None].norm(), atol=1e-4, rtol=1e-3)


def test_a_rate_by_step_changes_within_an_epoch(tiny_recipe: MakeRecipe) -> None:
    recipe = tiny_recipe(schedule="cosine", schedule_by="step", epochs=2, lr=0.2)
    one = train_step(recipe, rates={"backbone.net.fc.": 10.0})
    one.begin(0)
    for epoch, step in ((0, 0), (0, 2), (1, 1)):
        one.step(batch(), epoch, step, 4)
        rates = sorted(group["lr"] for group in one.optimizer.param_groups)
        rate = recipe.learning_rate(epoch + step / 4)
        assert rates == pytest.approx([rate, 10 * rate])


def test_the_average_takes_in_every_step(tiny_recipe: MakeRecipe) -> None:
    one = train_step(tiny_recipe(ema=0.75))
    assert one.average is not None
    name = "backbone.net.fc.weight"
    expected = one.average.values[name].clone()
    one.begin(0)
    for step in range(3):
        one.step(batch(), 0, step, 4)
        expected = 0.75 * expected + 0.25 * one.model.state_dict()[name]
    torch.testing.assert_close(one.average.values[name], expected)


def test_binary_cross_entropy_takes_every_class_by_itself(tiny_recipe: MakeRecipe) -> None:
    for threshold, target in ((None, [0.7, 0.3, 0.0]), (0.2, [1.0, 1.0, 0.0])):
        one = train_step(tiny_recipe(loss="bce", bce_threshold=threshold))
        images, soft = batch(1).images, torch.tensor([[0.7, 0.3, 0.0]])
        one.model.eval()
        logits = one.model.backbone(images)
        truth = torch.tensor([target])
        expected = -(truth * logits.sigmoid().log() + (1 - truth) * (-logits).sigmoid().log()).mean()
        torch.testing.assert_close(one.model(images, soft), expected)
    # Without mixing there are labels rather than soft targets.
    hard = F.binary_cross_entropy_with_logits(logits, torch.tensor([[0.0, 1.0, 0.0]]))
    torch.testing.assert_close(one.model(images, torch.tensor([1])), hard)


def test_images_that_a_regularizer_looks_at_are_counted(tiny_recipe: MakeRecipe) -> None:
    class Looking(Regularizer):
        name, stage = "looking", "erase"

        def apply(self, images: Tensor, targets: Tensor, context: Any) -> Mixed:
            one.model.backbone(images)
            return Mixed(images, targets)

    one = train_step(tiny_recipe())
    one.begin(0)
    one.step(batch(6), 0, 0, 4)
    assert one.passed == 6
    one._regularizers = [Looking()]
    for step in (1, 2):
        one.step(batch(6), 0, step, 4)
        assert one.passed == 12


@pytest.mark.long  # of what the compiler takes for the few kernels of so small a network
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_a_compiled_network_learns_the_same_under_the_same_keys(tiny_recipe: MakeRecipe) -> None:
    def made(compiled: bool) -> TrainStep:
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 4, 3, 2),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 3),
        )
        objective = Objective(Backbone.wrap(net, input_size=(32, 32), classes=CLASSES))
        recipe = tiny_recipe(compile=compiled, batch_norm_groups=2, regularizers=["cutmix"])
        accelerator = accelerator_on(torch.device("cpu"), recipe.precision)
        return TrainStep(recipe, TrainInit(objective, "small"), accelerator, Shard(0, 1), 0)

    plain, compiled = (made(chosen) for chosen in (False, True))
    before = weights(plain)
    for one in (plain, compiled):
        one.begin(0)
        for step in range(2):
            one.step(batch(), 0, step, 4)
    assert not torch.allclose(weights(plain), before, atol=1e-3)
    torch.testing.assert_close(weights(compiled), weights(plain), atol=1e-5, rtol=1e-4)
    assert compiled.model.state_dict().keys() == plain.model.state_dict().keys()


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_a_missing_compiler_is_an_error_of_the_recipe(tiny_recipe: MakeRecipe) -> None:
    from torch._dynamo.exc import BackendCompilerFailed

    def fail(*_: object) -> None:
        raise BackendCompilerFailed("inductor", RuntimeError("No working C++ compiler found"), None)

    one = train_step(tiny_recipe(compile=True))
    one.begin(0)
    one.model = fail  # type: ignore[assignment]
    with pytest.raises(InputError) as caught:
        one.step(batch(), 0, 0, 4)
    assert "C++" in caught.value.found


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"arch": "torchvision:resnet18", "drop_path": 0.1}, "drop_path_rate"),
        ({"arch": "vgg11", "drop_path": 0.1}, "vgg11"),
        ({"arch": "vit_tiny_patch16_224", "train_size": (40, 40)}, "40 x 40"),
        ({"arch": "torchvision:resnet18", "layer_decay": 0.7}, "torchvision:resnet18"),
    ],
)
def test_what_a_network_cannot_do_is_refused_before_and_at_the_start(
    changes: dict[str, Any], found: str
) -> None:
    recipe = Recipe.model_validate({"data": "cifar10:x", **changes})
    for check in (lambda: require_regularizers(recipe), lambda: train_step(recipe)):
        with pytest.raises(InputError) as caught:
            check()
        assert found in str(caught.value)


def test_paths_are_dropped_in_training_alone(tiny_recipe: MakeRecipe) -> None:
    # timm begins with branches of zeros, which are dropped without a trace.
    options = {"channels": (8, 8, 8, 8), "zero_init_last": False}
    recipe = tiny_recipe(arch="resnet10t", arch_options=options, drop_path=0.9)
    require_regularizers(recipe)
    one = train_step(recipe)
    images = batch(4).images
    one.model.eval()
    assert torch.equal(one.model.backbone(images), one.model.backbone(images))
    one.model.train()
    assert not torch.equal(one.model.backbone(images), one.model.backbone(images))
    assert "drop_path_rate" not in one.model.backbone.card.arch_options
