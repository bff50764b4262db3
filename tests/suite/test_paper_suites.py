"""The suites of the paper's tables and figures on training: the authors' settings, and every row trains."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from torch import nn

from eval_suite.backbones.building import build_net
from eval_suite.core.errors import InputError
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.report.printed import published_numbers
from eval_suite.suite.file import bundled_suites
from eval_suite.suite.plan import make_plan
from eval_suite.suite.preflight import require_inputs
from eval_suite.suite.suite import load_suite, shorten
from eval_suite.training.loop import train
from eval_suite.training.preparation import initial_state
from eval_suite.training.recipe import Recipe
from tests.suite.test_evaluation_suites import EVALUATIONS

Cli = Callable[..., Any]
PAPER = ["figure2", "figure3", *(f"table{number}" for number in range(3, 9))]
CPU = RuntimeOptions(device="cpu", workers=0, threads=1)
# The same architectures with few blocks and, but for Gather-Excite, which knows its maps by them, few channels.
FEW: dict[str, Any] = {"layers": [1, 1, 1, 1], "channels": [16, 16, 32, 32]}
SMALL: dict[str, dict[str, Any]] = {
    "pyramidnet200_a240": {"depth": 20, "alpha": 6},
    "pyramidnet110_a64": {"depth": 20, "alpha": 6},
    "resnet110_bottleneck_cifar": {"blocks": 1},
    **dict.fromkeys(
        ("resnet50", "resnet101", "resnet152", "seresnet50", "seresnet101", "resnext101_32x4d"), FEW
    ),
    **{arch: {"layers": [1, 1, 1, 1], "img_size": 64} for arch in ("geresnet50", "geresnet101")},
}


def rows() -> Iterator[tuple[str, Recipe]]:
    """Each different training once: many rows of the tables are the same."""
    seen: dict[str, None] = {}
    for suite in PAPER:
        for name, row in load_suite(suite).backbones.items():
            assert row.recipe is not None
            if row.recipe.digest() not in seen:
                seen[row.recipe.digest()] = None
                yield f"{suite}:{name}", row.recipe


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of eight images, to train and to judge on, at 32 and at 64 pixels."""
    root = tmp_path_factory.mktemp("images")
    for side in (32, 64):
        for split in ("train", "val"):
            for label in range(2):
                folder = root / str(side) / split / f"class{label}"
                folder.mkdir(parents=True)
                for number in range(8):
                    colour = (120 * label + 10 * number, 30 * number, 200 - 90 * label)
                    Image.new("RGB", (side, side), colour).save(folder / f"{number}.png")
    return root


def test_there_is_a_suite_for_every_table_and_figure() -> None:
    named = {name for name in bundled_suites() if name.startswith(("table", "figure"))}
    assert named == {*PAPER, *EVALUATIONS}


@pytest.mark.parametrize("name", PAPER)
def test_the_schedules_are_the_papers(name: str) -> None:
    suite = load_suite(name)
    cifar = name not in ("table3", "table4")
    assert suite.seeds == ([0, 1, 2] if cifar else [0])
    assert list(suite.tasks) == ["classify"]
    for backbone, row in suite.backbones.items():
        recipe = row.recipe
        assert recipe is not None
        assert (recipe.epochs, recipe.batch_size) == (300, 64 if cifar else 256)
        assert recipe.lr == (0.25 if cifar and "resnet110" not in backbone else 0.1)
        assert recipe.milestones == ([0.5, 0.75] if cifar else [0.25, 0.5, 0.75])
        # DataParallel over the authors' GPUs, two for CIFAR and four for ImageNet.
        assert recipe.batch_norm_groups == (2 if cifar else 4)
        for regularizer in recipe.ordered_regularizers():
            # Half of the batches for CutMix on CIFAR, on images or maps; Scheduled CutMix ends with all.
            half = regularizer.name in ("cutmix", "feature-cutmix") and cifar and "resnet110" not in backbone
            half = half and backbone != "scheduled"
            assert getattr(regularizer, "prob", 1.0) == (0.5 if half else 1.0), (backbone, regularizer.name)


@pytest.mark.parametrize("name", ["table3", "table4"])
def test_rows_on_imagenet_are_judged_on_the_same_crops(name: str, tmp_path: Path) -> None:
    # Rows that differ in regularizers alone are one network to judge.
    nets: dict[str, Recipe] = {}
    for row in load_suite(name).backbones.values():
        assert row.recipe is not None
        few = {key: value for key, value in SMALL[row.recipe.arch].items() if key != "img_size"}
        small = row.recipe.model_copy(update={"arch_options": few, "regularizers": []})
        nets[small.digest()] = small
    assert {small.arch for small in nets.values()} == {
        row.recipe.arch for row in load_suite(name).backbones.values() if row.recipe
    }
    states = [
        initial_state(small, name="net", seed=0, folder=tmp_path, classes=["a", "b"])
        for small in nets.values()
    ]
    cards = [start.objective.backbone.card for start in states]
    # Resize(256), CenterCrop(224) of the authors' code, whatever crop timm tests an architecture's own weights with.
    judged = {(card.input_size, card.crop_fraction, card.interpolation) for card in cards}
    assert judged == {((224, 224), 0.875, "bilinear")}


