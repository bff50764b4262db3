"""Fine-tuning a copy of a backbone for localisation, by the training stage's loop."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from eval_suite.backbones.backbone import Backbone
from eval_suite.core.cards import BackboneCard, LoadReport
from eval_suite.core.predictions import About
from eval_suite.core.records import DataInfo
from eval_suite.core.runtime import RuntimeOptions, derive_seed
from eval_suite.core.validation import problems, require_no_problems
from eval_suite.data.boxes import open_localisation
from eval_suite.data.images import open_images
from eval_suite.tasks.base import Fit
from eval_suite.tasks.wsol.localiser import Localiser, make_localiser
from eval_suite.tasks.wsol.methods import make_method
from eval_suite.tasks.wsol.options import WsolOptions, require_precision
from eval_suite.training.fit_run import read_fitted
from eval_suite.training.loop import train
from eval_suite.training.objective import Objective, TrainInit
from eval_suite.training.recipe import Recipe

log = logging.getLogger(__name__)

VERSION = 1
"""Goes up whenever the same options fit another network."""

_NEW_LAYERS = 0x3501


def fit(backbone: Backbone, options: WsolOptions, runtime: RuntimeOptions, seed: int, folder: Path) -> Fit:
    """Fine-tune a copy of the backbone; a finished one of the same making is read again.

    Raises:
        InputError: if the maps are not computed in the precision asked for.
    """
    require_precision(options, runtime)
    # Boxes that are missing are reported now, not after days of fitting.
    open_localisation(options.data, options.split, warn=lambda _line: None)
    fitted = fit_localiser(backbone, options, runtime, seed, folder)
    backbone.card.load.notes.extend(fitted.card.load.notes)
    backbone.card.fitted_sha256["localiser"] = fitted.card.weights_sha256 or ""
    return Fit(fitted, learnt_from(fitted.card, options))


def fit_localiser(
    backbone: Backbone, options: WsolOptions, runtime: RuntimeOptions, seed: int, folder: Path
) -> Backbone:
    """Fine-tune for localisation, continue a stopped fine-tuning, or read a finished one of the same making.

    Args:
        backbone: where to start from; it is left alone, its last layer is not used.
        options: method and fit settings, of which the fit must be wanted.
        runtime: device, precision, workers.
        seed: decides the new layers, order and every random draw.
        folder: where the fitted network goes.

    Returns:
        The fitted network in the data's classes, its feature layer that of its last layer, on the CPU or where it was
        trained.

    Raises:
        InputError: if the network does not suit the method, or the data has no training split.
        DivergenceError: if the loss stops being finite.
    """
    method = make_method(options.method.chosen)
    classes = open_images(options.data, purpose="train").classes
    recipe = fit_recipe(backbone.card, options, runtime, method.regularizers())
    with _seeded(derive_seed(seed, 0, 0, _NEW_LAYERS)):
        localiser = method.prepare(make_localiser(backbone, len(classes), enlarge=options.fit.enlarge))
        fitted = Backbone(localiser.net, _card(backbone.card, localiser, options, classes, folder, recipe))
        objective = method.objective(fitted, localiser)
    for note in localiser.notes:
        log.info("note: %s", note)
    assert options.fit.lr is not None
    assert options.fit.head_lr is not None
    start = TrainInit(
        objective,
        _identity(backbone.card, options),
        _rates(objective, localiser, options.fit.head_lr / options.fit.lr),
    )
    trained = train(
        recipe,
        name=backbone.card.name,
        seed=seed,
        folder=folder,
        runtime=runtime,
        strict=options.strict,
        start=start,
    )
    read_fitted(folder, trained.card.model_dump(include={"weights_sha256"}), fitted.net.load_state_dict)
    fitted.card = trained.card
    return fitted.eval()


def learnt_from(card: BackboneCard, options: WsolOptions) -> DataInfo:
    """The images that a fitted network learnt from, and those that could not be read.

    Args:
        card: of the network that `fit_localiser` returned.
        options: of that fit.
    """
    images = open_images(options.data, "train", purpose="train")
    unreadable = (card.training or {})["unreadable"]
    about = About(images.name, images.split, len(images), images.sha256(), unreadable)
    return about.info(len(images) - len(unreadable))


def fit_recipe(
    card: BackboneCard, options: WsolOptions, runtime: RuntimeOptions, added: list[dict[str, Any]]
) -> Recipe:
    """The recipe of the fine-tuning.

    Args:
        card: of the backbone; its own recipe's regularizers serve where the options name none.
        options: fit settings.
        runtime: decides the precision.
        added: regularizers of the method.

    Raises:
        InputError: if regularizers do not go together.
    """
    wanted = options.fit.model_dump(mode="json", exclude={"preset", "enlarge", "head_lr"})
    if wanted["regularizers"] is None:
        wanted["regularizers"] = (card.recipe or {}).get("regularizers", [])
    wanted["regularizers"] = [*wanted["regularizers"], *added]
    try:
        return Recipe.model_validate(
            {
                "arch": card.arch,
                "arch_options": card.arch_options,
                "data": options.data,
                "precision": runtime.precision,
                **wanted,
            }
        )
    except ValidationError as error:
        require_no_problems("the fit", problems(error, Recipe))
        raise


def _identity(card: BackboneCard, options: WsolOptions) -> str:
    """All that decides the fitted weights apart from recipe and seed."""
    decisive = {
        "version": VERSION,
        "backbone": card.deciding_features(),
        "input_size": card.input_size,
        "method": options.method.model_dump(mode="json"),
        "fit": options.fit.model_dump(mode="json", include={"enlarge", "head_lr"}),
    }
    return json.dumps(decisive, sort_keys=True)


def _rates(objective: Objective, localiser: Localiser, factor: float) -> Mapping[str, float]:
    """The new layers' factor of the learning rate: those of the network, and all that the objective adds."""
    inside = {f"backbone.net.{name}.": factor for name in localiser.new}
    added = {f"{name}.": factor for name, _ in objective.named_children() if name != "backbone"}
    return {**inside, **added}


def _card(
    card: BackboneCard,
    localiser: Localiser,
    options: WsolOptions,
    classes: list[str],
    folder: Path,
    recipe: Recipe,
) -> BackboneCard:
    notes = [f"fitted for localisation from {card.source}", *localiser.notes]
    return card.model_copy(
        update={
            "source": str(folder),
            "classes": classes,
            "num_classes": len(classes),
            "headless": False,
            "crop_fraction": options.crop_fraction,
            "interpolation": "bilinear",
            "feature_layer": localiser.feature_layer,
            "parameters": sum(parameter.numel() for parameter in localiser.net.parameters()),
            "load": LoadReport(notes=notes),
            "recipe": recipe.model_dump(mode="json"),
            "training": None,
        }
    )


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
