"""The recipe: the authors' schedules, the order of regularizers, and what is refused."""

import json
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from eval_suite.core.errors import InputError
from eval_suite.core.validation import problems
from eval_suite.training.fit_run import write_log
from eval_suite.training.history import Row, best_row
from eval_suite.training.recipe import PRESETS, Recipe


def recipe(**changes: Any) -> Recipe:
    return Recipe.model_validate({"arch": "resnet20_cifar", "data": "cifar10:x", **changes})


def told(**changes: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        recipe(**changes)
    return problems(caught.value, Recipe)


def test_the_cifar_schedule_is_the_authors() -> None:
    chosen = recipe(preset="cifar")
    assert (chosen.epochs, chosen.batch_size, chosen.lr, chosen.weight_decay) == (300, 64, 0.25, 1e-4)
    assert (chosen.momentum, chosen.nesterov, chosen.input_size) == (0.9, True, (32, 32))
    for epoch in range(300):
        # train.py, adjust_learning_rate: args.lr * (0.1 ** (epoch // (epochs * 0.5))) * (0.1 ** (epoch // (epochs * 0.75)))
        official = 0.25 * (0.1 ** (epoch // (300 * 0.5))) * (0.1 ** (epoch // (300 * 0.75)))
        assert chosen.learning_rate(epoch) == pytest.approx(official, rel=1e-12)
    changes = [e for e in range(1, 300) if chosen.learning_rate(e) != chosen.learning_rate(e - 1)]
    assert changes == [150, 225]


@pytest.mark.parametrize("preset", ["imagenet", "imagenet-jitter"])
def test_the_imagenet_schedule_is_the_authors(preset: str) -> None:
    chosen = recipe(preset=preset)
    assert (chosen.epochs, chosen.batch_size, chosen.lr, chosen.weight_decay) == (300, 256, 0.1, 1e-4)
    assert chosen.input_size == (224, 224)
    # Resize(256), CenterCrop(224), with torchvision's default interpolation.
    assert (chosen.crop_fraction, chosen.interpolation) == (224 / 256, "bilinear")
    assert chosen.augmentation == preset
    for epoch in range(300):
        # train.py, adjust_learning_rate: args.lr * (0.1 ** (epoch // 75)) for 300 epochs
        assert chosen.learning_rate(epoch) == pytest.approx(0.1 * 0.1 ** (epoch // 75), rel=1e-12)
    changes = [e for e in range(1, 300) if chosen.learning_rate(e) != chosen.learning_rate(e - 1)]
    assert changes == [75, 150, 225]


def test_the_authors_normalisation() -> None:
    chosen = recipe(preset="cifar")
    assert chosen.mean is not None
    assert chosen.std is not None
    assert [round(255 * value, 6) for value in (*chosen.mean, *chosen.std)] == [
        125.3,
        123,
        113.9,
        63,
        62.1,
        66.7,
    ]


@pytest.mark.parametrize(
    ("changes", "rates"),
    [
        ({"epochs": 4, "lr": 1.0}, [1, 1, 0.1, 0.01]),
        ({"epochs": 4, "lr": 1.0, "milestones": []}, [1, 1, 1, 1]),
        ({"epochs": 4, "lr": 1.0, "milestones": [0.25], "gamma": 0.5}, [1, 0.5, 0.5, 0.5]),
        ({"epochs": 1, "lr": 1.0}, [1]),
    ],
)
def test_the_learning_rate_of_other_lengths(changes: dict[str, Any], rates: list[float]) -> None:
    chosen = recipe(**changes)
    assert [chosen.learning_rate(epoch) for epoch in range(chosen.epochs)] == pytest.approx(rates)


def test_a_schedule_whose_milestones_are_whole_epochs_is_the_authors_at_any_length() -> None:
    for epochs in range(4, 121, 4):
        chosen = recipe(preset="cifar", epochs=epochs)
        for epoch in range(epochs):
            official = 0.25 * (0.1 ** (epoch // (epochs * 0.5))) * (0.1 ** (epoch // (epochs * 0.75)))
            assert chosen.learning_rate(epoch) == pytest.approx(official, rel=1e-12), (epoch, epochs)
    assert recipe(epochs=100, milestones=[0.55]).learning_rate(55) == pytest.approx(0.01)


def test_a_field_given_beside_a_preset_wins() -> None:
    chosen = recipe(preset="cifar", epochs=30, lr=0.1, milestones=[0.9])
    assert (chosen.epochs, chosen.lr, chosen.milestones, chosen.batch_size) == (30, 0.1, [0.9], 64)
    assert PRESETS["cifar"]["milestones"] == [0.5, 0.75]
    chosen.milestones.append(0.95)
    assert recipe(preset="cifar").milestones == [0.5, 0.75]


def test_erasing_comes_before_mixing_whatever_the_order() -> None:
    one = recipe(regularizers=[{"cutmix": {"prob": 0.5}}, {"cutout": {"size": 8}}])
    other = recipe(regularizers=["cutout", "cutmix"])
    assert [r.name for r in one.ordered_regularizers()] == ["cutout", "cutmix"]
    assert [r.name for r in other.ordered_regularizers()] == ["cutout", "cutmix"]
    cutout, cutmix = one.ordered_regularizers()
    assert (cutout.size, cutmix.prob, cutmix.alpha) == (8, 0.5, 1.0)  # type: ignore[attr-defined]


@pytest.mark.parametrize("entry", ["cutmix", {"cutmix": {}}, {"cutmix": None}, {"cutmix": {"alpha": 1.0}}])
def test_a_regularizer_is_a_name_or_a_name_with_options(entry: Any) -> None:
    (chosen,) = recipe(regularizers=[entry]).ordered_regularizers()
    assert (chosen.name, chosen.alpha, chosen.prob) == ("cutmix", 1.0, 1.0)  # type: ignore[attr-defined]


def test_a_recipe_comes_back_from_its_own_json() -> None:
    chosen = recipe(preset="cifar", regularizers=["cutout", {"cutmix": {"prob": 0.5}}])
    content = json.loads(json.dumps(chosen.model_dump(mode="json")))
    assert (
        content["regularizers"][1]["cutmix"].items()
        >= {"alpha": 1.0, "prob": 0.5, "correct_lam": True}.items()
    )
    again = Recipe.model_validate(content)
    assert again == chosen
    assert again.digest() == chosen.digest()


def test_the_digest_is_over_what_decides_the_weights() -> None:
    base = recipe(preset="cifar")
    spelt_out = recipe(**PRESETS["cifar"])
    assert base.digest() == spelt_out.digest() == recipe(preset="cifar", save_interval=1).digest()
    changed = [
        recipe(preset="cifar", **change)
        for change in (
            {"lr": 0.2},
            {"epochs": 299},
            {"regularizers": ["cutmix"]},
            {"regularizers": [{"cutmix": {"prob": 0.5}}]},
            {"regularizers": ["mixup"]},
            {"arch_options": {"blocks": 2}},
            {"milestones": [0.5]},
            {"data": "cifar10:y"},
            {"keep": "best"},
            {"nesterov": False},
            {"accumulate": 2},
            {"batch_norm_groups": 2},
            {"limit": 100},
            {"crop_fraction": 0.95},
            {"interpolation": "bicubic"},
            {"regularizers": [{"cutmix": {"per_sample": True}}]},
        )
    ]
    assert len({base.digest(), *(other.digest() for other in changed)}) == 1 + len(changed)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"lr": 0}, "lr: expected a number greater than 0, found 0"),
        ({"momentum": 1}, "momentum: expected a number less than 1, found 1"),
        ({"milestones": [0.7, 0.5]}, "milestones must rise, found [0.7, 0.5]"),
        ({"milestones": [0.5, 0.5]}, "milestones must rise, found [0.5, 0.5]"),
        (
            {"milestones": [150, 225], "epochs": 300},
            "milestones are shares of the epochs, found 150, which lies past the end; for epoch 150 of 300 write 0.5",
        ),
        ({"milestones": [0.5, 1.0]}, "milestones are shares of the epochs, found 1, which lies past the end"),
        ({"milestones": [0.0, 0.5]}, "milestones.0: expected a number greater than 0, found 0.0"),
        ({"std": [1, 1, 1]}, "give both mean and std, or neither"),
        ({"mean": [0, 0, 0], "std": [1, 0, 1]}, "std: expected values above 0, found (1.0, 0.0, 1.0)"),
        ({"input_size": [4, 32]}, "input_size.0: expected a number greater than or equal to 8, found 4"),
        ({"epocs": 3}, "epocs: unknown key; did you mean 'epochs'?"),
        (
            {"preset": "cifra"},
            "preset: expected 'cifar', 'imagenet', 'imagenet-jitter', 'deit', 'rsb-a1', 'rsb-a2', 'rsb-a3' or 'convnext', found 'cifra'",
        ),
        (
            {"regularizers": ["mixup", "cutmix"]},
            "only one regularizer may mix a batch, found mixup and cutmix",
        ),
        (
            {"regularizers": ["feature-cutmix", "mixup"]},
            "only one regularizer may mix a batch, found mixup and feature-cutmix",
        ),
        (
            {"regularizers": ["shakedrop", "stochastic-depth"]},
            "only one regularizer may drop branches, found shakedrop and stochastic-depth",
        ),
        (
            {"regularizers": ["manifold-mixup"], "accumulate": 2},
            "manifold-mixup mixes maps across the batch, which accumulate 2 would take apart",
        ),
        ({"accumulate": 3}, "batch_size 64 cannot be divided into accumulate 3 passes"),
        (
            {"accumulate": 4, "batch_norm_groups": 2},
            "batch_norm_groups 2 cannot be divided into accumulate 4 passes",
        ),
        ({"batch_norm_groups": 3}, "batch_size 64 cannot be divided into batch_norm_groups 3"),
        (
            {"regularizers": [{"dropblock": {"keep_prob": 1.5}}]},
            "regularizers.0.dropblock.keep_prob: expected a number less than or equal to 1, found 1.5",
        ),
        (
            {"regularizers": [{"stochastic-depth": {"rate": -0.1}}]},
            "regularizers.0.stochastic-depth.rate: expected a number greater than or equal to 0, found -0.1",
        ),
        (
            {"regularizers": [{"shakedrop": {"rate": 2}}]},
            "regularizers.0.shakedrop.rate: expected a number less than or equal to 1, found 2",
        ),
        (
            {"regularizers": [{"label-smoothing": {"epsilon": 1.1}}]},
            "regularizers.0.label-smoothing.epsilon: expected a number less than or equal to 1, found 1.1",
        ),
        ({"regularizers": ["cutmxi"]}, "regularizers.0.cutmxi: unknown key; did you mean 'cutmix'?"),
        (
            {"regularizers": ["cutout", {"cutmix": {"prob": 2}}]},
            "regularizers.1.cutmix.prob: expected a number less than or equal to 1, found 2",
        ),
        (
            {"regularizers": [{"cutmix": {"probb": 1}}]},
            "regularizers.0.cutmix.probb: unknown key; did you mean 'prob'?",
        ),
        (
            {"regularizers": [{"cutmix": {"zzz": 1}}]},
            "regularizers.0.cutmix.zzz: unknown key; known: alpha, centre, correct_lam, labels, per_sample, prob",
        ),
    ],
)
def test_a_problem_names_its_key(changes: dict[str, Any], line: str) -> None:
    (found,) = told(**changes)
    assert found.startswith(line)


def test_one_number_is_the_side_of_a_square() -> None:
    assert recipe(input_size=32, train_size=16) == recipe(input_size=[32, 32], train_size=(16, 16))


@pytest.mark.parametrize("entry", [{}, {"cutmix": {}, "mixup": {}}])
def test_an_item_holds_exactly_one_regularizer(entry: Any) -> None:
    (found,) = told(regularizers=[entry])
    assert found.startswith(
        "regularizers.0: expected one regularizer per item, as in '- cutmix: {alpha: 1.0}'"
    )


def test_several_problems_are_told_together() -> None:
    assert len(told(lr=-1, epochs=0, regularizers=["x", {"cutmix": {"alpha": 0}}])) == 4


def test_the_best_epoch_is_the_last_of_the_lowest_error(tmp_path: Any) -> None:
    rows = [Row(i + 1, 0.1, 1.0, error, 0.0, 1.0) for i, error in enumerate([0.5, 0.3, 0.4, 0.3, 0.6])]
    assert best_row(rows).epoch == 4
    assert best_row(rows[:1]).epoch == 1
    write_log(tmp_path / "log.jsonl", rows)
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [Row(**json.loads(line)) for line in lines] == rows
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_log(tmp_path / "log.jsonl", [rows[0]._replace(train_loss=float("nan"))])
    assert (tmp_path / "log.jsonl").read_text().splitlines() == lines


@pytest.mark.parametrize(
    "pair",
    [
        ["cutout", "mixup"],
        ["cutout", "manifold-mixup"],
        ["cutmix", "shakedrop"],
        ["cutout", "label-smoothing"],
        ["dropblock", "label-smoothing"],
    ],
)
def test_the_combinations_of_table_5_are_recipes(pair: list[str]) -> None:
    names = [one.name for one in recipe(regularizers=pair).ordered_regularizers()]
    assert sorted(names) == sorted(pair)
    assert (
        recipe(regularizers=pair[::-1]).ordered_regularizers()
        == recipe(regularizers=pair).ordered_regularizers()
    )


def test_digests_from_before_todays_recipes_stay() -> None:
    jitter = recipe(preset="imagenet-jitter", regularizers=["cutout", {"cutmix": {"prob": 0.5}}])
    assert jitter.digest() == "e22a125294fe0d193e0ebcca318e0850e69822d8eb42b8a6465acf852894c416"
    assert (
        recipe(preset="cifar").digest() == "d4c70c5bb79d2359fdd2386fedfb74b25e23ff2abd75c69900f4d851dc4cbe9e"
    )
    assert recipe(preset="cifar", trackers=["tensorboard"]).digest() == recipe(preset="cifar").digest()


@pytest.mark.parametrize(
    "changes",
    [
        {"policy": "trivial-augment"},
        {"repeats": 3},
        {"train_size": (24, 24)},
        {"train_interpolation": "bicubic"},
        {"train_interpolation": "random"},
        {"loss": "bce"},
        {"loss": "bce", "bce_threshold": 0.2},
        {"drop_path": 0.1},
        {"optimizer": "lion"},
        {"weight_decay_on": "weights"},
        {"layer_decay": 0.7},
        {"clip_grad": 1.0},
        {"ema": 0.99},
        {"schedule": "cosine"},
        {"schedule_by": "step"},
        {"warmup_epochs": 2, "warmup_lr": 0.01},
        {"warmup_lr": 0.01},
        {"warmup_prefix": True},
        {"min_lr": 0.01},
        {"compile": True},
    ],
)
def test_whatever_changes_a_training_changes_its_digest(changes: dict[str, Any]) -> None:
    assert recipe(**changes).digest() != recipe().digest()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"warmup_epochs": 5, "epochs": 5}, "warmup_epochs"),
        ({"warmup_epochs": 2}, "warmup_lr above 0"),
        ({"min_lr": 0.2}, "min_lr"),
        ({"warmup_lr": 0.2}, "warmup_lr"),
        ({"policy": "randaugment"}, "rand-augment"),
        ({"bce_threshold": 0.2}, "loss: bce"),
        ({"loss": "bce", "bce_threshold": 0.2, "regularizers": ["label-smoothing"]}, "smoothing"),
        ({"drop_path": 0.1, "regularizers": ["stochastic-depth"]}, "drop_path"),
        ({"compile": True, "regularizers": ["shakedrop"]}, "shakedrop"),
        ({"ema": 1.0}, "ema"),
        ({"clip_grad": float("nan")}, "clip_grad"),
        ({"optimizer": "adam"}, "adamw"),
    ],
)
def test_settings_that_exclude_one_another_are_refused(changes: dict[str, Any], named: str) -> None:
    (line,) = told(**changes)
    assert named in line