@pytest.mark.parametrize("name", PAPER)
def test_every_batch_norm_starts_with_weight_one(name: str) -> None:
    nets = {
        (row.recipe.arch, json.dumps(row.recipe.arch_options)): row.recipe
        for row in load_suite(name).backbones.values()
        if row.recipe is not None
    }
    for recipe in nets.values():
        net = build_net(recipe.arch, 2, {**recipe.arch_options, **SMALL[recipe.arch]})
        norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
        # The authors' resnet.py and pyramidnet.py: weight 1, bias 0; timm has 0 behind the last convolution of a branch.
        assert norms
        assert all((norm.weight == 1).all() and not norm.bias.any() for norm in norms), recipe.arch


def test_published_numbers_belong_to_rows_and_tasks() -> None:
    suites = {name: load_suite(name) for name in {printed.suite for printed in published_numbers()}}
    for printed in published_numbers():
        suite = suites[printed.suite]
        assert printed.backbone in suite.backbones, printed
        assert printed.task in suite.tasks, printed


def test_rows_without_a_published_error_are_known() -> None:
    printed = {(one.suite, one.backbone) for one in published_numbers() if one.key == "top1_error"}
    missing = {(suite, row) for suite in PAPER for row in load_suite(suite).backbones} - printed
    # Figure 3 is drawn without numbers.
    drawn = [f"alpha-{alpha}" for alpha in (0.1, 0.25, 0.5, 2.0, 4.0)] + [f"layer-{n}" for n in range(1, 5)]
    assert missing == {("figure3", row) for row in drawn}


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "recipe"), list(rows()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_row_trains(name: str, recipe: Recipe, images: Path, tmp_path: Path) -> None:
    side = 32 if recipe.input_size == (32, 32) else 64
    content = recipe.model_dump(mode="json")
    regularizers = []
    for entry in content["regularizers"]:
        ((regularizer, options),) = entry.items()
        # What is measured in pixels and cells, at the size of the test's images.
        if side == 64 and regularizer == "cutout":
            options = {"size": 32}
        if side == 64 and regularizer == "dropblock":
            options = {**options, "block_size": 2}
        regularizers.append({regularizer: options})
    small = Recipe.model_validate(
        {
            **content,
            "preset": None,
            "arch_options": {**recipe.arch_options, **SMALL[recipe.arch]},
            "data": f"folder:{images / str(side)}",
            "input_size": [side, side],
            "epochs": 1,
            "batch_size": 8,
            "lr": 0.01,
            "regularizers": regularizers,
        }
    )
    card = train(small, name="net", seed=0, folder=tmp_path, runtime=CPU).card
    assert card.training is not None
    assert 0 < card.training["last"]["train_loss"] < 20
    assert card.classes == ["class0", "class1"]


@pytest.fixture
def cifar100(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the layout of CIFAR-100, and one image of each class and split."""
    monkeypatch.chdir(tmp_path)
    for split in ("train", "test"):
        for label in range(100):
            folder = Path("data/cifar100") / split / f"class{label:02d}"
            folder.mkdir(parents=True)
            Image.new("RGB", (32, 32), (2 * label, 255 - 2 * label, 80)).save(folder / "0.png")


def test_a_short_form_is_a_suite_of_its_own(cifar100: None) -> None:
    suite = load_suite("table6")
    made = shorten(suite, epochs=2, limit=12)
    path = made.path
    assert not path.exists()
    made.write()
    assert path == Path("reports/table6-short/suite.yaml")
    short = load_suite(str(path))
    assert short == made.suite
    assert (short.name, short.baseline, short.seeds) == ("table6-short", "pyramidnet110", [0, 1, 2])
    assert list(short.backbones) == list(suite.backbones)
    for name, row in short.backbones.items():
        whole = suite.backbones[name].recipe
        assert row.recipe is not None
        assert whole is not None
        assert row.recipe == whole.model_copy(update={"epochs": 2, "limit": 12})
    assert short.tasks["classify"].limit == 12
    assert short.description.startswith("Cut to 2 epochs and 12 images: ")
    only_epochs = shorten(suite, epochs=3, limit=None).suite
    assert only_epochs.tasks["classify"].limit is None
    assert only_epochs.description.startswith("Cut to 3 epochs: ")


@pytest.mark.long
def test_the_dry_run_of_a_short_form_names_its_jobs(cifar100: None, cli: Cli) -> None:
    said = cli("run", "table6", "--epochs", 1, "--limit", 12, "--dry-run")
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert lines[-1] == "0 done, 24 to run"
    assert "to run  train resnet110-cutmix-s2" in lines
    assert not Path("reports").exists()
    plan = make_plan(shorten(load_suite("table6"), epochs=1, limit=12).suite, threads=1)
    assert "--suite reports/table6-short/suite.yaml" in plan.jobs[0].command


def test_a_short_form_without_data_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    monkeypatch.chdir(tmp_path)
    said = cli("run", "table6", "--epochs", 1, "--limit", 12)
    assert said.code == 2
    assert "expected a folder with images at data/cifar100" in said.err
    assert list(tmp_path.iterdir()) == []
    assert cli("run", "table6", "--limit", 0).code == 2


@pytest.mark.long
@pytest.mark.parametrize("name", PAPER)
def test_every_rows_regularizers_fit_its_architecture(name: str, tmp_path: Path) -> None:
    content = yaml.safe_load(bundled_suites()[name].read_text())
    content["demo"] = {"out": "data"}  # then the data are not looked for
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(content))
    require_inputs(load_suite(str(tmp_path / "suite.yaml")))
    content["recipe"]["input_size"] = [8, 8]
    if name == "table5":
        (tmp_path / "suite.yaml").write_text(yaml.safe_dump(content))
        with pytest.raises(InputError, match=r"blocks of 4x4 do not fit into the 2x2 map"):
            require_inputs(load_suite(str(tmp_path / "suite.yaml")))
