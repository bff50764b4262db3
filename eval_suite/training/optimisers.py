"""The optimiser of a recipe, over parameter groups with their own rates and weight decay."""

from typing import Any

import torch
from torch import nn

from eval_suite.core.errors import InputError
from eval_suite.training.objective import TrainInit
from eval_suite.training.recipe import Recipe


def optimiser_of(recipe: Recipe, start: TrainInit) -> torch.optim.Optimizer:
    """SGD as torch has it, any other as timm makes it, with its own defaults for what a recipe does not say.

    timm's LAMB clips the norm of all gradients at 1 within its step, as NVIDIA's reference does.

    Raises:
        InputError: if the network has no layers by which rates could decay.
    """
    groups = parameter_groups(recipe, start)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            groups,
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov and recipe.momentum > 0,
            weight_decay=recipe.weight_decay,
        )
    from timm.optim import create_optimizer_v2

    made: torch.optim.Optimizer = create_optimizer_v2(
        groups, opt=recipe.optimizer, lr=recipe.lr, weight_decay=recipe.weight_decay
    )
    return made


def parameter_groups(recipe: Recipe, start: TrainInit) -> list[dict[str, Any]]:
    """The start's groups, divided further by layer and by whether weights decay; each has its ``factor`` of the rate.

    Raises:
        InputError: if the network has no layers by which rates could decay.
    """
    groups = start.parameter_groups()
    if recipe.layer_decay is None and recipe.weight_decay_on == "all":
        return groups
    net = start.objective.backbone.get_submodule(start.objective.network)
    of_network = {
        parameter: (group.get("lr_scale", 1.0), group["weight_decay"])
        for group in _network_groups(recipe, net)
        for parameter in group["params"]
    }
    divided: dict[tuple[float, float], list[nn.Parameter]] = {}
    for group in groups:
        for parameter in group["params"]:
            scale, decay = of_network.get(parameter, (1.0, recipe.weight_decay))
            divided.setdefault((group["factor"] * scale, decay), []).append(parameter)
    return [
        {"params": parameters, "factor": factor, "weight_decay": decay}
        for (factor, decay), parameters in divided.items()
    ]


def require_layers(recipe: Recipe, net: nn.Module) -> None:
    """Check that a network tells its layers apart, where a recipe's rates decay by them.

    Raises:
        InputError: if it does not.
    """
    if recipe.layer_decay is not None and not hasattr(net, "group_matcher"):
        raise InputError(
            expected="a network of timm that tells its layers apart, for layer_decay",
            found=recipe.arch,
            remedy="leave layer_decay out, or take timm's form of the network",
        )


def _network_groups(recipe: Recipe, net: nn.Module) -> list[dict[str, Any]]:
    from timm.optim import param_groups_layer_decay, param_groups_weight_decay

    weights_only = recipe.weight_decay_on == "weights"
    # What a network exempts itself: position embeddings, class tokens.
    exempt: set[str] = getattr(net, "no_weight_decay", set)() if weights_only else set()
    options: dict[str, Any] = {"no_weight_decay_list": exempt, "weight_decay_exclude_1d": weights_only}
    groups: list[dict[str, Any]]
    if recipe.layer_decay is None:
        groups = param_groups_weight_decay(net, recipe.weight_decay, **options)
    else:
        require_layers(recipe, net)
        groups = param_groups_layer_decay(net, recipe.weight_decay, layer_decay=recipe.layer_decay, **options)
    return groups
