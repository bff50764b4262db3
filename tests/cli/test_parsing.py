"""Typed words as options."""

from pydantic import BaseModel, ConfigDict

from eval_suite.cli.parsing import parse


class Options(BaseModel):
    """What the tests parse."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    sets: list[str] = ["default"]
    """Any number."""
    name: str = ""
    """One."""


def test_a_list_typed_twice_holds_all_and_none_of_the_default() -> None:
    assert parse(Options, "verb", ["--sets", "a", "b", "--name", "x", "--sets", "c"]).sets == ["a", "b", "c"]
    assert parse(Options, "verb", []).sets == ["default"]
    assert parse(Options, "verb", ["--sets"]).sets == []
