"""Several processes train as one would: the same draws, the same batch, the same loss curve."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from eval_suite.backbones.checkpoint import load_state
from eval_suite.core.errors import InputError
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.core.store import read_card
from eval_suite.data.images import open_images
from eval_suite.data.loading import Batch
from eval_suite.training import fit_run
from eval_suite.training.distributed import pad_batch
from eval_suite.training.loop import train
from eval_suite.training.preparation import initial_state, training_data
from eval_suite.training.recipe import Recipe
from eval_suite.training.regularizers import Shard
from tests.training.every import NAMES, settings

MakeRecipe = Callable[..., Recipe]
CPU = RuntimeOptions(device="cpu", workers=0, threads=1)
# Every kind of exchange: none, rows of images, rows of maps with their gradients, draws of the network.
REGULARIZERS: dict[str, list[Any]] = {
    "none": [],
    "images": ["cutout", {"cutmix": {"per_sample": True}}, "label-smoothing"],
    "maps": [{"manifold-mixup": {"layers": ["layer1", "layer2"]}}],
    "branches": ["shakedrop", "mixup"],
    "peaks": [{"saliencymix": {"per_sample": True}}],
}
OF_TODAY: dict[str, Any] = {
    "optimizer": "adamw",
    "lr": 1e-3,
    "ema": 0.5,
    "clip_grad": 1.0,
    "schedule": "cosine",
    "schedule_by": "step",
    "policy": "trivial-augment",
    "repeats": 2,
}
# Trains what a JSON file lists, in every process that torchrun starts, and keeps the state after the first epoch.
SCRIPT = """
import json, shutil, sys
from pathlib import Path
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.core.logs import log_to_stderr
from eval_suite.training import fit_run, loop
from eval_suite.training.recipe import Recipe

log_to_stderr()
real = fit_run.save_state
def save(path, state):
    real(path, state)
    if (state["epoch"], state["step"]) == (1, 0):
        shutil.copy(path, path.with_name("state-of-two"))
fit_run.save_state = save
for folder, recipe in json.loads(Path(sys.argv[1]).read_text()).items():
    loop.train(Recipe(**recipe), name="net", seed=0, folder=Path(folder),
               runtime=RuntimeOptions(device="cpu", workers=0, threads=1))
