"""What a training run starts from: the initial backbone and the batches it sees."""

import copy
import hashlib
import json
import logging
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from timm.layers import DropPath
from timm.loss import BinaryCrossEntropy
from torch import nn

from eval_suite.backbones.backbone import finish
from eval_suite.backbones.building import build_net, native_config
from eval_suite.backbones.inference import evaluation_batches
from eval_suite.backbones.sources import SETTINGS
from eval_suite.core.cards import BackboneCard, LoadReport
from eval_suite.core.errors import InputError
from eval_suite.core.runtime import RuntimeOptions, derive_seed, first_process
from eval_suite.data.augment import AUGMENTATIONS
from eval_suite.data.images import ImageIndex, open_images
from eval_suite.data.loading import ImageBatches, TrainingBatches
from eval_suite.training.initialisation import initialise
from eval_suite.training.network import Network
from eval_suite.training.objective import Objective, TrainInit
from eval_suite.training.optimisers import require_layers
from eval_suite.training.recipe import Recipe
from eval_suite.training.regularizers import Shard

log = logging.getLogger(__name__)

_INITIALISATION = 0x1217


class TrainingData(NamedTuple):
    """Training batches with their rows in this process, and its part of the images each epoch is judged on, with a name."""

    train: TrainingBatches
    rows: int
    validation: ImageBatches
    validated_on: str


def digest_of(recipe: Recipe, start: TrainInit | None) -> str:
    """SHA-256 over all that decides the weights apart from the seed."""
    own = recipe.digest()
    return own if start is None else hashlib.sha256(f"{own} {start.identity}".encode()).hexdigest()


def initial_state(recipe: Recipe, *, name: str, seed: int, folder: Path, classes: list[str]) -> TrainInit:
    """A recipe's network at its initialisation, to be trained under its loss.

    Raises:
        InputError: if the architecture or the weights to start from cannot be had, or the network cannot drop paths, take
            images of the training's size or tell its layers apart where the recipe asks for it.
    """
    torch.manual_seed(derive_seed(seed, 0, 0, _INITIALISATION))
    net = _network_to_train(recipe, len(classes))
    require_layers(recipe, net)
    start = initialise(net, recipe)
    if recipe.init is not None and first_process():
        for note in start.notes:
            log.info(f"note: {note}")
    settings = {**start.settings, **recipe.model_dump(include=SETTINGS, exclude_none=True)}
    card = BackboneCard(
        name=name,
        source=str(folder),
        arch=recipe.arch,
        arch_options=recipe.arch_options,
        classes=classes,
        load=LoadReport(notes=start.notes),
        recipe=recipe.model_dump(mode="json"),
        **settings,
    )
    if recipe.train_size is not None:
        Network(net, recipe.arch, recipe.train_size)
    objective = Objective(finish(net, card))
    if recipe.loss == "bce":
        objective.loss = BinaryCrossEntropy(smoothing=0.0, target_threshold=recipe.bce_threshold)
    return TrainInit(objective, identity="")


def regularised_network(recipe: Recipe, start: TrainInit) -> Network | None:
    """The start's network with the recipe's regularizers installed, None where none acts on it; sets the loss of theirs.

    Raises:
        InputError: if the network has not what they need, or the start minimises a loss of its own that rules theirs out.
    """
    network: Network | None = None
    if _acts_on_network(recipe):
        backbone = start.objective.backbone
        acted_on = backbone.get_submodule(start.objective.network)
        network = Network(acted_on, recipe.arch, recipe.train_size or backbone.card.input_size, backbone)
        _install(recipe, network)
    made = [(one.name, one.criterion(network)) for one in recipe.ordered_regularizers()]
    losses = {name: loss for name, loss in made if loss is not None}
    if losses and (type(start.objective) is not Objective or recipe.loss != "ce"):
        raise InputError(f"this training has a loss of its own, so that {next(iter(losses))} cannot set one")
    if len(losses) > 1:
        raise InputError(f"only one regularizer may set the loss, found {' and '.join(losses)}")
    for loss in losses.values():
        start.objective.loss = loss
    return network


