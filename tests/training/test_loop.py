"""The loop: deterministic, resumable at any moment, and stopping cleanly when the loss leaves the finite numbers."""

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from eval_suite.backbones.inference import evaluation_batches, predict_logits
from eval_suite.backbones.sources import load_backbone
from eval_suite.core.errors import BusyError, DivergenceError, InputError
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.core.statistics import topk_correct
from eval_suite.core.store import exclusive, read_card
from eval_suite.data.images import open_images
from eval_suite.training import fit_run, loop
from eval_suite.training.fit_run import FitRun
from eval_suite.training.loop import Trained, train
from eval_suite.training.recipe import Recipe
from tests.killing import killed_after

MakeRecipe = Callable[..., Recipe]
CPU = RuntimeOptions(device="cpu", workers=0, threads=1)
EVERY_STEP = 1e-9
MEASURED = {"seconds": 0, "step_seconds": 0, "memory": 0}


def run(recipe: Recipe, folder: Path, seed: int = 0, *, overwrite: bool = False) -> Trained:
    return train(recipe, name="net", seed=seed, folder=folder, runtime=CPU, overwrite=overwrite)


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


class Killed(BaseException):
    """Stands for the moment a process ends: nothing of ours catches it."""


@pytest.mark.parametrize("regularizer", ["cutmix", "mixup", {"cutout": {"size": 24}}])
def test_same_seed_gives_the_same_weights_and_another_seed_others(
    tiny_recipe: MakeRecipe, tmp_path: Path, regularizer: object
) -> None:
    recipe = tiny_recipe(regularizers=[regularizer], epochs=1)
    run(recipe, tmp_path / "a")
    run(recipe, tmp_path / "b")
    run(recipe, tmp_path / "c", seed=1)
    assert weights(tmp_path / "a") == weights(tmp_path / "b") != weights(tmp_path / "c")