"""


def curve(folder: Path) -> list[tuple[float, float]]:
    training = read_card(folder).training
    assert training is not None
    return [(row["train_loss"], row["top1_error"]) for row in training["history"]]


def one(recipe: Recipe, folder: Path) -> None:
    train(recipe, name="net", seed=0, folder=folder, runtime=CPU)


class Killed(BaseException):
    """Stands for the moment a process ends."""


@pytest.mark.long
def test_two_processes_train_as_one_and_continue_one_another(
    tiny_recipe: MakeRecipe, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {
        name: tiny_recipe(regularizers=chosen, batch_norm_groups=2, epochs=2)
        for name, chosen in REGULARIZERS.items()
    }
    made |= {
        name: tiny_recipe(**settings(name), batch_norm_groups=2, epochs=1, batch_size=10, limit=20)
        for name in NAMES
    }
    made["today"] = tiny_recipe(batch_norm_groups=2, epochs=2, **OF_TODAY)
    broken = tmp_path / "broken"
    shutil.copytree(image_folder, broken)
    unreadable = sorted(broken.glob("train/*/*"))[3]
    unreadable.write_bytes(b"no image")
    made["unreadable"] = tiny_recipe(data=f"folder:{broken}", regularizers=["mixup"], epochs=1)
    for name, recipe in made.items():
        one(recipe, tmp_path / "one" / name)
    with monkeypatch.context() as patched:
        real = fit_run.save_state

        def save_and_die(path: Path, state: dict[str, Any]) -> None:
            real(path, state)
            if state["epoch"] == 1:
                raise Killed

        patched.setattr(fit_run, "save_state", save_and_die)
        with pytest.raises(Killed):
            one(made["maps"], tmp_path / "two" / "continued")

    tasks = {str(tmp_path / "two" / name): recipe.model_dump(mode="json") for name, recipe in made.items()}
    tasks[str(tmp_path / "two" / "continued")] = made["maps"].model_dump(mode="json")
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    (tmp_path / "script.py").write_text(SCRIPT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launch, str(tmp_path / "script.py"), str(tmp_path / "tasks.json")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("continuing after 1 epochs and 0 steps") == 1

    for name in (*REGULARIZERS, *NAMES, "today"):
        ours, theirs = curve(tmp_path / "one" / name), curve(tmp_path / "two" / name)
        # Sums in another order: float32 noise, grown over the steps.
        assert [loss for loss, _ in theirs] == pytest.approx([loss for loss, _ in ours], rel=2e-5), name
        assert [error for _, error in theirs] == pytest.approx(
            [error for _, error in ours], abs=1 / 30 + 1e-9
        )
    expected = [loss for loss, _ in curve(tmp_path / "one" / "maps")]
    assert [loss for loss, _ in curve(tmp_path / "two" / "continued")] == pytest.approx(expected, rel=2e-5)
    training = read_card(tmp_path / "two" / "unreadable").training
    assert training is not None
    assert training["history"][0]["train_loss"] > 0

    # And one process continues what two began.
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(tmp_path / "two" / "branches" / "state-of-two", alone / "state.pt")
    state = load_state(alone / "state.pt")
    assert state is not None
    assert state["epoch"] == 1
    one(made["branches"], alone)
    expected = [loss for loss, _ in curve(tmp_path / "one" / "branches")]
    assert [loss for loss, _ in curve(alone)] == pytest.approx(expected, rel=2e-5)


@pytest.mark.parametrize(
    ("changes", "world", "message"),
    [
        ({"batch_size": 16}, 3, r"a batch of 16 images cannot be divided evenly into 3 processes x 1 passes"),
        (
            {"batch_size": 16, "batch_norm_groups": 2},
            4,
            r"16 images in 2 groups cannot .* 4 processes x 1 passes; .*multiple of 4",
        ),
        ({"batch_size": 1000}, 8, "a batch of 60 images cannot be divided evenly into 8 processes"),
        (
            {"batch_size": 64, "batch_norm_groups": 8},
            1,
            "a batch of 60 images cannot be divided evenly into batch_norm_groups 8; there are 60 images",
        ),
    ],
)
def test_a_batch_that_the_processes_cannot_share(
    tiny_recipe: MakeRecipe, tmp_path: Path, changes: dict[str, int], world: int, message: str
) -> None:
    recipe = tiny_recipe(**changes)
    images = open_images(recipe.data, "train", purpose="train")
    start = initial_state(recipe, name="n", seed=0, folder=tmp_path, classes=images.classes)
    with pytest.raises(InputError, match=message):
        training_data(
            recipe,
            images,
            start.objective.backbone.card,
            seed=0,
            runtime=CPU,
            device=torch.device("cpu"),
            strict=False,
            share=Shard(0, world),
        )


def test_processes_judge_an_epoch_on_disjoint_parts_of_all_images(
    tiny_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = tiny_recipe(batch_size=18)
    images = open_images(recipe.data, "train", purpose="train")
    card = initial_state(
        recipe, name="n", seed=0, folder=tmp_path, classes=images.classes
    ).objective.backbone.card
    seen: list[str] = []
    for rank in range(3):
        data = training_data(
            recipe,
            images,
            card,
            seed=0,
            runtime=CPU,
            device=torch.device("cpu"),
            strict=False,
            share=Shard(rank, 3),
        )
        assert data.rows == 6
        seen += [data.validation._source.index.ids[int(i)] for batch in data.validation for i in batch.index]
    assert sorted(seen) == sorted(open_images(recipe.data).ids)


def test_a_batch_with_unreadable_images_is_filled_up() -> None:
    batch = Batch(torch.arange(3.0).view(3, 1, 1, 1), torch.tensor([5, 6, 7]), torch.tensor([1, 4, 2]))
    assert pad_batch(batch, 3) is batch
    full = pad_batch(batch, 5)
    assert full.labels.tolist() == [5, 6, 7, 5, 6]
    assert full.index.tolist() == [1, 4, 2, 1, 4]
    assert full.images.flatten().tolist() == [0, 1, 2, 0, 1]
