"""When a training may take the place of a finished one that lies there: never of another recipe's (no torch)."""

from pathlib import Path

from pydantic import ValidationError

from eval_suite.core.cards import BackboneCard
from eval_suite.core.errors import InputError
from eval_suite.core.store import read_card
from eval_suite.data.images import open_images
from eval_suite.training.recipe import Recipe


def require_no_other_backbone(recipe: Recipe, seed: int, folder: Path, *, changed: bool = False) -> None:
    """Keep a finished training of another recipe, of another seed or of other data from being replaced.

    Args:
        recipe: of the training that would replace it.
        seed: likewise.
        folder: where.
        changed: what lies where the recipe's data lie has changed since.

    Raises:
        InputError: if the folder holds one; the message says in what the recipes differ.
    """
    if not ((folder / "card.json").is_file() and (folder / "model.safetensors").is_file()):
        return
    card = read_card(folder)
    trained = card.training or {}
    if changed:
        raise InputError(
            expected=f"the images that the finished training learnt from in {recipe.data}",
            where=folder,
            found="others",
            remedy="train under another name or folder, or replace it with --overwrite",
        )
    if (trained.get("digest"), trained.get("seed")) == (recipe.digest(), seed):
        return
    raise InputError(
        expected="a training of this recipe or none",
        where=folder,
        found=f"a finished one of another recipe, with other {_differences(card, recipe)}",
        remedy="train under another name or folder, or replace it with --overwrite",
    )


def images_now(recipe: Recipe) -> str | None:
    """Hash of the images to train on; None where a finished training's have gone since."""
    try:
        return open_images(recipe.data, "train", purpose="train").sha256()
    except InputError:
        return None


def learnt_from_others(recipe: Recipe, folder: Path, now: dict[str, str | None]) -> bool:
    """Whether what lies where the images of a finished training lay has changed since; images that have gone have not.

    Args:
        recipe: of the training.
        folder: of its checkpoint.
        now: hashes of the images of data sets by their spec, filled from call to call: a million files take seconds.
    """
    try:
        before = (read_card(folder).training or {}).get("data_sha256")
    except InputError:
        return False
    if before is None:
        return False
    if recipe.data not in now:
        now[recipe.data] = images_now(recipe)
    return now[recipe.data] not in (None, before)


def _differences(card: BackboneCard, recipe: Recipe) -> str:
    """The keys in which the recipe of a finished training differs, those that decide nothing aside."""
    now = recipe.model_dump(mode="json", exclude={"preset", "save_interval"})
    try:
        before = Recipe.model_validate(card.recipe).model_dump(mode="json")
    except ValidationError:  # of a version that had other keys
        before = card.recipe or {}
    return ", ".join(key for key in now if before.get(key) != now[key]) or "files or seed"
