"""Weights that a training starts from: those of any source, under a new last layer."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from eval_suite.backbones.building import build_net, native_config
from eval_suite.backbones.checkpoint import state_sha256
from eval_suite.backbones.sources import SETTINGS, load_backbone
from eval_suite.backbones.spec import is_weights_file
from eval_suite.backbones.weights_dialects import find_weights
from eval_suite.backbones.weights_file import WeightsFile, read_weights_file
from eval_suite.training.recipe import Recipe


class Initialised(NamedTuple):
    """What a network started from: how its images are prepared, and notes for its card."""

    settings: dict[str, Any]
    notes: list[str]


def initialise(net: nn.Module, recipe: Recipe) -> Initialised:
    """Put the weights that a recipe starts from into its network, all but the last layer, which stays random.

    Args:
        net: the recipe's network at its random initialisation.
        recipe: without ``init`` the network is left as it is.

    Raises:
        InputError: if the source cannot be loaded, or its weights do not cover the network below its last layer.
    """
    if recipe.init is None:
        return Initialised(
            native_config(recipe.arch, net), ["trained by this suite from random initialisation"]
        )
    if is_weights_file(recipe.init):
        path = Path(recipe.init).expanduser()
        file, settings = read_weights_file(path), native_config(recipe.arch, net)
    else:
        path = Path(recipe.init)
        source = load_backbone(recipe.init, weights_entry=recipe.init_entry)
        file, settings = _as_file(source.net), source.card.model_dump(include=SETTINGS)
    head = _last_layer(recipe)
    body = {key: value for key, value in net.state_dict().items() if key not in head}
    entry = recipe.init_entry if is_weights_file(recipe.init) else None
    match = find_weights(net, body, file, path, entry, unused=head)
    net.load_state_dict(match.state, strict=False)
    layers = sorted({key.rpartition(".")[0] for key in head})
    notes = [
        f"trained by this suite from the weights of {recipe.init} (SHA-256 {state_sha256(match.state)[:12]}), "
        f"with a new last layer ({', '.join(layers)})",
        *match.notes,
    ]
    return Initialised(settings, notes)


def _as_file(net: nn.Module) -> WeightsFile:
    tensors = {key: value for key, value in net.state_dict().items() if isinstance(value, Tensor)}
    return WeightsFile(tensors, dict.fromkeys(tensors, ""), {}, [], [])


def _last_layer(recipe: Recipe) -> set[str]:
    """The keys whose shapes follow the number of classes."""
    with torch.device("meta"):
        two, three = (build_net(recipe.arch, classes, recipe.arch_options).state_dict() for classes in (2, 3))
    return {key for key, value in two.items() if value.shape != three[key].shape}
