"""A linear layer that a probe was fitted with, as the last layer of a network of features."""

import copy
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.checkpoint import state_sha256
from eval_suite.backbones.probe import behaviour
from eval_suite.backbones.structure.hooks import evaluating
from eval_suite.backbones.structure.vectors import LAST_LAYERS, vectors_of
from eval_suite.core.errors import InputError, first_line
from eval_suite.core.files import read_file, require_regular

DESCRIPTION, WEIGHTS = "probes.json", "model.safetensors"


class Head(NamedTuple):
    """A linear layer of features, its classes, and in words where it comes from."""

    layer: nn.Linear
    classes: list[str]
    how: str


def with_head(backbone: Backbone, folder: Path) -> Backbone:
    """A backbone with classes, of one of features and the linear probe that was fitted to it.

    The layer takes the place that the network left empty, where it has one; else it stands behind the network.

    Args:
        backbone: without classes; its network is copied.
        folder: with ``probes.json`` and ``model.safetensors``, as a probe leaves them; of several the one fitted to most images.

    Raises:
        InputError: if the backbone has classes, there is no such fit, or it was fitted to other features.

    Example:
        >>> with_head(load_backbone("model.py:make"), Path("checkpoints/single/make-s0/probe"))  # doctest: +SKIP
    """
    card = backbone.card
    if not card.headless:
        raise InputError(
            expected="a network of features to give a probe's layer",
            found=f"'{card.name}' ({card.arch}), which has {card.num_classes:,} classes",
            remedy="say --headless too, or leave --head out",
        )
    head = read_head(backbone, folder)
    net, inside = _put_on(copy.deepcopy(backbone.net), head.layer, backbone.normalise(backbone.noise(2)))
    layer = card.feature_layer
    update: dict[str, Any] = {
        "classes": head.classes,
        "classes_from": f"the probe in {folder}",
        "num_classes": len(head.classes),
        "headless": False,
        "feature_layer": f"{inside}{layer}" if layer is not None else None,
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
        "weights_sha256": state_sha256(net.state_dict()),
        "behaviour": behaviour(net, card.input_size),
    }
    if card.multiply_adds is not None:
        update["multiply_adds"] = card.multiply_adds + head.layer.weight.numel()
    given = card.model_copy(deep=True, update=update)
    given.fitted_sha256["head"] = state_sha256(head.layer.state_dict())
    given.load.notes.append(head.how)
    return Backbone(net, given).eval()


def read_head(backbone: Backbone, folder: Path) -> Head:
    """The linear layer that a probe left, for unscaled features.

    Raises:
        InputError: if there is none, or it was fitted to features of another network.
    """
    remedy = "fit one with eval-suite probe, under the same --name and --out or with --head as its folder"
    try:
        description = json.loads(read_file(folder / DESCRIPTION))
        weights = load_file(require_regular(folder / WEIGHTS))
        share = max(description["fitted"], key=float)
        size = description["fitted"][share]["size"]
        weight, bias, mean = (weights[f"{share}.{part}"] for part in ("weight", "bias", "mean"))
        classes, wanted = list(description["classes"]), description["backbone"]
        if weight.ndim != 2 or (bias.shape, mean.shape) != (weight.shape[:1], weight.shape[1:]):
            raise ValueError("its arrays do not fit each other")
    except FileNotFoundError:
        raise InputError(
            expected="a fitted linear probe", where=folder, found="none", remedy=remedy
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
        raise InputError(
            expected="a fitted linear probe",
            where=folder,
            found=f"something else ({type(error).__name__}: {first_line(error)})",
            remedy=remedy,
        ) from None
    card = backbone.card
    here = card.deciding_features()
    other = next((name for name in here if here[name] != wanted.get(name)), None)
    if other is not None:
        raise InputError(
            expected=f"a probe of the features of '{card.name}'",
            where=folder,
            found=f"one of a network with another {other.removesuffix('_sha256')}",
            remedy=remedy,
        )
    layer = nn.Linear(weight.shape[1], weight.shape[0]).to(backbone.mean.device)
    with torch.no_grad():
        layer.weight.copy_(weight / size)
        layer.bias.copy_(bias - weight @ mean / size)
    about = f", {float(share):g} of each class's images" if float(share) < 1 else ""
    return Head(
        layer.requires_grad_(False),
        classes,
        f"its last layer is the linear probe in {folder} (C = {description['fitted'][share]['c']:g}{about})",
    )


class Headed(nn.Module):
    """A network of features and the layer behind it."""

    def __init__(self, body: nn.Module, fc: nn.Linear) -> None:
        super().__init__()
        self.body, self.fc = body, fc

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes)."""
        vectors = vectors_of(self.body(images))
        assert vectors is not None  # as the network was looked at when it was loaded
        logits: Tensor = self.fc(vectors.values)
        return logits


def _put_on(net: nn.Module, layer: nn.Linear, images: Tensor) -> tuple[nn.Module, str]:
    """The network with the layer, and what stands before the names of its own layers then."""
    headed = Headed(net, layer).eval()
    with evaluating(headed):
        expected = headed(images)
        empty = [
            name
            for name, module in net.named_modules()
            if name.rpartition(".")[2] in LAST_LAYERS and type(module) is nn.Identity
        ]
        for name in reversed(empty):
            net.set_submodule(name, layer)
            found = net(images)
            if isinstance(found, Tensor) and torch.equal(found, expected):
                return net, ""
            net.set_submodule(name, nn.Identity())
    return headed, "body."