@pytest.mark.parametrize(
    ("keep", "regularizers"),
    [
        ("best", ["cutout", "manifold-mixup", "shakedrop"]),
        (
            "last",
            [
                {"feature-cutmix": {"layers": ["layer1"]}},
                {"dropblock": {"block_size": 2}},
                "stochastic-depth",
                "label-smoothing",
            ],
        ),
    ],
)
def test_resuming_after_every_saved_state_ends_bit_identical(
    tiny_recipe: MakeRecipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    keep: str,
    regularizers: list[object],
) -> None:
    recipe = tiny_recipe(
        regularizers=regularizers, save_interval=EVERY_STEP, checkpoint=keep, epochs=2, batch_size=20
    )
    whole = run(recipe, tmp_path / "whole")
    real_save, lives = fit_run.save_state, 0

    def save_and_die(path: Path, state: dict[str, object]) -> None:
        real_save(path, state)
        raise Killed

    monkeypatch.setattr(fit_run, "save_state", save_and_die)
    while True:
        lives += 1
        try:
            broken = run(recipe, tmp_path / "broken")
            break
        except Killed:
            # The next life trains to the next state, so every saved state is resumed from once.
            assert lives < 100
    steps = 2 * (60 // 20)
    # The fresh state, every step, every epoch's end, and the finishing life.
    assert lives == 1 + 1 + steps + 2
    assert weights(tmp_path / "broken") == weights(tmp_path / "whole")
    ours, theirs = whole.card.training, broken.card.training
    assert ours is not None
    assert theirs is not None
    for row, other in zip(ours["history"], theirs["history"], strict=True):
        assert {**row, **MEASURED} == {**other, **MEASURED}


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "adamw", "ema": 0.5, "schedule": "cosine", "schedule_by": "step", "warmup_epochs": 0.5},
        pytest.param(
            {"optimizer": "lamb", "checkpoint": "best", "ema": 0.5, "clip_grad": 0.1, "layer_decay": 0.7},
            marks=pytest.mark.long,
        ),
        pytest.param({"optimizer": "lion", "schedule": "cosine"}, marks=pytest.mark.long),
        pytest.param({"policy": "rand-m9-mstd0.5-inc1", "repeats": 2, "loss": "bce"}, marks=pytest.mark.long),
        pytest.param({"drop_path": 0.5}, marks=pytest.mark.long),
    ],
)
def test_a_recipe_of_today_stopped_in_the_middle_ends_bit_identical(
    tiny_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object]
) -> None:
    timm_net = {"arch": "resnet10t", "arch_options": {"channels": (8, 8, 8, 8), "stem_width": 8}}
    recipe = tiny_recipe(**timm_net, save_interval=EVERY_STEP, epochs=2, lr=0.01, **changes)
    whole = run(recipe, tmp_path / "whole")
    real_save = fit_run.save_state
    for stop in (3, 5):

        def save_and_die(path: Path, state: dict[str, object], stop: int = stop) -> None:
            real_save(path, state)
            if (state["epoch"], state["step"]) == divmod(stop, 60 // 16):
                raise Killed

        monkeypatch.setattr(fit_run, "save_state", save_and_die)
        with pytest.raises(Killed):
            run(recipe, tmp_path / "broken")
    monkeypatch.setattr(fit_run, "save_state", real_save)
    broken = run(recipe, tmp_path / "broken")
    assert weights(tmp_path / "broken") == weights(tmp_path / "whole")
    for row, other in zip(
        (whole.card.training or {})["history"], (broken.card.training or {})["history"], strict=True
    ):
        assert {**row, **MEASURED} == {**other, **MEASURED}


def test_what_is_judged_and_kept_is_the_average(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = tiny_recipe(epochs=1, ema=0.5)
    kept = run(recipe, tmp_path / "averaged")
    plain = run(tiny_recipe(epochs=1), tmp_path / "plain")
    assert weights(tmp_path / "averaged") != weights(tmp_path / "plain")
    backbone = load_backbone(str(tmp_path / "averaged"))
    index = open_images(recipe.data, None)
    found = predict_logits(
        backbone, evaluation_batches(index, backbone.card, runtime=CPU, device=torch.device("cpu"))
    )
    error = 1 - float(topk_correct(found.logits, found.labels, 1).mean())
    assert (kept.card.training or {})["last"]["top1_error"] == pytest.approx(error)
    assert (plain.card.training or {})["last"]["train_loss"] == (kept.card.training or {})["last"][
        "train_loss"
    ]


def test_a_training_logs_what_it_costs(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    history = (run(tiny_recipe(epochs=2, regularizers=["cutmix"]), tmp_path).card.training or {})["history"]
    for row in history:
        assert row["passes"] == 1.0
        assert 0 < row["step_seconds"] * (60 // 16) <= row["seconds"] + 1e-3
        assert row["memory"] > 1 << 20


def test_dying_between_the_weights_and_the_card_is_mended(
    tiny_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(epochs=1)
    run(recipe, tmp_path / "whole")
    real = FitRun.finish

    def die(fit: FitRun, *_: object) -> None:
        (fit.folder / "model.safetensors").write_bytes(b"half")
        raise Killed

    monkeypatch.setattr(FitRun, "finish", die)
    with pytest.raises(Killed):
        run(recipe, tmp_path / "broken")
    assert not (tmp_path / "broken" / "card.json").exists()
    monkeypatch.setattr(FitRun, "finish", real)
    run(recipe, tmp_path / "broken")
    assert weights(tmp_path / "broken") == weights(tmp_path / "whole")


def test_a_run_killed_by_the_system_ends_bit_identical(
    tiny_recipe: MakeRecipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = tiny_recipe(regularizers=["cutmix"], save_interval=EVERY_STEP, epochs=3)
    run(recipe, tmp_path / "whole")
    # In the second epoch: three steps, the beginning and the epoch's end have been saved.
    assert killed_after(6, run, recipe, tmp_path / "killed") == -signal.SIGKILL
    assert len((tmp_path / "killed" / "log.jsonl").read_text().splitlines()) == 1
    assert not (tmp_path / "killed" / "card.json").exists()
    caplog.clear()
    run(recipe, tmp_path / "killed")
    assert caplog.messages[0].startswith("continuing after ")
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")


def test_a_finished_backbone_is_left_alone_and_replaced_only_where_that_is_allowed(
    tiny_recipe: MakeRecipe, tmp_path: Path
) -> None:
    assert not run(tiny_recipe(epochs=1), tmp_path).already_done
    before = (tmp_path / "model.safetensors").stat().st_mtime_ns
    assert run(tiny_recipe(epochs=1), tmp_path).already_done
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == before
    for recipe, seed, other in (
        (tiny_recipe(epochs=1, lr=0.01), 0, "other lr;"),
        (tiny_recipe(epochs=1), 1, "seed"),
    ):
        with pytest.raises(InputError, match=rf"another recipe, with .*{other}.*--overwrite"):
            run(recipe, tmp_path, seed)
        assert (tmp_path / "model.safetensors").stat().st_mtime_ns == before
    assert not run(tiny_recipe(epochs=1, lr=0.01), tmp_path, overwrite=True).already_done
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns != before


def test_an_unfinished_run_of_another_recipe_is_not_continued(
    tiny_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(FitRun, "finish", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            run(tiny_recipe(epochs=1, lr=0.01), tmp_path / "mixed")
    run(tiny_recipe(epochs=1), tmp_path / "mixed")
    run(tiny_recipe(epochs=1), tmp_path / "clean")
    assert weights(tmp_path / "mixed") == weights(tmp_path / "clean")


def test_divergence_names_the_place_and_keeps_the_last_good_state(
    tiny_recipe: MakeRecipe, tmp_path: Path
) -> None:
    with pytest.raises(DivergenceError, match=r"stopped being finite in epoch \d+ .*lower the learning rate"):
        run(tiny_recipe(lr=1e30), tmp_path)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert all(torch.isfinite(value).all() for value in state["model"].values())
    assert not (tmp_path / "card.json").exists()


def test_the_checkpoint_holds_the_best_epoch_on_request(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = tiny_recipe(epochs=6, lr=0.2, checkpoint="best")
    card = run(recipe, tmp_path / "best").card
    assert card.training is not None
    rows = card.training["history"]
    assert card.training["last"] == rows[-1]
    assert card.training["best"]["top1_error"] == min(row["top1_error"] for row in rows)
    if card.training["best"]["epoch"] != len(rows):
        run(tiny_recipe(epochs=6, lr=0.2), tmp_path / "last")
        assert weights(tmp_path / "best") != weights(tmp_path / "last")


def test_judging_fewer_epochs_gives_the_same_weights(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    cards = {
        every: run(tiny_recipe(epochs=5, validate_every=every), tmp_path / f"every{every}").card
        for every in (1, 2, 9)
    }
    assert len({card.weights_sha256 for card in cards.values()}) == 1
    errors = {
        every: [row["top1_error"] for row in (card.training or {})["history"]]
        for every, card in cards.items()
    }
    full = errors[1]
    assert errors[2] == [None, full[1], None, full[3], full[4]]
    assert errors[9] == [None] * 4 + full[4:]
    assert (cards[9].training or {})["best"]["epoch"] == 5
    assert tiny_recipe(validate_every=2).digest() == tiny_recipe().digest()


def test_the_best_of_the_judged_epochs_is_kept(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = tiny_recipe(epochs=6, lr=0.2, checkpoint="best", validate_every=3)
    kept = (run(recipe, tmp_path).card.training or {})["best"]
    assert kept["epoch"] in (3, 6)
    backbone = load_backbone(str(tmp_path), name="net")
    data = evaluation_batches(
        open_images(recipe.data), backbone.card, runtime=CPU, device=torch.device("cpu")
    )
    found = predict_logits(backbone, data)
    assert 1 - float(topk_correct(found.logits, found.labels, 1).mean()) == pytest.approx(kept["top1_error"])
    assert recipe.digest() != tiny_recipe(epochs=6, lr=0.2, checkpoint="best").digest()


@pytest.mark.parametrize("keep", ["last", "best"])
def test_the_checkpoint_of_dropped_branches_is_one_of_the_plain_architecture(
    tiny_recipe: MakeRecipe, tmp_path: Path, keep: str
) -> None:
    card = run(
        tiny_recipe(regularizers=[{"stochastic-depth": {"rate": 0.8}}], checkpoint=keep, lr=0.1), tmp_path
    ).card
    assert card.training is not None
    backbone = load_backbone(str(tmp_path), name="net")
    assert not any(module._forward_hooks for module in backbone.modules())
    data = evaluation_batches(open_images(card.recipe["data"]), card, runtime=CPU, device=torch.device("cpu"))  # type: ignore[index]
    found = predict_logits(backbone, data)
    error = 1 - float(topk_correct(found.logits, found.labels, 1).mean())
    assert error == pytest.approx(card.training[keep]["top1_error"], abs=1 / 30 + 1e-9)


def test_images_beyond_a_limit_are_not_trained_on(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    images = loop.open_images(tiny_recipe().data, "train", purpose="train")
    few = tiny_recipe(limit=20, batch_size=10, epochs=1, save_interval=EVERY_STEP)
    steps: list[int] = []
    real = fit_run.save_state
    try:
        fit_run.save_state = lambda path, state: (steps.append(state["step"]), real(path, state))[1]
        run(few, tmp_path)
    finally:
        fit_run.save_state = real
    assert steps == [0, 1, 2, 0]
    assert len(images) > 20


def test_what_lies_in_the_folder_afterwards(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = tiny_recipe()
    trained = run(recipe, tmp_path)
    visible = sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("."))
    assert visible == ["card.json", "log.jsonl", "model.safetensors"]
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row["lr"] for row in rows] == pytest.approx([0.05, 0.05, 0.005])
    card = read_card(tmp_path)
    assert card == trained.card
    assert card.recipe == recipe.model_dump(mode="json")
    backbone = load_backbone(str(tmp_path), name="net")
    saved = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(value, saved[key]) for key, value in backbone.net.state_dict().items())


def test_two_runs_in_one_folder(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    holder = "import sys, time; from pathlib import Path; from eval_suite.core.store import exclusive\n"
    holder += "with exclusive(Path(sys.argv[1]), 'training'): print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", holder, str(tmp_path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(BusyError, match=f"in use: process {other.pid} is already training there"):
            run(tiny_recipe(), tmp_path)
        other.kill()
    with exclusive(tmp_path, "training"):
        pass


def test_unreadable_training_images_are_left_out_and_named(
    tiny_recipe: MakeRecipe, image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    images = tmp_path / "images"
    shutil.copytree(image_folder, images)
    broken = sorted(images.glob("train/*/*"))[0]
    broken.write_bytes(broken.read_bytes()[:200])
    recipe = tiny_recipe(epochs=1, data=f"folder:{images}")
    card = run(recipe, tmp_path / "out").card
    assert card.training is not None
    assert card.training["unreadable"] == [str(broken.relative_to(images))]
    with pytest.raises(InputError, match=broken.name):
        train(recipe, name="n", seed=0, folder=tmp_path / "strict", runtime=CPU, strict=True)


def test_bf16_and_the_contiguous_layout_train_too(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    saved = {}
    for precision in ("fp32", "bf16"):
        trained = run(tiny_recipe(epochs=1, precision=precision, channels_last=False), tmp_path / precision)
        saved[precision] = load_file(tmp_path / precision / "model.safetensors")
        assert trained.card.recipe is not None
        assert trained.card.recipe["precision"] == precision
    assert all(value.dtype != torch.bfloat16 for value in saved["bf16"].values())
    # Eight bits of mantissa leave the way of fp32 at once, but not far.
    for key in ("conv1.weight", "layer3.0.conv2.weight", "fc.weight"):
        difference = (saved["bf16"][key] - saved["fp32"][key]).norm() / saved["fp32"][key].norm()
        assert 1e-5 < difference < 0.2, key


def test_a_finite_loss_before_a_step_to_infinity_is_no_good_state(
    tiny_recipe: MakeRecipe, tmp_path: Path
) -> None:
    # One step an epoch: its loss is that of the untouched network, and finite.
    with pytest.raises(DivergenceError, match="a weight stopped being finite in epoch 1 by step 1"):
        run(tiny_recipe(lr=1e38, weight_decay=1e30, batch_size=60, augmentation="none"), tmp_path)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert (state["epoch"], state["step"]) == (0, 0)
    assert all(torch.isfinite(value).all() for value in state["model"].values())
