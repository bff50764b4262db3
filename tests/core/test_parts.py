"""Parts of the user's: what is refused before anything runs, and what tells two versions of one apart."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from eval_suite.core.errors import InputError
from eval_suite.core.parts import _HOMES as HOMES
from eval_suite.core.parts import KINDS, part, part_spec, parts
from eval_suite.training.recipe import Recipe

_HEAD = """
from dataclasses import dataclass
from eval_suite import ImageLayout, OodScore, Paper, Regularizer, Task
PAPER = Paper("T", "V", 2020, "https://example.org")
"""
_REGULARIZER = """
@dataclass(frozen=True)
class Mine(Regularizer):
    name = {name!r}
    stage = "erase"
    paper = PAPER

    def apply(self, images, targets, context):
        return images * {factor}, targets
"""


def _file(folder: Path, text: str) -> str:
    path = folder / "mine.py"
    path.write_text(_HEAD + text)
    return f"{path}:Mine"


@pytest.mark.parametrize("kind", KINDS)
def test_ours_have_what_is_asked_of_others(kind: str) -> None:
    assert parts(kind)
    for found in parts(kind).values():
        assert [name for name in ("name", *HOMES[kind].has) if not hasattr(found, name)] == []


@pytest.mark.parametrize("name", ["cutmix", "../mine", "a/b", "", "has space"])
def test_a_name_that_is_taken_or_no_name_of_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="name"):
        part("regularizer", _file(tmp_path, _REGULARIZER.format(name=name, factor=1)))


@pytest.mark.parametrize(
    ("kind", "text", "missing"),
    [
        (
            "regularizer",
            "class Mine(Regularizer):\n    name = 'm'\n",
            ["stage", "paper", "apply() or install()"],
        ),
        ("ood_score", "class Mine(OodScore):\n    name = 'm'\n    paper = PAPER\n", ["title", "__call__()"]),
        ("data", "class Mine(ImageLayout):\n    pass\n", ["name", "read()"]),
        ("task", "class Mine(Task):\n    name = 'm'\n", ["version", "options", "predict()", "score()"]),
    ],
)
def test_a_part_that_lacks_something_is_refused_with_what_it_lacks(
    tmp_path: Path, kind: str, text: str, missing: list[str]
) -> None:
    with pytest.raises(InputError) as raised:
        part(kind, _file(tmp_path, text))
    assert all(each in str(raised.value) for each in missing)


def test_a_file_without_the_name_of_a_part_is_told_the_form(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"file\.py:NAME"):
        part("task", str(tmp_path / "mine.py"))


def test_a_recipe_is_another_one_when_the_file_of_its_regularizer_changes(tmp_path: Path) -> None:
    digests = []
    for factor in (1.0, 0.5, 1.0):
        spec = _file(tmp_path, _REGULARIZER.format(name="mine", factor=factor))
        digests.append(Recipe(arch="resnet18", data="demo:x", regularizers=[spec]).digest())
    assert digests[0] == digests[2] != digests[1]


def test_an_installed_part_that_lacks_something_is_refused_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = SimpleNamespace(name="broken", value="other_package:Broken", load=lambda: type("Broken", (), {}))
    monkeypatch.setattr("eval_suite.core.parts.entry_points", lambda group: [broken])
    with pytest.raises(InputError, match=r"other_package:Broken .*name.*read"):
        parts.__wrapped__("data")


def test_a_class_goes_by_its_name_or_by_its_file(tmp_path: Path) -> None:
    assert part_spec(parts("ood_score")["energy"]) == "energy"
    spec = _file(tmp_path, _REGULARIZER.format(name="mine", factor=1))
    assert part_spec(part("regularizer", spec)) == spec
    with pytest.raises(InputError, match="found Path"):
        part_spec(Path)
    nowhere = type("Nowhere", (parts("regularizer")["cutmix"],), {"__module__": "nowhere"})
    with pytest.raises(InputError, match="prompt"):
        part_spec(nowhere)
