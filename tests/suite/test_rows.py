"""A suite's rows: their own options of tasks over the shared ones, and backbones that another suite trains."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from eval_suite.core.errors import InputError
from eval_suite.core.store import Cell
from eval_suite.suite.rows import Home, merged_options
from eval_suite.suite.suite import Suite, load_suite
from eval_suite.tasks.wsol.options import WsolOptions

SHARED = {"data": "cub:x", "fit": {"preset": "paper-cub", "epochs": 7}}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(name: str, **changes: Any) -> str:
    content: dict[str, Any] = {
        "name": name,
        "recipe": {"arch": "resnet20_cifar", "data": "cifar10:x", "epochs": 3},
        "backbones": {"plain": None, "cutmix": {"regularizers": ["cutmix"], "epochs": 5}},
        "tasks": {"wsol": SHARED},
        **changes,
    }
    Path(f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return f"{name}.yaml"


def load(**changes: Any) -> Suite:
    return load_suite(write("mine", **changes))


def told(**changes: Any) -> list[str]:
    with pytest.raises(InputError) as caught:
        load(**changes)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def options(suite: Suite, row: str) -> WsolOptions:
    found = suite.task_options("wsol", row)
    assert isinstance(found, WsolOptions)
    return found


def test_a_rows_options_are_laid_over_the_suites() -> None:
    suite = load(
        backbones={
            "plain": {},
            "adl": {"tasks": {"wsol": {"method": "adl", "fit": {"lr": 0.5}}}},
            "theirs": {"source": "timm:resnet18", "tasks": {"wsol": {"fit": {"regularizers": ["cutmix"]}}}},
            "idle": {"tasks": {"wsol": None}},
        }
    )
    plain, adl, theirs = (options(suite, name) for name in ("plain", "adl", "theirs"))
    assert plain == suite.tasks["wsol"] == options(suite, "idle")
    assert (adl.method.chosen.name, adl.fit.lr, adl.fit.epochs, adl.fit.batch_size) == ("adl", 0.5, 7, 32)
    assert (plain.method.chosen.name, plain.fit.lr) == ("cam", 0.001)
    assert theirs.fit.regularizers is not None
    assert [entry.chosen.name for entry in theirs.fit.regularizers] == ["cutmix"]
    assert theirs.fit.model_copy(update={"regularizers": None}) == plain.fit
    assert suite.backbones["theirs"].source == "timm:resnet18"
    assert suite.backbones["adl"].recipe == suite.backbones["plain"].recipe


def test_sections_are_merged_and_all_else_is_replaced() -> None:
    shared = {"method": {"acol": {"delta": 0.6}}, "fit": {"preset": "paper-cub", "milestones": [0.1, 0.2]}}
    own = {"method": {"adl": {}}, "fit": {"milestones": [0.5]}}
    assert merged_options(WsolOptions, shared, own) == {
        "method": {"adl": {}},
        "fit": {"preset": "paper-cub", "milestones": [0.5]},
    }
    assert merged_options(WsolOptions, shared, {"fit": "none"})["fit"] == "none"
    assert merged_options(WsolOptions, {}, own) == own


def test_a_section_that_is_named_only_stands_for_its_preset() -> None:
    suite = load(
        tasks={"wsol": {"data": "cub:x", "fit": "paper-cub"}},
        backbones={"plain": None, "mixup": {"tasks": {"wsol": {"fit": {"regularizers": ["mixup"]}}}}},
    )
    assert options(suite, "mixup").fit.epochs == options(suite, "plain").fit.epochs == 600


def test_faults_of_a_row_are_told_with_its_path_and_shared_ones_once() -> None:
    lines = told(
        backbones={
            "plain": None,
            "a": {"tasks": {"wsol": {"metod": "adl", "fit": {"epocs": 3, "lr": 0}}}},
            "b": {"tasks": {"wsol": {"method": "adl", "fit": "none"}}},
            "c": {"tasks": {"detect": {}, "wsl": {}}},
            "d": {"tasks": ["wsol"]},
            "e": {"tasks": {"wsol": 3}},
            "f": {"source": "no/where", "tasks": {"wsol": {"sigma": 2}}},
        },
        tasks={"wsol": {**SHARED, "interval": 3}},
    )
    assert len(lines) == len(set(lines)) == 10
    expected = [
        "tasks.wsol.threshold_step: expected a number less than or equal to 0.5, found 3",
        "backbones.a.tasks.wsol.metod: unknown key; did you mean 'method'?",
        "backbones.a.tasks.wsol.fit.epocs: unknown key; did you mean 'epochs'?",
        "backbones.a.tasks.wsol.fit.lr: expected a number greater than 0, found 0",
        "backbones.c.tasks.detect: expected one of the suite's tasks (wsol), found 'detect'",
        "backbones.c.tasks.wsl: expected one of the suite's tasks (wsol), found 'wsl'",
        "backbones.d.tasks: expected keys with values, found ['wsol']",
        "backbones.e.tasks.wsol: expected keys with values, found 3",
        "backbones.f.tasks.wsol.sigma: expected a number less than 1, found 2",
    ]
    assert set(expected) <= set(lines)
    assert [line for line in lines if line.startswith("backbones.f.source: no backbone at 'no/where'")]
    # Options that do not go together are found once the others hold.
    assert [line for line in lines if line.startswith("tasks.wsol")] == expected[:1]


def test_options_of_a_row_that_do_not_go_together_name_it() -> None:
    (line,) = told(backbones={"plain": None, "b": {"tasks": {"wsol": {"method": "adl", "fit": "none"}}}})
    assert line.startswith("backbones.b.tasks.wsol: method adl is trained, found fit none")


def test_a_backbone_that_another_suite_trains_is_taken_from_there() -> None:
    other = load_suite(write("other"))
    suite = load(
        backbones={
            "cutmix": {"trained_in": "other.yaml"},
            "start": {"trained_in": "other.yaml", "row": "plain", "tasks": {"wsol": {"method": "has"}}},
        },
        recipe={"arch": "resnet20_cifar", "data": "cifar100:y"},
    )
    for row, there in (("cutmix", "cutmix"), ("start", "plain")):
        backbone = suite.backbones[row]
        assert backbone.recipe == other.backbones[there].recipe
        assert backbone.home == Home("other", there)
        cell = suite.cell(row, 0)
        assert backbone.trained_at(cell) == Cell("other", there, 0)
        assert backbone.source_in(cell) == f"checkpoints/other/{there}-s0"
        assert cell.record("wsol") == Path(f"reports/mine/results/{row}-s0/wsol.json")
    assert options(suite, "start").method.chosen.name == "has"
    assert suite.summary()["taken_as_they_are"] == []


def test_what_another_suite_does_not_train_is_told() -> None:
    write("other", backbones={"plain": {"epochs": 0}, "theirs": {"source": "timm:resnet18"}})
    write("broken", sedes=[0])
    write("circle", backbones={"plain": {"trained_in": "mine.yaml"}})
    lines = told(
        backbones={
            "plain": {"trained_in": "other.yaml"},
            "theirs": {"trained_in": "other.yaml"},
            "cutmx": {"trained_in": "table3"},
            "a": {"trained_in": "tabel3"},
            "b": {"trained_in": "broken.yaml"},
            "c": {"trained_in": "circle.yaml", "row": "plain"},
            "d": {"trained_in": "other.yaml", "lr": 0.1, "rwo": "plain"},
        }
    )
    expected = {
        "plain": "other.yaml has problems, the first is backbones.plain.epochs: expected a number greater than",
        "theirs": "suite 'other' does not train its backbone 'theirs'; name one that it trains",
        "cutmx": "unknown backbone of suite 'table3' 'cutmx'. Did you mean 'cutmix'?",
        "a": "unknown suite 'tabel3'. Did you mean 'table3'?",
        "b": "broken.yaml has problems, the first is sedes: unknown key; did you mean 'seeds'?",
        "c": "suite 'circle' does not train its backbone 'plain'",
    }
    for name, message in expected.items():
        (line,) = (line for line in lines if line.startswith(f"backbones.{name}.trained_in: "))
        assert message in line
    assert "backbones.d.rwo: unknown key; did you mean 'row'?" in lines
    assert len(lines) == len(expected) + 2


def test_a_row_says_the_order_of_its_outputs() -> None:
    Path("names.txt").write_text("b\na\n")
    for given in ({"class_order": "natural"}, {"classes": "names.txt"}, {"class_order": "names.txt"}):
        suite = load(backbones={"theirs": {"source": "timm:resnet18", **given}})
        row = suite.backbones["theirs"].options
        assert (row.class_file is None) == (given == {"class_order": "natural"})
    (line,) = told(backbones={"theirs": {"source": "timm:resnet18", "classes": "absent.txt"}})
    assert line.startswith("backbones.theirs")


def test_a_row_does_not_start_from_another_row_of_its_suite() -> None:
    (line,) = told(backbones={"plain": None, "more": {"init": "plain"}})
    assert line.startswith("backbones.more.init: ")
    assert "checkpoints/mine/plain-s0" in line
    assert (
        load(backbones={"plain": None, "more": {"init": "timm:resnet18"}}).backbones["more"].recipe
        is not None
    )
