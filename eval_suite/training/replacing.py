"""When a training may take the place of a finished one that lies there: never of another recipe's (no torch)."""

from pathlib import Path

from eval_suite.core.errors import InputError
from eval_suite.core.store import read_card
from eval_suite.training.recipe import Recipe


def require_no_other_backbone(recipe: Recipe, seed: int, folder: Path) -> None:
    """Keep a finished training of another recipe, or of another seed, from being replaced.

    Raises:
        InputError: if the folder holds one; the message says in what the recipes differ.
    """
    if not ((folder / "card.json").is_file() and (folder / "model.safetensors").is_file()):
        return
    card = read_card(folder)
    trained = card.training or {}
    if (trained.get("digest"), trained.get("seed")) == (recipe.digest(), seed):
        return
    before, now = card.recipe or {}, recipe.model_dump(mode="json")
    other = [
        key
        for key in now
        if before.get(key, Recipe.model_fields[key].get_default(call_default_factory=True)) != now[key]
    ]
    raise InputError(
        f"{folder} holds a finished training of another recipe, with other {', '.join(other) or 'files or seed'}; train this "
        "one under another name or folder, or replace that one with --overwrite"
    )
