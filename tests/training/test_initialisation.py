"""A training starts from anybody's weights, under a new last layer, and says so."""

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor

from eval_suite.backbones.building import build_net
from eval_suite.backbones.checkpoint import save_checkpoint, state_sha256
from eval_suite.backbones.sources import load_backbone
from eval_suite.core.errors import InputError
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.core.store import read_card
from eval_suite.training.initialisation import initialise
from eval_suite.training.loop import train
from eval_suite.training.preparation import initial_state
from eval_suite.training.recipe import Recipe

MakeRecipe = Callable[..., Recipe]
TINY = {"blocks": 1, "channels": [4, 8, 16]}
HEAD = {"fc.weight", "fc.bias"}


def start(recipe: Recipe) -> dict[str, Tensor]:
    made = initial_state(recipe, name="a", seed=0, folder=Path("f"), classes=["a", "b", "c"])
    return dict(made.objective.backbone.net.state_dict())


def weights(seed: int, classes: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    net = build_net("resnet14_demo", classes, TINY)
    return {key: value + 1 if value.is_floating_point() else value for key, value in net.state_dict().items()}


@pytest.mark.parametrize("classes", [3, 10])
@pytest.mark.parametrize("headless", [False, True])
def test_all_but_the_last_layer_comes_from_a_weights_file(
    tiny_recipe: MakeRecipe, classes: int, headless: bool, tmp_path: Path
) -> None:
    state = weights(1, classes)
    kept = {key: value for key, value in state.items() if not headless or key not in HEAD}
    torch.save({"state_dict": {f"module.{key}": value for key, value in kept.items()}}, tmp_path / "w.pth")
    random, begun = start(tiny_recipe()), start(tiny_recipe(init=str(tmp_path / "w.pth")))
    for key, value in begun.items():
        assert torch.equal(value, random[key] if key in HEAD else state[key]), key


def test_the_card_says_where_the_training_started(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    state = weights(1, 10)
    torch.save(state, tmp_path / "w.pth")
    recipe = tiny_recipe(init=str(tmp_path / "w.pth"), epochs=1)
    train(
        recipe,
        name="a",
        seed=0,
        folder=tmp_path / "a",
        runtime=RuntimeOptions(device="cpu", workers=0, threads=1),
    )
    card = read_card(tmp_path / "a")
    body = {key: value for key, value in state.items() if key not in HEAD}
    assert any(
        f"from the weights of {tmp_path}/w.pth (SHA-256 {state_sha256(body)[:12]})" in note and "(fc)" in note
        for note in card.load.notes
    )
    assert not any(
        "random initialisation" in note or "architecture right" in note for note in card.load.notes
    )
    assert card.recipe is not None
    assert card.recipe["init"] == str(tmp_path / "w.pth")
    loaded = load_backbone(str(tmp_path / "a")).card
    assert loaded.num_classes == len(card.classes)
    assert card.load.notes[0] in loaded.load.notes


def test_a_trained_backbone_brings_its_normalisation_unless_the_recipe_has_one(
    tiny_recipe: MakeRecipe, tmp_path: Path
) -> None:
    made = initial_state(
        tiny_recipe(mean=[0.1] * 3, std=[0.2] * 3), name="a", seed=5, folder=tmp_path, classes=["x", "y"]
    )
    backbone = made.objective.backbone
    save_checkpoint(tmp_path / "a", backbone.net.state_dict(), backbone.card)
    recipe = tiny_recipe(init=str(tmp_path / "a"))
    begun = initial_state(
        recipe, name="b", seed=0, folder=tmp_path, classes=["a", "b", "c"]
    ).objective.backbone
    assert torch.equal(begun.net.conv1.weight, backbone.net.conv1.weight)
    assert begun.card.mean == (0.1, 0.1, 0.1)
    own = tiny_recipe(init=str(tmp_path / "a"), mean=[0.5] * 3, std=[0.5] * 3)
    begun = initial_state(own, name="b", seed=0, folder=tmp_path, classes=["a"]).objective.backbone
    assert begun.card.mean == (0.5, 0.5, 0.5)


def test_the_last_layer_of_any_network_stays_random(tmp_path: Path) -> None:
    net = timm.create_model("mobilenetv3_small_050", num_classes=5)
    torch.save(net.state_dict(), tmp_path / "w.pth")
    recipe = Recipe(
        arch="mobilenetv3_small_050", data="folder:x", init=f"timm:mobilenetv3_small_050@{tmp_path / 'w.pth'}"
    )
    torch.manual_seed(9)
    other = build_net(recipe.arch, 5, {})
    before = {key: value.clone() for key, value in other.state_dict().items()}
    initialise(other, recipe)
    kept = {key for key, value in other.state_dict().items() if torch.equal(value, before[key])}
    assert {"classifier.weight", "classifier.bias"} <= kept
    assert torch.equal(other.conv_stem.weight, net.conv_stem.weight)


def test_weights_of_another_network_are_refused(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.ones(4, 3, 3, 3)}, tmp_path / "w.pth")
    with pytest.raises(InputError, match="do not cover the network: "):
        start(tiny_recipe(init=str(tmp_path / "w.pth")))


def test_one_of_two_sets_is_chosen_by_its_entry(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    one, other = weights(1, 3), weights(2, 3)
    torch.save({"q": one, "k": other}, tmp_path / "w.pth")
    with pytest.raises(InputError, match="init_entry"):
        start(tiny_recipe(init=str(tmp_path / "w.pth")))
    begun = start(tiny_recipe(init=str(tmp_path / "w.pth"), init_entry="k"))
    assert torch.equal(begun["conv1.weight"], other["conv1.weight"])
