"""The fit: another network from a backbone that stays as it is, with the loop's guarantees, for every method."""

import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.inference import to_device
from eval_suite.core.errors import InputError
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.core.store import read_card
from eval_suite.data.images import open_images
from eval_suite.tasks.wsol import fit as fitting
from eval_suite.tasks.wsol.fit import fit_localiser, fit_recipe, learnt_from
from eval_suite.tasks.wsol.maps import PlainMaps
from eval_suite.tasks.wsol.methods import make_method
from eval_suite.tasks.wsol.options import PRESETS, WsolOptions
from eval_suite.training import fit_run
from eval_suite.training.objective import TrainInit
from eval_suite.training.recipe import Recipe
from tests.tasks.wsol.nets import backbone, images
from tests.tasks.wsol.world import write_world

CPU = RuntimeOptions(device="cpu", workers=0, threads=1)
ON_THE_NETWORK = [
    "manifold-mixup",
    "feature-cutmix",
    {"dropblock": {"block_size": 3, "schedule": "constant"}},
    "stochastic-depth",
    "shakedrop",
]
TRAINED = ["cam", {"has": {"sizes": [8]}}, "acol", "adl", "spg"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"cub:{write_world(tmp_path_factory.mktemp('world'))}"


@pytest.fixture
def options(data: str) -> Callable[..., WsolOptions]:
    def make(method: Any = "cam", **changes: Any) -> WsolOptions:
        settings = {
            "epochs": 2,
            "batch_size": 4,
            "lr": 0.01,
            "head_lr": 0.1,
            "augmentation": "flip",
            **changes,
        }
        return WsolOptions.model_validate({"data": data, "method": method, "fit": settings})

    return make


def net() -> Backbone:
    return backbone("resnet14_demo", 32, 4, blocks=1, channels=(4, 8, 16))


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


class Killed(BaseException):
    """Stands for the moment a process ends: nothing of ours catches it."""


@pytest.mark.parametrize("method", TRAINED)
def test_every_method_trains_to_the_same_weights_and_reads_them_again(
    options: Callable[..., WsolOptions], tmp_path: Path, method: Any
) -> None:
    given, chosen = net(), options(method)
    before = copy.deepcopy(given.state_dict())
    one = fit_localiser(given, chosen, CPU, 0, tmp_path / "one")
    fit_localiser(given, chosen, CPU, 0, tmp_path / "other")
    fit_localiser(given, chosen, CPU, 1, tmp_path / "seed")
    assert weights(tmp_path / "one") == weights(tmp_path / "other") != weights(tmp_path / "seed")
    assert all(torch.equal(value, before[key]) for key, value in given.state_dict().items())
    assert given.card.num_classes == 4
    when = (tmp_path / "one/model.safetensors").stat().st_mtime_ns
    again = fit_localiser(given, chosen, CPU, 0, tmp_path / "one")
    assert (tmp_path / "one/model.safetensors").stat().st_mtime_ns == when
    x, wanted = images(3, 32), torch.tensor([0, 1, 2])
    method_of = make_method(chosen.method.chosen)
    extract, reread = (method_of.extractor(to_device(m, torch.device("cpu")), "fp32") for m in (one, again))
    assert torch.equal(extract(x, wanted).maps, reread(x, wanted).maps)
    assert extract(x, wanted).maps.shape == (3, 8, 8)
    assert extract(x, wanted).logits.shape == (3, 3)


@pytest.mark.parametrize("method", ["cam", "acol", "adl", "spg"])
@pytest.mark.parametrize("regularizer", ON_THE_NETWORK)
def test_every_method_takes_every_regularizer_of_the_network(
    options: Callable[..., WsolOptions], tmp_path: Path, method: str, regularizer: Any
) -> None:
    own = net()
    own.card = own.card.model_copy(update={"recipe": {"regularizers": [regularizer]}})
    chosen = options(method, epochs=1)
    fresh = fit_localiser(own, chosen, CPU, 0, tmp_path / "own")
    fit_localiser(net(), options(method, epochs=1), CPU, 0, tmp_path / "none")
    assert weights(tmp_path / "own") != weights(tmp_path / "none")
    # What is read again is the plain network, without the hooks of the training.
    again = fit_localiser(own, chosen, CPU, 0, tmp_path / "own")
    x, wanted = images(2, 32), torch.tensor([0, 1])
    extractor = make_method(chosen.method.chosen).extractor
    one, other = (extractor(to_device(m, torch.device("cpu")), "fp32")(x, wanted) for m in (fresh, again))
    assert torch.equal(one.logits, other.logits)
    assert torch.equal(one.maps, other.maps)


@pytest.mark.parametrize("method", ["acol", "spg"])
def test_layers_that_a_regularizer_names_wrongly_are_answered_with_the_networks_own(
    options: Callable[..., WsolOptions], tmp_path: Path, method: str
) -> None:
    chosen = options(method, regularizers=[{"feature-cutmix": {"layers": ["layer9"]}}])
    with pytest.raises(
        InputError, match=r"no layer 'layer9' with a feature map; it has input, conv1, bn1, .*layer3"
    ):
        fit_localiser(net(), chosen, CPU, 0, tmp_path)


@pytest.mark.parametrize("method", ["adl", "spg", "acol"])
def test_resuming_after_every_saved_state_ends_bit_identical(
    options: Callable[..., WsolOptions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    chosen = options(method, regularizers=["cutmix"])

    def every_step(*arguments: Any) -> Recipe:
        return fit_recipe(*arguments).model_copy(update={"save_interval": 1e-9})

    monkeypatch.setattr(fitting, "fit_recipe", every_step)
    fit_localiser(net(), chosen, CPU, 0, tmp_path / "whole")
    real_save, lives = fit_run.save_state, 0

    def save_and_die(path: Path, state: dict[str, object]) -> None:
        real_save(path, state)
        raise Killed

    monkeypatch.setattr(fit_run, "save_state", save_and_die)
    while True:
        lives += 1
        try:
            fit_localiser(net(), chosen, CPU, 0, tmp_path / "broken")
            break
        except Killed:
            assert lives < 100
    assert (
        lives == 1 + 1 + 2 * 3 + 2
    )  # the fresh state, every step, every epoch's end, and the finishing life
    assert weights(tmp_path / "broken") == weights(tmp_path / "whole")


def test_another_making_is_fitted_anew(options: Callable[..., WsolOptions], tmp_path: Path) -> None:
    def fitted(chosen: WsolOptions, given: Backbone | None = None) -> str:
        fit_localiser(given or net(), chosen, CPU, 0, tmp_path)
        return weights(tmp_path)

    first = fitted(options(epochs=1))
    assert fitted(options(epochs=1, head_lr=0.2)) != first
    assert fitted(options(epochs=1, enlarge=False)) != first
    assert fitted(options({"adl": {"gamma": 0.5}}, epochs=1)) != first
    other = net()
    with torch.no_grad():
        other.net.conv1.weight.mul_(1.5)  # type: ignore[union-attr,operator]
    other.card = other.card.model_copy(update={"weights_sha256": "other"})
    assert fitted(options(epochs=1), other) != first
    assert fitted(options(epochs=1)) == first


def test_the_card_tells_what_was_fitted_from_what(
    options: Callable[..., WsolOptions], tmp_path: Path
) -> None:
    given = net()
    fitted = fit_localiser(given, options(epochs=1), CPU, 0, tmp_path)
    card = read_card(tmp_path)
    assert card == fitted.card
    assert (card.classes, card.num_classes) == (["blue", "green", "red"], 3)
    assert (card.source, card.feature_layer, card.crop_fraction) == (str(tmp_path), "layer3", 0.875)
    assert card.load.notes == ["fitted for localisation from net"]
    assert card.training is not None
    assert card.training["epochs"] == 1
    saved = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(value, saved[key]) for key, value in fitted.net.state_dict().items())
    assert not fitted.training
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1]


def test_what_it_learnt_from_is_known_also_of_a_finished_fit(
    options: Callable[..., WsolOptions], tmp_path: Path
) -> None:
    data = f"cub:{write_world(tmp_path / 'world')}"
    train = open_images(data, "train", purpose="train")
    assert train.paths is not None
    train.paths[1].write_bytes(b"no image")
    chosen = options(epochs=1).model_copy(update={"data": data})
    for _ in ("fitted", "read again"):
        found = learnt_from(fit_localiser(net(), chosen, CPU, 0, tmp_path / "fit").card, chosen)
        assert (found.split, found.n_available, found.n_scored) == ("train", len(train), len(train) - 1)
        assert (found.n_failed, found.failed) == (1, [train.ids[1]])
        assert found.sha256 == open_images(data, "train").sha256()


def test_the_new_layers_have_their_own_learning_rate(
    options: Callable[..., WsolOptions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[TrainInit] = []

    def look(*_arguments: Any, start: TrainInit, **_options: Any) -> None:
        starts.append(start)
        raise Killed

    monkeypatch.setattr(fitting, "train", look)
    expected = {
        "cam": {"backbone.net.fc."},
        "acol": {"backbone.net.first.", "backbone.net.second."},
        "spg": {"backbone.net.features.", "backbone.net.linear.", "early.", "late.", "shared.", "last."},
    }
    for method, names in expected.items():
        with pytest.raises(Killed):
            fit_localiser(net(), options(method), CPU, 0, tmp_path)
        start = starts.pop()
        assert start.rates == pytest.approx(dict.fromkeys(names, 10.0))
        slow, fast = start.parameter_groups()
        assert (slow["factor"], fast["factor"]) == (1.0, pytest.approx(10.0))
        named = {id(p): name for name, p in start.objective.named_parameters()}
        assert all(named[id(p)].startswith("backbone.net.") for p in slow["params"])


def test_a_backbones_own_regularizers_serve_where_none_are_named(options: Callable[..., WsolOptions]) -> None:
    own = [{"cutmix": {"alpha": 1.0, "prob": 0.5, "correct_lam": True}}]
    card = net().card.model_copy(update={"recipe": {"regularizers": own}})
    plain = net().card

    def chosen(card: Any, *, method: Any = "cam", **changes: Any) -> list[str]:
        settings = options(method, **changes)
        added = make_method(settings.method.chosen).regularizers()
        recipe = fit_recipe(card, settings, CPU, added)
        return [regularizer.name for regularizer in recipe.ordered_regularizers()]

    assert chosen(card) == ["cutmix"]
    assert chosen(plain) == []
    assert chosen(card, regularizers=[]) == []
    assert chosen(card, regularizers=["mixup"]) == ["mixup"]
    assert chosen(card, method={"has": {"sizes": [8]}}) == ["has", "cutmix"]
    with pytest.raises(InputError, match="only one regularizer may mix a batch"):
        chosen(plain, regularizers=["mixup", "cutmix"])


def test_the_papers_settings_are_appendix_b() -> None:
    cub, vgg, imagenet = (PRESETS[f"paper-{name}"] for name in ("cub", "cub-vgg", "imagenet"))
    for preset, epochs, batch, lr, head_lr in (
        (cub, 600, 32, 0.001, 0.01),
        (vgg, 600, 32, 0.0001, 0.001),
        (imagenet, 20, 256, 0.01, 0.1),
    ):
        recipe = fit_recipe(
            net().card, WsolOptions.model_validate({"data": "cub:x", "fit": _named(preset)}), CPU, []
        )
        assert (recipe.epochs, recipe.batch_size, recipe.lr, preset["head_lr"]) == (
            epochs,
            batch,
            lr,
            head_lr,
        )
        assert (recipe.momentum, recipe.weight_decay, recipe.augmentation) == (0.9, 1e-4, "resize-crop")
        every = epochs * 3 // 10 if preset is imagenet else 150
        drops = [
            epoch
            for epoch in range(1, epochs)
            if recipe.learning_rate(epoch) < recipe.learning_rate(epoch - 1)
        ]
        assert drops == list(range(every, epochs, every))


def _named(preset: dict[str, Any]) -> str:
    return next(name for name, known in PRESETS.items() if known is preset)


def test_bf16_is_honoured(options: Callable[..., WsolOptions], tmp_path: Path) -> None:
    exact = fit_localiser(net(), options(epochs=1), CPU, 0, tmp_path / "exact")
    half = fit_localiser(
        net(), options(epochs=1), CPU.model_copy(update={"precision": "bf16"}), 0, tmp_path / "half"
    )
    assert weights(tmp_path / "exact") != weights(tmp_path / "half")
    assert all(value.dtype != torch.bfloat16 for value in half.state_dict().values())
    x, wanted = images(2, 32), torch.tensor([0, 1])
    assert PlainMaps(half, "bf16")(x, wanted).maps.shape == PlainMaps(exact)(x, wanted).maps.shape


def test_data_without_a_training_split_are_refused(tmp_path: Path, demo_world: Path) -> None:
    flat = f"folder:{demo_world / 'images' / 'val'}"
    chosen = WsolOptions.model_validate({"data": flat, "fit": "custom"})
    with pytest.raises(InputError, match="expected a split 'train' to train on"):
        fit_localiser(net(), chosen, CPU, 0, tmp_path)


def test_fitting_draws_nothing_from_the_callers_generator(
    options: Callable[..., WsolOptions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "train", lambda *_a, **_k: (_ for _ in ()).throw(Killed()))
    given = net()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with pytest.raises(Killed):
        fit_localiser(given, options("spg"), CPU, 0, tmp_path)
    assert torch.equal(torch.rand(2), expected)
