"""The suites of the paper's tables and figures on evaluation: their rows, and one of them in small from end to end."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from timm.models import vgg

from eval_suite.backbones.backbone import Backbone
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.core.store import read_record
from eval_suite.suite.suite import load_suite, shorten
from eval_suite.tasks.robustness.options import RobustnessOptions
from eval_suite.tasks.wsol.fit import fit_localiser
from eval_suite.tasks.wsol.options import WsolOptions
from tests.tasks.wsol.nets import backbone
from tests.tasks.wsol.world import write_world

Cli = Callable[..., Any]
CPU = RuntimeOptions(device="cpu", workers=0, threads=1)
LOCALISATION = ["table9-cub", "table9-cub-vgg", "table9-imagenet", "table9-imagenet-vgg"]
# Which suite trains the rows of the others.
TRANSFER = {"table10": "table3", "table11": "table3", "figure5": "table3", "table12": "table5"}
EVALUATIONS = [*LOCALISATION, *TRANSFER]
NETS: dict[str, Callable[[], Backbone]] = {
    "table9-cub": lambda: backbone("resnet50", 64, layers=[1, 1, 1, 1], channels=[16, 16, 32, 32]),
    "table9-cub-vgg": lambda: backbone("vgg16", 64, mlp_ratio=0.01),
}
NARROW_VGG = [channels if channels == "M" else channels // 8 for channels in vgg.cfgs["vgg16"]]


@cache
def wsol(suite: str, row: str) -> WsolOptions:
    options = load_suite(suite).task_options("wsol", row)
    assert isinstance(options, WsolOptions)
    return options


@pytest.mark.parametrize("name", LOCALISATION)
def test_rows_of_table_9_differ_in_method_or_regularizer_alone(name: str) -> None:
    suite = load_suite(name)
    rows = {row: wsol(name, row) for row in suite.backbones}
    assert list(rows) == ["cam", "has", "acol", "adl", "spg", "mixup", "cutout", "cutmix"]
    assert suite.baseline == "cam"
    assert len({row.source for row in suite.backbones.values()}) == 1
    for row, options in rows.items():
        regularizers = [entry.chosen.name for entry in options.fit.regularizers or []]
        method = options.method.chosen.name
        assert (method, regularizers) == ((row, []) if row in rows and not regularizers else ("cam", [row]))
        same = options.model_copy(
            update={
                "method": rows["cam"].method,
                "fit": options.fit.model_copy(update={"regularizers": None}),
            }
        )
        assert same == rows["cam"]


def test_the_four_parts_of_table_9_differ_in_data_network_and_schedule_alone() -> None:
    for row in load_suite("table9-cub").backbones:
        options = [wsol(name, row) for name in LOCALISATION]
        assert len({json.dumps([o.method.model_dump(), o.sigma, o.transform]) for o in options}) == 1
        assert len({str(o.fit.regularizers) for o in options}) == 1
    fits = [wsol(name, "cam").fit for name in LOCALISATION]
    assert [fit.epochs for fit in fits] == [600, 600, 20, 20]
    assert [fit.lr for fit in fits] == [0.001, 0.0001, 0.01, 0.01]
    assert [fit.head_lr for fit in fits] == [0.01, 0.001, 0.1, 0.1]
    assert [fit.batch_size for fit in fits] == [32, 32, 256, 256]


@pytest.mark.long
@pytest.mark.parametrize("row", ["cam", "has", "acol", "adl", "spg", "mixup", "cutout", "cutmix"])
@pytest.mark.parametrize("name", list(NETS))
def test_every_row_of_table_9_fits(
    name: str, row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(vgg.cfgs, "vgg16", NARROW_VGG)
    data = f"cub:{write_world(tmp_path / 'world')}"
    given = wsol(name, row).model_dump(mode="json")
    given["fit"] |= {"epochs": 1, "batch_size": 4, "lr": 0.001, "head_lr": 0.001}
    options = WsolOptions.model_validate({**given, "data": data})
    fitted = fit_localiser(NETS[name](), options, CPU, 0, tmp_path / "wsol")
    assert fitted.card.training is not None
    assert 0 < fitted.card.training["last"]["train_loss"] < 20
    assert fitted.card.classes == ["blue", "green", "red"]


@pytest.mark.parametrize("name", list(TRANSFER))
def test_rows_are_the_checkpoints_that_a_table_of_training_leaves(name: str) -> None:
    suite, other = load_suite(name), load_suite(TRANSFER[name])
    assert list(suite.backbones) == ["baseline", "mixup", "cutout", "cutmix"]
    assert suite.seeds == other.seeds
    for row, found in suite.backbones.items():
        there = "mixup-1.0" if (name, row) == ("table12", "mixup") else row
        assert found.recipe == other.backbones[there].recipe
        assert found.trained_at(suite.cell(row, 0)) == other.cell(there, 0)


def test_table_11_attacks_and_figure_5_covers_and_mixes() -> None:
    attack, figure = (load_suite(name).tasks["robustness"] for name in ("table11", "figure5"))
    assert isinstance(attack, RobustnessOptions)
    assert isinstance(figure, RobustnessOptions)
    assert (attack.fgsm_epsilons, attack.pgd_epsilons, attack.occlusion_sizes, attack.pairs()) == (
        ["8/255"],
        [],
        0,
        0,
    )
    assert (figure.fgsm_epsilons, figure.pgd_epsilons, figure.corruptions) == ([], [], [])
    assert (figure.occlusion_sizes, figure.cutmix_sizes, figure.pairs()) == (15, 15, 1)


def test_short_forms_cut_the_fits_of_tasks_and_train_for_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    short = shorten(load_suite("table9-cub"), epochs=2, limit=12).suite
    for row in short.backbones:
        options, whole = short.task_options("wsol", row), wsol("table9-cub", row)
        cut = whole.model_copy(update={"limit": 12, "fit": whole.fit.model_copy(update={"epochs": 2})})
        assert options == cut
        assert short.backbones[row].source == "torchvision:resnet50/IMAGENET1K_V1"
    short = shorten(load_suite("table10"), epochs=2, limit=12).suite
    detect, caption = short.tasks["detect"].model_dump(), short.tasks["caption"].model_dump()
    assert (detect["ssd"]["iterations"], detect["faster_rcnn"]["iterations"], detect["limit"]) == (1, 3, 12)
    assert detect["ssd"]["lr"] == 0.001
    assert (caption["epochs"], caption["limit"]) == (2, 12)
    for row, found in short.backbones.items():
        whole_recipe = load_suite("table3").backbones[row].recipe
        assert whole_recipe is not None
        assert found.recipe == whole_recipe.model_copy(update={"epochs": 2, "limit": 12})
        assert found.home is None


@pytest.fixture
def data(demo_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every set where the suites look for it, the demo world's in the place of the real ones."""
    monkeypatch.chdir(tmp_path)
    Path("data/odin").mkdir(parents=True)
    for name in ("cub", "imagenet"):
        Path("data", name).symlink_to(demo_world / "images")
    for name in ("VOCdevkit", "coco"):
        Path("data", name).symlink_to(demo_world / name)
    for name in ("Imagenet", "Imagenet_resize", "LSUN", "LSUN_resize", "iSUN"):
        Path("data/odin", name).symlink_to(demo_world / "ood/textures")
    picture = next((demo_world / "images/val").glob("*/*"))
    for split in ("train", "test"):
        for label in range(100):
            folder = Path("data/cifar100", split, f"class{label:02d}")
            folder.mkdir(parents=True)
            (folder / picture.name).symlink_to(picture)


