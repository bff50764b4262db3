"""The optimisers: their groups, and steps computed by hand."""

from pathlib import Path
from typing import Any

import pytest
import torch
from timm.optim import Lamb, Lion

from eval_suite.core.errors import InputError
from eval_suite.training.objective import TrainInit
from eval_suite.training.optimisers import optimiser_of, parameter_groups
from eval_suite.training.preparation import initial_state
from eval_suite.training.recipe import Recipe


def recipe(**changes: Any) -> Recipe:
    settings = {
        "arch": "vit_tiny_patch16_224",
        "arch_options": {"img_size": 32, "depth": 2, "embed_dim": 24, "num_heads": 3},
        "data": "cifar10:x",
        "input_size": (32, 32),
        **changes,
    }
    return Recipe.model_validate(settings)


def start(chosen: Recipe, rates: dict[str, float] | None = None) -> TrainInit:
    made = initial_state(chosen, name="net", seed=0, folder=Path(), classes=["a", "b", "c"])
    return made._replace(rates=rates or {})


def test_by_default_there_is_one_group_with_everything() -> None:
    chosen = recipe()
    begin = start(chosen)
    (group,) = parameter_groups(chosen, begin)
    assert len(group["params"]) == len(list(begin.objective.parameters()))
    assert optimiser_of(chosen, begin).param_groups[0]["weight_decay"] == chosen.weight_decay


def test_biases_norms_and_what_a_network_exempts_do_not_decay() -> None:
    chosen = recipe(weight_decay_on="weights", weight_decay=0.05)
    begin = start(chosen)
    decays = {
        parameter: group["weight_decay"]
        for group in parameter_groups(chosen, begin)
        for parameter in group["params"]
    }
    named = {name.removeprefix("backbone.net."): p for name, p in begin.objective.named_parameters()}
    assert len(decays) == len(named)
    for name, parameter in named.items():
        free = parameter.ndim <= 1 or name in ("pos_embed", "cls_token")
        assert decays[parameter] == (0.0 if free else 0.05), name


def test_rates_fall_from_the_classifier_down_and_times_those_of_the_start() -> None:
    chosen = recipe(layer_decay=0.5)
    begin = start(chosen, {"backbone.net.head.": 10.0})
    factors = {p: group["factor"] for group in parameter_groups(chosen, begin) for p in group["params"]}
    net = begin.objective.backbone.net
    # Embedding, two blocks, the last norm with the classifier.
    assert factors[net.get_parameter("patch_embed.proj.weight")] == pytest.approx(0.125)
    assert factors[net.get_parameter("blocks.0.mlp.fc1.weight")] == pytest.approx(0.25)
    assert factors[net.get_parameter("blocks.1.mlp.fc1.weight")] == pytest.approx(0.5)
    assert factors[net.get_parameter("head.weight")] == pytest.approx(10.0)
    assert len(factors) == len(list(begin.objective.parameters()))


def test_a_network_without_layers_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        start(recipe(arch="torchvision:resnet18", arch_options={}, input_size=None, layer_decay=0.5))
    assert caught.value.found == "torchvision:resnet18"


@pytest.mark.parametrize(
    ("name", "kind"), [("adamw", torch.optim.AdamW), ("lamb", Lamb), ("lion", Lion), ("sgd", torch.optim.SGD)]
)
def test_the_optimiser_is_the_one_named(name: str, kind: type) -> None:
    chosen = recipe(optimizer=name, lr=0.02)
    made = optimiser_of(chosen, start(chosen))
    assert type(made) is kind
    assert made.param_groups[0]["lr"] == 0.02


@pytest.mark.parametrize("name", ["adamw", "lion"])
def test_the_first_step_has_the_length_of_the_rate(name: str) -> None:
    # Both divide the first gradient by its own size: w - lr (sign(g) + decay w).
    chosen = recipe(optimizer=name, lr=0.1, weight_decay=0.5)
    begin = start(chosen)
    weight = begin.objective.backbone.net.get_parameter("head.weight")
    before = weight.detach().clone()
    made = optimiser_of(chosen, begin)
    weight.grad = torch.full_like(weight, -3.0)
    made.step()
    torch.testing.assert_close(weight.detach(), before * (1 - 0.1 * 0.5) + 0.1, atol=1e-6, rtol=1e-5)
