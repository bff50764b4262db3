"""The seam for other trainings: another start, other losses, rates of their own; with the guarantees of the loop."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from eval_suite.backbones.backbone import Backbone
from eval_suite.core.errors import InputError
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.training import fit_run
from eval_suite.training.loop import Trained, train
from eval_suite.training.objective import Objective, TrainInit
from eval_suite.training.preparation import initial_state
from eval_suite.training.recipe import Recipe

MakeRecipe = Callable[..., Recipe]
CPU = RuntimeOptions(device="cpu", workers=0, threads=1)
CLASSES = [str(i) for i in range(10)]


class Killed(BaseException):
    """Stands for the moment a process ends: nothing of ours catches it."""


class WithProjection(Objective):
    """Cross entropy of noisy logits plus that of a second classifier, a module of the objective's own."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__(backbone)
        self.second = nn.Linear(16, 10)

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        found = self.backbone.predict(images)
        noisy = found.logits + 0.1 * torch.randn(10)
        return F.cross_entropy(noisy, targets) + F.cross_entropy(
            self.second(found.features.mean((2, 3))), targets
        )


def given(recipe: Recipe, folder: Path) -> Backbone:
    return initial_state(recipe, name="given", seed=7, folder=folder, classes=CLASSES).objective.backbone


def run(recipe: Recipe, folder: Path, start: TrainInit) -> Trained:
    return train(recipe, name="net", seed=0, folder=folder, runtime=CPU, start=start)


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_the_run_starts_from_the_backbone_it_is_given(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = tiny_recipe(epochs=1, lr=1e-12)
    backbone = given(recipe, tmp_path)
    before = {key: value.clone() for key, value in backbone.net.named_parameters()}
    card = run(recipe, tmp_path / "a", TrainInit(Objective(backbone), identity="a")).card
    after = load_file(tmp_path / "a" / "model.safetensors")
    assert all(torch.allclose(after[key], value, atol=1e-6) for key, value in before.items())
    assert card.name == "given"


def test_rates_multiply_the_learning_rate_of_the_parameters_they_name(
    tiny_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = tiny_recipe(epochs=1)
    backbone = given(recipe, tmp_path)
    before = {key: value.clone() for key, value in backbone.net.named_parameters()}
    run(recipe, tmp_path / "a", TrainInit(Objective(backbone), "a", {"backbone.net.fc.": 0.0}))
    after = load_file(tmp_path / "a" / "model.safetensors")
    unchanged = {key for key, value in before.items() if torch.equal(after[key], value)}
    assert unchanged == {"fc.weight", "fc.bias"}


def test_groups_hold_every_parameter_once(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    objective = WithProjection(given(tiny_recipe(), tmp_path))
    groups = TrainInit(objective, "", {"second.": 10.0, "backbone.net.fc.": 10.0}).parameter_groups()
    assert [group["factor"] for group in groups] == [1.0, 10.0]
    assert {id(p) for group in groups for p in group["params"]} == {id(p) for p in objective.parameters()}
    assert len(groups[1]["params"]) == 4
    with pytest.raises(ValueError, match="no parameter begins"):
        TrainInit(objective, "", {"third.": 10.0}).parameter_groups()


def test_the_checkpoint_holds_the_backbone_alone(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = tiny_recipe(epochs=1)
    backbone = given(recipe, tmp_path)
    run(recipe, tmp_path / "a", TrainInit(WithProjection(backbone), "a"))
    assert set(load_file(tmp_path / "a" / "model.safetensors")) == set(backbone.net.state_dict())


def test_another_identity_is_another_training(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = tiny_recipe(epochs=1)

    def fit(identity: str) -> bool:
        return run(
            recipe, tmp_path / "a", TrainInit(Objective(given(recipe, tmp_path)), identity)
        ).already_done

    assert [fit("one"), fit("one"), fit("two"), fit("two")] == [False, True, False, True]


def test_resuming_after_every_saved_state_ends_bit_identical(
    tiny_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(regularizers=["cutmix"], save_interval=1e-9, epochs=2, batch_size=30)

    def start() -> TrainInit:
        torch.manual_seed(5)
        return TrainInit(WithProjection(given(recipe, tmp_path)), "a", {"backbone.net.fc.": 10.0})

    run(recipe, tmp_path / "whole", start())
    real_save, lives = fit_run.save_state, 0

    def save_and_die(path: Path, state: dict[str, object]) -> None:
        real_save(path, state)
        raise Killed

    monkeypatch.setattr(fit_run, "save_state", save_and_die)
    while True:
        lives += 1
        try:
            run(recipe, tmp_path / "broken", start())
            break
        except Killed:
            assert lives < 100
    assert lives == 1 + 1 + 2 * (60 // 30) + 2
    assert weights(tmp_path / "broken") == weights(tmp_path / "whole")


def test_a_regularizers_loss_and_a_loss_of_the_starts_own_exclude_each_other(
    tiny_recipe: MakeRecipe, tmp_path: Path
) -> None:
    bce = tiny_recipe(regularizers=[{"manifold-mixup": {"loss": "bce"}}], epochs=1)
    card = train(bce, name="net", seed=0, folder=tmp_path / "a", runtime=CPU).card
    assert card.training is not None
    # Averaged over ten classes: 0.33 where each has a tenth, against 2.3 of cross entropy.
    assert 0.2 < card.training["last"]["train_loss"] < 0.8
    start = TrainInit(WithProjection(given(bce, tmp_path)), identity="projection")
    with pytest.raises(InputError, match="has a loss of its own, so that manifold-mixup cannot set one"):
        run(bce, tmp_path / "b", start)
