"""A suite file: what it becomes, and every problem of it at once."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from eval_suite.backbones.spec import BackboneOptions
from eval_suite.core.errors import InputError
from eval_suite.core.parts import parts
from eval_suite.suite.file import bundled_suites
from eval_suite.suite.suite import Suite, load_recipe, load_suite


def content(**changes: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "name": "mine",
        "recipe": {"arch": "resnet20_cifar", "data": "cifar10:x", "epochs": 3},
        "backbones": {"plain": None, "cutmix": {"regularizers": [{"cutmix": {"prob": 0.5}}], "epochs": 5}},
        "tasks": {"classify": {"data": "cifar10:x"}},
    }
    return {**plain, **changes}


def load(tmp_path: Path, **changes: Any) -> Suite:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content(**changes), sort_keys=False))
    return load_suite(str(path))


def told(tmp_path: Path, **changes: Any) -> list[str]:
    """The problems, one a line, after the heading that counts them."""
    with pytest.raises(InputError) as caught:
        load(tmp_path, **changes)
    heading, *lines = str(caught.value).splitlines()
    counted = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
    assert heading == f"{tmp_path / 'mine.yaml'} has {counted}:"
    return [line.removeprefix("  ") for line in lines]


def test_bundled_suites_load_and_cover_known_tasks() -> None:
    assert "demo" in bundled_suites()
    for name, path in bundled_suites().items():
        suite = load_suite(name)
        for other in (str(path), f"suites/{name}.yaml"):
            assert load_suite(other) == suite._replace(given=other)
        assert suite.name == name
        assert suite.title
        assert suite.baseline in suite.backbones
        assert set(suite.tasks) <= set(parts("task"))


def test_the_demo_compares_four_ways_that_differ_in_the_regularizer_alone() -> None:
    suite = load_suite("demo")
    assert list(suite.backbones) == ["baseline", "mixup", "cutout", "cutmix"]
    recipes = {name: backbone.recipe for name, backbone in suite.backbones.items()}
    plain = [recipe.model_dump(exclude={"regularizers"}) for recipe in recipes.values() if recipe is not None]
    assert len(plain) == 4
    assert all(recipe == plain[0] for recipe in plain)
    chosen = {
        name: [r.name for r in recipe.ordered_regularizers()] for name, recipe in recipes.items() if recipe
    }
    assert chosen == {"baseline": [], "mixup": ["mixup"], "cutout": ["cutout"], "cutmix": ["cutmix"]}


def test_a_backbone_takes_the_shared_recipe_and_its_own_keys_win(tmp_path: Path) -> None:
    suite = load(tmp_path)
    plain, cutmix = suite.backbones["plain"].recipe, suite.backbones["cutmix"].recipe
    assert plain is not None
    assert cutmix is not None
    assert (plain.epochs, cutmix.epochs, cutmix.arch) == (3, 5, "resnet20_cifar")
    assert plain.regularizers == []
    assert (suite.title, suite.baseline, suite.seeds) == ("mine", "plain", [0])


def test_a_source_is_taken_as_it_is(tmp_path: Path) -> None:
    suite = load(tmp_path, backbones={"theirs": {"source": "timm:resnet18@w.pth", "mean": [0, 0, 0]}})
    theirs = suite.backbones["theirs"]
    assert theirs.recipe is None
    assert theirs.source == "timm:resnet18@w.pth"
    assert theirs.options == BackboneOptions(mean=(0, 0, 0))
    assert theirs.source_in(suite.cell("theirs", 0)) == "timm:resnet18@w.pth"


def test_cells_are_backbones_times_seeds(tmp_path: Path) -> None:
    suite = load(tmp_path, seeds=[1, 0, 1])
    assert suite.seeds == [1, 0]
    assert [cell.name for cell in suite.cells()] == ["plain-s1", "plain-s0", "cutmix-s1", "cutmix-s0"]
    cell = suite.cell("cutmix", 1)
    assert suite.backbones["cutmix"].source_in(cell) == str(Path("checkpoints/mine/cutmix-s1"))
    with pytest.raises(InputError, match=r"unknown backbone of suite 'mine' 'cutmx'. Did you mean 'cutmix'"):
        suite.cell("cutmx", 0)
    with pytest.raises(InputError, match=r"has the seeds \[1, 0\], not 5"):
        suite.cell("cutmix", 5)


def test_options_of_a_task_it_does_not_run_are_wrong_input(tmp_path: Path) -> None:
    suite = load(tmp_path)
    assert suite.task_options("classify", "plain").data == "cifar10:x"
    with pytest.raises(InputError, match=r"unknown task of suite 'mine' 'clasify'. Did you mean 'classify'"):
        suite.task_options("clasify", "plain")


def test_the_summary_is_what_the_report_reads(tmp_path: Path) -> None:
    summary = load(tmp_path, title="T", baseline="cutmix").summary()
    assert summary["backbones"] == ["plain", "cutmix"]
    assert (summary["title"], summary["baseline"], summary["tasks"]) == ("T", "cutmix", ["classify"])


def test_many_problems_are_told_at_once_with_their_paths(tmp_path: Path) -> None:
    lines = told(
        tmp_path,
        titel="x",
        baseline="plian",
        seeds=[-1],
        runtime={"devise": "cpu", "batch_size": -1},
        recipe={"arch": "resnet20_cifar", "data": "cifar10:x", "lr": -1},
        backbones={
            "plain": None,
            "mixup": {"regularizers": ["mixpu"]},
            "cutmix": {"regularizers": [{"cutmix": {"prob": 2}}], "epocs": 3},
            "own": {"lr": 0},
            "theirs": {"source": "no/where"},
            "other": {"source": "timm:resnet18", "meen": [0, 0, 0]},
        },
        tasks={"clasify": None, "classify": {"dat": "x"}},
    )
    expected = [
        "titel: unknown key; did you mean 'title'?",
        "seeds.0: expected a number greater than or equal to 0, found -1",
        "runtime.devise: unknown key; did you mean 'device'?",
        "runtime.batch_size: expected a number greater than or equal to 0, found -1",
        "recipe.lr: expected a number greater than 0, found -1",
        "backbones.mixup.regularizers.0.mixpu: unknown key; did you mean 'mixup'?",
        "backbones.cutmix.regularizers.0.cutmix.prob: expected a number less than or equal to 1, found 2",
        "backbones.cutmix.epocs: unknown key; did you mean 'epochs'?",
        "backbones.own.lr: expected a number greater than 0, found 0",
        "backbones.other.meen: unknown key; did you mean 'mean'?",
        "tasks.clasify: unknown task 'clasify'. Did you mean 'classify'? Known: "
        "classify, caption, detect, ood, probe, robustness, segment, wsol",
        "tasks.classify.data: Field required",
        "tasks.classify.dat: unknown key; did you mean 'data'?",
        "baseline: expected one of the backbones (plain, mixup, cutmix, own, theirs, other), found 'plian'",
    ]
    source = [line for line in lines if line.startswith("backbones.theirs.source: no backbone at 'no/where'")]
    assert len(source) == 1
    assert sorted(lines) == sorted([*expected, *source])


def test_a_problem_of_the_shared_recipe_is_told_once(tmp_path: Path) -> None:
    backbones = dict.fromkeys("abcd")
    shared = {"arch": "resnet20_cifar", "data": "cifar10:x"}
    assert told(tmp_path, recipe={**shared, "lr": -1}, backbones=backbones) == [
        "recipe.lr: expected a number greater than 0, found -1"
    ]
    assert told(tmp_path, recipe={**shared, "epocs": 1}, backbones=backbones) == [
        "recipe.epocs: unknown key; did you mean 'epochs'?"
    ]
    own = {**backbones, "b": {"lr": 0.1}, "c": {"lr": 0}}
    assert told(tmp_path, recipe={**shared, "lr": -1}, backbones=own) == [
        "recipe.lr: expected a number greater than 0, found -1",
        "backbones.c.lr: expected a number greater than 0, found 0",
    ]


def test_a_problem_between_keys_names_the_backbone(tmp_path: Path) -> None:
    lines = told(tmp_path, backbones={"ok": None, "a": {"milestones": [0.7, 0.5]}, "b": {"mean": [0, 0, 0]}})
    assert lines[0] == "backbones.a: milestones must rise, found [0.7, 0.5]"
    assert lines[1].startswith("backbones.b: give both mean and std, or neither")


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "-x", "a b", "..", "x\x00"])
def test_names_stay_inside_their_folder(name: str, tmp_path: Path) -> None:
    for line in told(tmp_path, name=name) + told(tmp_path, backbones={name: None}):
        assert "expected letters, digits and . _ + - only (it names a folder)" in line
    assert told(tmp_path, backbones={"ok": None, name: None})[0].startswith(f"backbones.{name}: expected")
    assert told(tmp_path, name=name)[0].startswith("name: expected")
    with pytest.raises(InputError, match=r"name: expected letters"):
        load(tmp_path, name="a\nb")


def test_good_names_are_kept(tmp_path: Path) -> None:
    suite = load(tmp_path, name="table-4.v2", backbones={"a+b_c.d-1": None, "0": None})
    assert list(suite.backbones) == ["a+b_c.d-1", "0"]


@pytest.mark.parametrize("key", ["backbones", "tasks", "seeds"])
def test_nothing_to_do_is_a_problem(key: str, tmp_path: Path) -> None:
    (line,) = told(tmp_path, **{key: [] if key == "seeds" else {}}, baseline="plain")
    assert line.startswith(f"{key}: ")
    assert "at least 1 item" in line


def test_wrong_shapes_are_told(tmp_path: Path) -> None:
    assert told(tmp_path, backbones={"a": 5}) == ["backbones.a: expected keys with values, found 5"]
    assert told(tmp_path, tasks=["classify"])[0].startswith("tasks: expected keys with values")
    assert told(tmp_path, demo={"siz": "small"}) == [
        "demo.out: Field required",
        "demo.siz: unknown key; did you mean 'size'?",
    ]


def test_a_missing_name_is_told(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in content().items() if key != "name"}))
    with pytest.raises(InputError, match=r"has 1 problem:\n  name: Field required$"):
        load_suite(str(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dmo", r"unknown suite 'dmo'. Did you mean 'demo'\?"),
        ("none.yaml", "expected a suite file at none.yaml, found none; bundled suites: .*demo"),
        ("elsewhere/demo.yaml", "expected a suite file at elsewhere/demo.yaml, found none"),
    ],
)
def test_a_suite_that_is_not_there(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        load_suite(text)


def test_a_file_of_ones_own_wins_over_a_bundled_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "demo.yaml").write_text(yaml.safe_dump(content()))
    assert load_suite("suites/demo.yaml").name == "mine"
    assert load_suite("demo").name == "demo"


def test_a_recipe_file(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "preset: cifar\narch: resnet20_cifar\ndata: cifar10:x\nregularizers: [cutmix]\nlr: 1e-1\n"
    )
    recipe = load_recipe(path)
    assert (recipe.epochs, recipe.lr, recipe.ordered_regularizers()[0].name) == (300, 0.1, "cutmix")
    path.write_text("arch: resnet20_cifar\nlr: 0\nepocs: 3\n")
    with pytest.raises(InputError) as caught:
        load_recipe(path)
    assert str(caught.value).splitlines() == [
        f"{path} has 3 problems:",
        "  data: Field required",
        "  lr: expected a number greater than 0, found 0",
        "  epocs: unknown key; did you mean 'epochs'?",
    ]