def test_digests_from_before_later_keys_joined_stay() -> None:
    """Computed by the version that had neither accumulate, batch_norm_groups, limit, crop_fraction, interpolation nor the variants of CutMix."""
    old = recipe(preset="cifar", regularizers=["cutout", {"cutmix": {"prob": 0.5}}])
    assert old.digest() == "6e0752a7e4ce6b096821c800b0d53c8db5583af815464b9179d7cd44e166ac3a"
    assert (
        recipe(regularizers=["mixup"]).digest()
        == "ff0e5acf97423b2ffd32e1e0e49eadf443c82775958a48158fd996131b8db337"
    )


def test_a_recipe_is_validated_without_torch() -> None:
    code = "import eval_suite.training.recipe, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    "options", [{"checkpoint_path": "w.pth"}, {"pretrained": True}, {"weights": "DEFAULT", "blocks": 1}]
)
def test_weights_do_not_enter_by_the_options_of_an_architecture(options: dict[str, Any]) -> None:
    (line,) = told(arch_options=options)
    assert "init: SOURCE" in line
    assert f"found {next(iter(options))} in arch_options" in line


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"init": "no/where"}, "no backbone at 'no/where'"),
        ({"init": "jax:a"}, "expected a checkpoint folder"),
        ({"init_entry": "ema"}, "found init_entry alone"),
    ],
)
def test_a_wrong_start_is_refused(settings: dict[str, str], words: str) -> None:
    assert words in told(**settings)[0]


def test_the_digest_knows_the_weights_that_a_training_starts_from(tmp_path: Any) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(b"a")
    plain = recipe().digest()
    digests = {plain, recipe(init=str(path)).digest(), recipe(init=f"timm:resnet18@{path}").digest()}
    digests |= {recipe(init="timm:resnet18").digest(), recipe(init=str(path), init_entry="ema").digest()}
    assert len(digests) == 5
    first = recipe(init=str(path)).digest()
    path.write_bytes(b"bc")
    assert recipe(init=str(path)).digest() != first
    path.unlink()
    with pytest.raises(InputError, match=r"expected a file at .*w.pth, found none"):
        recipe(init=str(path)).digest()
    assert recipe(init=None, init_entry=None).digest() == plain