@pytest.mark.long
@pytest.mark.parametrize("name", EVALUATIONS)
def test_the_dry_run_names_every_job(data: None, cli: Cli, name: str) -> None:
    said = cli("run", f"suites/{name}.yaml", "--dry-run")
    assert said.code == 0, said.err
    rows, tasks, seeds = (8, 1, 1) if name in LOCALISATION else (4, 1 + (name == "table10"), 1)
    if name == "table12":
        seeds = 3
    trainings = 0 if name in LOCALISATION else rows * seeds
    lines = said.out.splitlines()
    assert lines[-1] == f"0 done, {rows * seeds * tasks + trainings} to run"
    assert sum(line.startswith("to run  train ") for line in lines) == trainings


@pytest.mark.parametrize("name", EVALUATIONS)
def test_missing_data_are_one_line_each(
    name: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = cli("run", name, "--dry-run")
    sets = {"table10": 3, "table12": 6}.get(name, 1)
    heading, *lines = said.err.splitlines()
    assert said.code == 2
    assert f"{name} has {sets} problem" in heading
    assert len(lines) == sets
    assert all("data/" in line and ": expected " in line for line in lines)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_two_methods_from_one_start_stand_side_by_side_with_the_papers_numbers(
    demo_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    monkeypatch.chdir(tmp_path)
    images = demo_world / "images"
    start = {
        "name": "start",
        "recipe": {
            "arch": "resnet14_demo",
            "arch_options": {"blocks": 1, "channels": [4, 8, 16]},
            "data": f"folder:{images}",
            "input_size": [64, 64],
            "epochs": 1,
            "batch_size": 20,
        },
        "backbones": {"net": {}},
        "tasks": {"classify": {"data": f"folder:{images}"}},
    }
    from_net = {"trained_in": "start.yaml", "row": "net"}
    small = {
        "name": "table9-cub",
        "backbones": {
            "cam": from_net,
            "adl": {**from_net, "tasks": {"wsol": {"method": "adl"}}},
            "cutmix": {**from_net, "tasks": {"wsol": {"fit": {"regularizers": ["cutmix"]}}}},
        },
        "tasks": {
            "wsol": {
                "data": f"cub:{images}",
                "transform": "evaluation-paper",
                "fit": {"epochs": 1, "batch_size": 20, "augmentation": "cifar"},
            }
        },
        "runtime": {"device": "cpu", "workers": 0},
    }
    for suite in (start, small):
        Path(f"{suite['name']}.yaml").write_text(yaml.safe_dump(suite, sort_keys=False))
    said = cli("run", "table9-cub.yaml", "--jobs", 2)
    assert said.code == 0, said.out + said.err
    assert "4 done" in said.out
    assert Path("checkpoints/start/net-s0/model.safetensors").is_file()

    results = Path("reports/table9-cub/results")
    records = {row: read_record(results / f"{row}-s0/wsol.json") for row in ("cam", "adl", "cutmix")}
    assert {row: list(r.task.options["method"]) for row, r in records.items()} == {
        "cam": ["cam"],
        "adl": ["adl"],
        "cutmix": ["cam"],
    }
    assert {r.backbone.weights_sha256 for r in records.values()} == {records["cam"].backbone.weights_sha256}
    maps = [(results / f"{row}-s0/wsol/predictions.npz").read_bytes() for row in records]
    assert len(set(maps)) == 3

    page = Path("reports/table9-cub/index.html").read_text()
    for number in ("49.41", "54.81"):
        assert f"paper {number}" in page
    assert "options differ between records" not in page
    assert "not comparable" not in page
    assert "cutmix (alpha" in page

    # A single call has the row's options, and flags win over them.
    said = cli("wsol", "--suite", "table9-cub.yaml", "--backbone", "adl", "--sigma", 0.3, "--threads", 1)
    assert said.code == 0, said.err
    again = read_record(results / "adl-s0/wsol.json").task.options
    assert (list(again["method"]), again["sigma"]) == (["adl"], 0.3)
    # Trained there, it is not trained again here or there.
    said = cli("run", "start.yaml", "--dry-run")
    assert said.out.splitlines() == ["  done  train net-s0", "to run  classify net-s0", "1 done, 1 to run"]
    said = cli("report", "reports/table9-cub")
    assert "options differ between records: sigma" in Path("reports/table9-cub/index.html").read_text()


def test_a_training_that_fails_is_told_in_every_row_that_hangs_on_it(
    demo_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    monkeypatch.chdir(tmp_path)
    data = f"folder:{demo_world / 'images'}"
    recipe = {"arch": "resnet14_demo", "data": data, "input_size": [64, 64], "epochs": 3, "lr": 1e30}
    tasks = {"classify": {"data": data}}
    rows = {"wild": {}, "other": {"epochs": 4}}
    Path("start.yaml").write_text(
        yaml.safe_dump({"name": "start", "recipe": recipe, "backbones": rows, "tasks": tasks})
    )
    rows = {
        "one": {"trained_in": "start.yaml", "row": "wild"},
        "two": {"trained_in": "start.yaml", "row": "wild"},
        "three": {"trained_in": "start.yaml", "row": "other"},
    }
    Path("mine.yaml").write_text(yaml.safe_dump({"name": "mine", "backbones": rows, "tasks": tasks}))
    said = cli("train", "--suite", "mine.yaml", "--backbone", "one", "--device", "cpu", "--workers", 0)
    assert said.code == 1
    found = sorted(Path("reports").rglob("*.json"))
    assert found == [Path(f"reports/mine/results/{row}-s0/classify.json") for row in ("one", "two")]
    for path in found:
        error = read_record(path).error
        assert error is not None
        assert "training failed: the loss stopped being finite" in error.message


PUBLISHED = ["natural-shifts", "imagenet-c", "imagenet-c-bar", "imagenet-3dcc"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_suites_of_published_shifts_ask_for_nothing_else_and_name_how_to_get_it(name: str) -> None:
    from eval_suite.data.prepare import download_list

    suite = load_suite(name)
    options = suite.tasks["robustness"]
    assert isinstance(options, RobustnessOptions)
    assert (options.fgsm_epsilons, options.pgd_epsilons, options.attacks, options.pairs()) == ([], [], [], 0)
    assert (options.occlusion_sizes, options.patch_drop_shares, options.limit) == (0, [], None)
    places = {f"data/{chosen.folder}" for chosen in download_list().values()}
    assert {spec.partition(":")[2] for spec in options.sources().values()} <= places
    assert all(row.source.startswith("torchvision:") for row in suite.backbones.values())


@pytest.mark.parametrize("name", PUBLISHED)
def test_missing_published_shifts_are_one_line_each(
    name: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = cli("run", name, "--dry-run")
    lines = said.err.splitlines()[1:]
    assert said.code == 2
    assert len(lines) == (5 if name == "natural-shifts" else 2)
    assert all("data/imagenet" in line for line in lines)


@pytest.mark.long
def test_natural_shifts_in_small_from_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    """Five networks that see less and less: effective robustness of each, next to the others."""
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    colours = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}
    for folder, noise in (("clean/val", 60), ("shift", 90)):
        for number, (name, colour) in enumerate(colours.items()):
            Path(folder, name).mkdir(parents=True)
            rng = np.random.default_rng(number)
            for i in range(20):
                pixels = np.clip(rng.normal(np.array(colour) * 0.3 + 80, noise, (1, 1, 3)), 0, 255)
                Image.fromarray(np.broadcast_to(pixels.astype(np.uint8), (8, 8, 3))).save(
                    Path(folder, name, f"{i}.png")
                )
    Path("net.py").write_text(
        "import torch\nfrom torch import nn\n\n\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, bias):\n        super().__init__()\n"
        "        self.conv = nn.Conv2d(3, 3, 1)\n"
        "        self.conv.weight.data = torch.eye(3)[[2, 1, 0]].view(3, 3, 1, 1)\n"
        "        self.conv.bias.data = torch.tensor([bias, 0.0, 0.0])\n\n"
        "    def forward(self, x):\n        return self.conv(x).mean((2, 3))\n\n\n"
        + "".join(f"def net{i}():\n    return Net({0.15 * i})\n\n\n" for i in range(5))
    )
    plain = {"mean": [0, 0, 0], "std": [1, 1, 1], "input_size": [8, 8]}
    suite = load_suite("natural-shifts")
    task = suite.tasks["robustness"].model_dump(mode="json")
    task |= {"data": f"folder:{tmp_path}/clean", "shifted": [f"other=folder:{tmp_path}/shift"]}
    small = {
        "name": "shifts",
        "seeds": [0],
        "baseline": "net0",
        "backbones": {f"net{i}": {"source": f"{tmp_path}/net.py:net{i}", **plain} for i in range(5)},
        "tasks": {"robustness": task},
        "runtime": {"device": "cpu", "workers": 0},
    }
    Path("shifts.yaml").write_text(yaml.safe_dump(small, sort_keys=False))
    said = cli("run", "shifts.yaml", "--jobs", 2)
    assert said.code == 0, said.out + said.err
    page = Path("reports/shifts/index.html").read_text("utf-8")
    assert "Effective robustness on other" in page
    assert "logit fit over the other backbones" in page
    table = Path("reports/shifts/tables/task-robustness.csv").read_text("utf-8")
    assert "logit fit over 4 other backbones" in table
