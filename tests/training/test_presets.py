"""The presets of today, against the tables of their papers."""

from typing import Any

import pytest

from eval_suite.core.parts import parts
from eval_suite.training.recipe import Recipe

pytestmark = pytest.mark.skipif(
    not {"either", "random-erasing"} <= set(parts("regularizer")), reason="their regularizers are not there"
)


def of(preset: str, **changes: Any) -> Recipe:
    return Recipe.model_validate({"preset": preset, "arch": "resnet50", "data": "imagenet:x", **changes})


@pytest.mark.parametrize(
    ("preset", "epochs", "batch", "optimizer", "lr", "decay", "warm", "drop", "mixup"),
    [
        ("deit", 300, 1024, "adamw", 1e-3, 0.05, 5, 0.1, 0.8),
        ("rsb-a1", 600, 2048, "lamb", 5e-3, 0.01, 5, 0.05, 0.2),
        ("rsb-a2", 300, 2048, "lamb", 5e-3, 0.02, 5, 0.05, 0.1),
        ("rsb-a3", 100, 2048, "lamb", 8e-3, 0.02, 5, 0.0, 0.1),
        ("convnext", 300, 4096, "adamw", 4e-3, 0.05, 20, 0.1, 0.8),
    ],
)
def test_the_tables_of_the_papers(
    preset: str,
    epochs: int,
    batch: int,
    optimizer: str,
    lr: float,
    decay: float,
    warm: float,
    drop: float,
    mixup: float,
) -> None:
    chosen = of(preset)
    assert (chosen.epochs, chosen.batch_size, chosen.optimizer) == (epochs, batch, optimizer)
    assert (chosen.lr, chosen.weight_decay, chosen.warmup_epochs) == (lr, decay, warm)
    assert (chosen.drop_path, chosen.schedule, chosen.weight_decay_on) == (drop, "cosine", "weights")
    either = next(one for one in chosen.ordered_regularizers() if one.name == "either")
    mixer, cutmix = either.regularizers()  # type: ignore[attr-defined]
    assert (mixer.name, mixer.alpha, cutmix.name, cutmix.alpha) == ("mixup", mixup, "cutmix", 1.0)
    assert chosen.input_size == (224, 224)
    assert chosen.loss == ("bce" if preset.startswith("rsb") else "ce")
    again = Recipe.model_validate(chosen.model_dump(mode="json"))
    assert again.digest() == chosen.digest()


def test_what_only_some_have() -> None:
    assert [of(name).repeats for name in ("deit", "rsb-a1", "rsb-a2", "rsb-a3", "convnext")] == [
        3,
        3,
        3,
        1,
        1,
    ]
    assert of("rsb-a3").train_size == (160, 160)
    assert [of(name).train_interpolation for name in ("deit", "rsb-a1", "rsb-a2", "rsb-a3", "convnext")] == [
        "bicubic",
        "random",
        "random",
        "random",
        "bicubic",
    ]
    assert [of(name).ema for name in ("deit", "convnext")] == [None, 0.9999]
    smoothed = {
        name
        for name in ("deit", "rsb-a1", "rsb-a2", "rsb-a3", "convnext")
        if any(one.name == "label-smoothing" for one in of(name).ordered_regularizers())
    }
    assert smoothed == {"deit", "rsb-a1", "convnext"}


def test_the_rates_of_a_schedule_of_today() -> None:
    chosen = of("convnext")
    assert chosen.learning_rate(0) == 0.0
    assert chosen.learning_rate(10) == pytest.approx(2e-3)
    assert chosen.learning_rate(20) == pytest.approx(4e-3)
    assert chosen.learning_rate(160) == pytest.approx(1e-6 + (4e-3 - 1e-6) / 2)
    assert of("deit").learning_rate(0.5) == pytest.approx(1e-6)


def test_regularizers_of_ones_own_take_the_place_of_a_presets() -> None:
    assert [one.name for one in of("deit", regularizers=["cutmix"]).ordered_regularizers()] == ["cutmix"]
