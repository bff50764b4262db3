"""Training as Python calls it: a recipe to a backbone, on disk only where that is asked for."""

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.sources import load_backbone
from eval_suite.core.errors import InputError
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.core.store import cell_name
from eval_suite.core.validation import validated
from eval_suite.training.loop import train as run
from eval_suite.training.recipe import Recipe


def train(
    recipe: Recipe | Mapping[str, Any],
    *,
    out: Path | str | None = None,
    name: str = "model",
    seed: int = 0,
    strict: bool = False,
    overwrite: bool = False,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    workers: int = 2,
    threads: int = 0,
) -> Backbone:
    """Train a backbone, or continue a training that was stopped.

    Args:
        recipe: how to train, or its fields by name.
        out: folder for the checkpoint, which goes to ``out/<name>-s<seed>`` and from which a stopped training continues;
            by default nothing is left on disk.
        name: of the backbone in records and reports.
        seed: decides initialisation, order and every random draw.
        strict: stop at the first unreadable image instead of leaving it out.
        overwrite: replace a backbone that another recipe has trained under this name in ``out``.
        device: where to compute; the recipe decides precision and batch size.
        workers: processes that read and decode images of large data sets.
        threads: CPU threads of the arithmetic; 0 leaves it to torch.

    Returns:
        The trained backbone on the CPU, its card with the history of the training.

    Raises:
        DivergenceError: if the loss stops being finite.
        InputError: if data, architecture and recipe do not fit together, or another recipe's backbone would be replaced.

    Example:
        >>> train(Recipe(arch="resnet18", data="cifar100:data", regularizers=[CutMix(prob=0.5)]))  # doctest: +SKIP
    """
    if not isinstance(recipe, Recipe | Mapping):
        raise InputError(
            expected="a recipe", found=type(recipe).__name__, remedy="write train(Recipe(arch=..., data=...))"
        )
    recipe = recipe if isinstance(recipe, Recipe) else validated("the recipe", Recipe, recipe)
    how = validated("train", RuntimeOptions, {"device": device, "workers": workers, "threads": threads})
    with TemporaryDirectory(prefix="eval-suite-") if out is None else nullcontext(str(out)) as parent:
        folder = Path(parent) / f"{cell_name(name, 'unnamed')}-s{seed}"
        run(recipe, name=name, seed=seed, folder=folder, runtime=how, strict=strict, overwrite=overwrite)
        return load_backbone(str(folder), name=name)