def require_regularizers(recipe: Recipe) -> None:
    """Check that a recipe's architecture has what its regularizers need, and what else acts on the network.

    Raises:
        InputError: if it has not.
    """
    if not (_acts_on_network(recipe) or recipe.drop_path or recipe.layer_decay or recipe.train_size):
        return
    options = json.dumps(_options(recipe), sort_keys=True)
    skeleton = _skeleton(recipe.arch, options, recipe.train_size or recipe.input_size)
    if recipe.drop_path:
        _require_paths(recipe, skeleton.net)
    require_layers(recipe, skeleton.net)
    _install(recipe, copy.deepcopy(skeleton))


@cache
def _skeleton(arch: str, options: str, input_size: tuple[int, int] | None) -> Network:
    """A network without weights: shapes are enough to see what fits; rows of a suite mostly share theirs."""
    with torch.device("meta"):
        net = build_net(arch, 2, json.loads(options))
    return Network(net, arch, input_size or native_config(arch, net)["input_size"])


def _options(recipe: Recipe) -> dict[str, Any]:
    return recipe.arch_options | ({"drop_path_rate": recipe.drop_path} if recipe.drop_path else {})


def _network_to_train(recipe: Recipe, classes: int) -> nn.Module:
    net = build_net(recipe.arch, classes, _options(recipe))
    if recipe.drop_path:
        _require_paths(recipe, net)
    return net


def _require_paths(recipe: Recipe, net: nn.Module) -> None:
    """Some constructors take a rate and do nothing with it."""
    if not any(isinstance(module, DropPath) and module.drop_prob for module in net.modules()):
        raise InputError(
            expected="an architecture of timm with residual branches to drop, for drop_path",
            found=recipe.arch,
            remedy="give drop_path: 0",
        )


def _acts_on_network(recipe: Recipe) -> bool:
    return any(one.acts_on_network() for one in recipe.ordered_regularizers())


def _install(recipe: Recipe, network: Network) -> None:
    for regularizer in recipe.ordered_regularizers():
        regularizer.install(network)


def training_data(
    recipe: Recipe,
    images: ImageIndex,
    card: BackboneCard,
    *,
    seed: int,
    runtime: RuntimeOptions,
    device: torch.device,
    strict: bool,
    share: Shard,
) -> TrainingData:
    """A recipe's batches of its training images, at the input size of the backbone's card.

    Raises:
        InputError: if the batch cannot be divided evenly among the processes, or into the groups of BatchNorm.
    """
    images = images.subset(recipe.limit)
    batch = min(recipe.batch_size, len(images))
    parts = share.world * recipe.accumulate
    groups = recipe.batch_norm_groups
    if batch % parts or (groups is not None and groups > 1 and groups % parts):
        raise InputError(
            f"a batch of {batch} images{'' if groups is None else f' in {groups} groups'} cannot be divided evenly into "
            f"{share.world} processes x {recipe.accumulate} passes; choose a batch_size"
            f"{'' if groups is None else ' and batch_norm_groups'} that is a multiple of {parts}"
        )
    if groups is not None and batch % groups:
        raise InputError(
            f"a batch of {batch} images cannot be divided evenly into batch_norm_groups {groups}; there are "
            f"{len(images)} images to train on: choose a limit or a batch_size that is a multiple of {groups}"
        )
    train = TrainingBatches(
        images,
        AUGMENTATIONS[recipe.augmentation],
        size=recipe.train_size or card.input_size,
        batch_size=recipe.batch_size,
        seed=seed,
        device=device,
        workers=runtime.workers,
        strict=strict,
        rank=share.rank,
        world=share.world,
        policy=recipe.policy,
        repeats=recipe.repeats,
        interpolation=recipe.train_interpolation,
        reader=runtime.reader,
    )
    index = open_images(recipe.data, recipe.validation_split)
    mine = _every(index.subset(recipe.limit), share)
    validation = evaluation_batches(
        mine, card, runtime=runtime, device=device, strict=strict, repeatedly=True
    )
    return TrainingData(train, batch // share.world, validation, f"{index.spec} {index.split}")


def _every(index: ImageIndex, share: Shard) -> ImageIndex:
    if share.world == 1:
        return index
    chosen = np.arange(share.rank, len(index), share.world)
    return replace(
        index,
        ids=[index.ids[i] for i in chosen],
        labels=index.labels[chosen],
        paths=None if index.paths is None else [index.paths[i] for i in chosen.tolist()],
        pixels=None if index.pixels is None else index.pixels[chosen],
    )
