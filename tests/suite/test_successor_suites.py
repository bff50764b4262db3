"""The suites of CutMix's successors: each row trains, small and short, and the numbers printed elsewhere are the ones they print."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eval_suite.core.parts import parts
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.report.printed import published_numbers
from eval_suite.suite.suite import load_suite
from eval_suite.training.loop import train
from eval_suite.training.preparation import require_regularizers
from eval_suite.training.recipe import Recipe

SUITES = ("successors-cifar100", "successors-vit", "successors-fine-grained")
# The same architectures, small; torchvision has no narrow ResNet-18, timm's has the same layers by the same names.
SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "resnet18_cifar": ("resnet18_cifar", {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]}),
    "torchvision:resnet18": ("resnet18", {"channels": [8, 8, 16, 16]}),
    "vit_tiny_patch16_224": (
        "vit_tiny_patch16_224",
        {"img_size": 32, "patch_size": 4, "depth": 2, "embed_dim": 24, "num_heads": 3},
    ),
}


def rows() -> Iterator[tuple[str, Recipe]]:
    for suite in SUITES:
        for name, row in load_suite(suite).backbones.items():
            assert row.recipe is not None
            yield f"{suite}:{name}", row.recipe


def in_every_step(regularizers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same, with the row's own mixer in each of few steps, and the network in training in place of published weights."""
    own = {"attentive-cutmix": {"extractor": None, "layer": "layer2"}, "either": {"probs": [0.0, 1.0]}}
    return [
        {
            name: options | own.get(name, {}) | ({"prob": 1.0} if "prob" in options else {})
            for name, options in entry.items()
        }
        for entry in regularizers
    ]


@pytest.mark.parametrize(
    ("name", "recipe"), list(rows()), ids=lambda one: one if isinstance(one, str) else ""
)
def test_every_row_trains(name: str, recipe: Recipe, demo_world: Path, tmp_path: Path) -> None:
    require_regularizers(recipe)
    given = recipe.model_dump(mode="json")
    arch, options = SMALL[recipe.arch]
    small = Recipe.model_validate(
        given
        | {
            "arch": arch,
            "arch_options": options,
            "init": None,
            "regularizers": in_every_step(given["regularizers"]),
            "data": f"folder:{demo_world / 'images'}",
            "augmentation": "resize-crop",
            "input_size": [64, 64] if recipe.arch == "torchvision:resnet18" else [32, 32],
            "epochs": 1,
            "warmup_epochs": recipe.warmup_epochs / recipe.epochs,
            "batch_size": 8,
            "limit": 16,
            "lr": 0.001,
        }
    )
    runtime = RuntimeOptions(device="cpu", workers=0, threads=1)
    card = train(small, name="net", seed=0, folder=tmp_path / "net", runtime=runtime).card
    assert card.training is not None
    assert 0 < card.training["last"]["train_loss"] < 15, name


def test_every_regularizer_that_mixes_or_erases_has_a_row() -> None:
    named = {
        one.name
        for _, recipe in rows()
        for chosen in recipe.ordered_regularizers()
        for one in (chosen.regularizers() if chosen.name == "either" else [chosen])  # type: ignore[attr-defined]
    }
    of_images = {name for name, kind in parts("regularizer").items() if kind.stage in ("erase", "mix")}
    # Hide-and-Seek is a method of localisation, in table9.
    assert of_images - named == {"either", "has"}


PRINTED = {
    "successors-cifar100": {
        "baseline": 76.42,
        "mixup": 78.52,
        "cutmix": 79.45,
        "manifold-mixup": 79.18,
        "saliencymix": 79.75,
        "fmix": 78.91,
        "puzzlemix": 79.96,
        "co-mixup": 80.01,
        "resizemix": 79.56,
    },
    "successors-vit": {"mixup-or-cutmix": 73.81},
    "successors-fine-grained": {
        "baseline": 77.68,
        "mixup": 78.39,
        "cutmix": 78.40,
        "manifold-mixup": 79.76,
        "saliencymix": 77.95,
        "fmix": 77.28,
        "puzzlemix": 78.63,
        "resizemix": 78.50,
    },
}


@pytest.mark.parametrize("suite", PRINTED)
def test_errors_are_those_that_are_printed(suite: str) -> None:
    printed = {one.backbone: one.value for one in published_numbers() if one.suite == suite}
    accuracy = PRINTED[suite]
    assert printed == {row: pytest.approx(1 - percent / 100) for row, percent in accuracy.items()}
