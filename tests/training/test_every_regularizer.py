"""What holds for every regularizer: labels, draws that the seed decides, and trainings that stop and go on."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from eval_suite.core.runtime import RuntimeOptions
from eval_suite.training import fit_run
from eval_suite.training.loop import train
from eval_suite.training.network import Network
from eval_suite.training.recipe import Recipe
from eval_suite.training.regularizers import Context, Mixed, Regularizer
from tests.training.every import NAMES, SIDE, installed, made, settings

CPU = RuntimeOptions(device="cpu", workers=0, threads=1)
N = 6
# Labels that go by something else than pixels; their rules are tested with them.
BY_MAPS = {"snapmix", "transmix"}
# Images are changed apart from being mixed, by operations or by patches that are moved; or what is shown goes by the pixels.
NOT_BY_PIXELS = {*BY_MAPS, "augmix", "puzzlemix", "co-mixup"}
MIXERS = [name for name in NAMES if made(name).stage == "mix" and name not in NOT_BY_PIXELS]
MEASURED = {"seconds": 0, "step_seconds": 0, "memory": 0}


def mixed_by(regularizer: Regularizer, images: Tensor, seed: int, network: Network | None = None) -> Mixed:
    """A batch whose images are a class each, as a step regularises it."""
    if network is None and regularizer.acts_on_network():
        network = installed(regularizer, N)
    step = Context(Generator().manual_seed(seed), torch.full((3,), 0.5), 0.9, network=network)
    if network is not None:
        network.begin_step(step)
    return regularizer.apply(images.clone(), torch.eye(N), step)


def with_loss(regularizer: Regularizer, images: Tensor, seed: int) -> tuple[Mixed, Tensor]:
    """The batch, and the loss of a step with it."""
    network = installed(regularizer, N)
    mixed = mixed_by(regularizer, images, seed, network)
    logits = network.backbone(mixed.images)  # type: ignore[misc]
    return mixed, (regularizer.criterion(network) or F.cross_entropy)(logits, mixed.targets)


def photographs(seed: int = 0) -> Tensor:
    return torch.rand(N, 3, SIDE, SIDE, generator=Generator().manual_seed(seed))


@pytest.mark.parametrize("name", NAMES)
def test_labels_are_shares_that_sum_to_1(name: str) -> None:
    regularizer = made(name)
    for seed in range(3):
        mixed, loss = with_loss(regularizer, photographs(), seed)
        assert len(mixed.images) == len(mixed.targets) == N * regularizer.views
        assert mixed.images.isfinite().all()
        assert mixed.targets.min() >= 0
        assert loss.isfinite()
        if name not in BY_MAPS:
            torch.testing.assert_close(mixed.targets.sum(1), torch.ones(len(mixed.targets)))
        if regularizer.stage in ("network", "erase"):
            assert torch.equal(mixed.targets, torch.eye(N))


@pytest.mark.parametrize("name", MIXERS)
def test_labels_weigh_what_is_seen_of_each_image(name: str) -> None:
    regularizer, mixtures = made(name), 0
    for seed in range(6):
        # One image white and all others black: the mean of a mixture is the white one's share of it.
        seen = []
        for white in range(N):
            images = torch.zeros(N, 3, SIDE, SIDE)
            images[white] = 1.0
            mixed = mixed_by(regularizer, images, seed)
            seen.append(mixed.images.double().mean((1, 2, 3)))
        # FMix rounds the area to whole pixels, and weighs by the lambda drawn.
        error = (torch.stack(seen, 1) - mixed.targets).abs().max().item()
        assert error <= 1 / SIDE**2 + 1e-6
        mixtures += bool((mixed.targets.amax(1) < 1).any())
    assert mixtures >= 3


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_a_step_and_nothing_else(name: str) -> None:
    def step(seed: int, other: int) -> tuple[Mixed, Tensor]:
        torch.manual_seed(other)
        return with_loss(made(name), photographs(), seed)

    first, again = step(7, 1), step(7, 2)
    assert torch.equal(first[0].images, again[0].images)
    assert torch.equal(first[0].targets, again[0].targets)
    assert torch.equal(first[1], again[1])
    others = (step(seed, 1)[1] for seed in range(8, 16))
    assert name == "label-smoothing" or any(not torch.equal(first[1], one) for one in others)


class Killed(BaseException):
    """Stands for the moment a process ends."""


def stopped_and_continued(
    recipe: Recipe, folder: Path, monkeypatch: pytest.MonkeyPatch, *moments: tuple[int, int]
) -> None:
    """A training that ends at each (epoch, step) ends like one in one piece: weights to the bit, and the log."""

    def run(where: str) -> tuple[str, list[dict[str, Any]]]:
        card = train(recipe, name="net", seed=0, folder=folder / where, runtime=CPU).card
        weights = hashlib.sha256((folder / where / "model.safetensors").read_bytes()).hexdigest()
        return weights, [{**row, **MEASURED} for row in (card.training or {})["history"]]

    whole, save = run("whole"), fit_run.save_state
    for moment in moments:

        def save_and_die(path: Path, state: dict[str, Any], moment: tuple[int, int] = moment) -> None:
            save(path, state)
            if (state["epoch"], state["step"]) == moment:
                raise Killed

        monkeypatch.setattr(fit_run, "save_state", save_and_die)
        with pytest.raises(Killed):
            run("broken")
    monkeypatch.setattr(fit_run, "save_state", save)
    assert run("broken") == whole


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_a_training_that_is_stopped_ends_to_the_bit_with_an_average_of_weights(
    name: str, tiny_recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(
        **settings(name),
        epochs=2,
        batch_size=10,
        limit=20,
        save_interval=1e-9,
        lr=0.01,
        ema=0.5,
        schedule="cosine",
        schedule_by="step",
        warmup_epochs=0.5,
    )
    stopped_and_continued(recipe, tmp_path, monkeypatch, (1, 1))


@pytest.mark.long
@pytest.mark.parametrize("warmup", [0.0, 1.5])
@pytest.mark.parametrize("by", ["epoch", "step"])
@pytest.mark.parametrize("schedule", ["milestones", "cosine"])
def test_every_schedule_goes_on_to_the_bit_with_an_average_of_weights(
    schedule: str,
    by: str,
    warmup: float,
    tiny_recipe: Callable[..., Recipe],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = tiny_recipe(
        regularizers=["cutmix"],
        epochs=3,
        batch_size=10,
        limit=20,
        save_interval=1e-9,
        ema=0.5,
        optimizer="adamw",
        lr=0.01,
        schedule=schedule,
        schedule_by=by,
        warmup_epochs=warmup,
        warmup_lr=0.001,
        warmup_prefix=bool(warmup),
    )
    stopped_and_continued(recipe, tmp_path, monkeypatch, (0, 1), (2, 0))
