"""What a training run starts from: the initial backbone and the batches it sees."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import torch

from eval_suite.backbones.inference import evaluation_batches
from eval_suite.backbones.sources import build_net, finish, native_config
from eval_suite.core.records import BackboneCard, LoadReport
from eval_suite.core.runtime import RuntimeOptions, derive_seed
from eval_suite.core.store import read_card
from eval_suite.data.augment import AUGMENTATIONS
from eval_suite.data.images import ImageIndex, open_images
from eval_suite.data.loading import ImageBatches, TrainingBatches
from eval_suite.training.objective import Objective, Start
from eval_suite.training.recipe import Recipe

_INITIALISATION = 0x1217


class Rank(NamedTuple):
    """Which of how many processes this is."""

    number: int
    world: int


class TrainingData(NamedTuple):
    """Training batches and the images each epoch is judged on, with a name for the latter."""

    train: TrainingBatches
    validation: ImageBatches
    validated_on: str


def digest_of(recipe: Recipe, start: Start | None) -> str:
    """SHA-256 over all that decides the weights beside the seed."""
    own = recipe.digest()
    return own if start is None else hashlib.sha256(f"{own} {start.identity}".encode()).hexdigest()


def finished(folder: Path, digest: str, seed: int) -> BackboneCard | None:
    """The card of the run of that digest and seed, where it lies finished in a folder."""
    if not (folder / "card.json").is_file():
        return None
    card = read_card(folder)
    trained = card.training or {}
    same = (trained.get("digest"), trained.get("seed")) == (digest, seed)
    return card if same and (folder / "model.safetensors").is_file() else None


def initial_start(recipe: Recipe, *, name: str, seed: int, folder: Path, classes: list[str]) -> Start:
    """A recipe's network at its random initialisation, to be trained under cross entropy.

    Raises:
        InputError: if the architecture cannot be had.
    """
    torch.manual_seed(derive_seed(seed, 0, 0, _INITIALISATION))
    net = build_net(recipe.arch, len(classes), recipe.arch_options)
    given = {"input_size": recipe.input_size, "mean": recipe.mean, "std": recipe.std}
    settings = {**native_config(recipe.arch, net), **{k: v for k, v in given.items() if v is not None}}
    card = BackboneCard(
        name=name,
        source=str(folder),
        arch=recipe.arch,
        arch_options=recipe.arch_options,
        classes=classes,
        load=LoadReport(notes=["trained by this suite from random initialisation"]),
        recipe=recipe.model_dump(mode="json"),
        **settings,
    )
    return Start(Objective(finish(net, card)), identity="")


def training_data(
    recipe: Recipe,
    images: ImageIndex,
    card: BackboneCard,
    *,
    seed: int,
    runtime: RuntimeOptions,
    device: torch.device,
    strict: bool,
    rank: Rank,
) -> TrainingData:
    """A recipe's batches of its training images, at the input size of the backbone's card."""
    train = TrainingBatches(
        images,
        AUGMENTATIONS[recipe.augmentation],
        size=card.input_size,
        batch_size=recipe.batch_size,
        seed=seed,
        device=device,
        workers=runtime.workers,
        strict=strict,
        rank=rank.number,
        world=rank.world,
    )
    index = open_images(recipe.data, recipe.validation_split)
    validation = evaluation_batches(index, card, runtime=runtime, device=device, strict=strict)
    return TrainingData(train, validation, f"{index.spec} {index.split}")
