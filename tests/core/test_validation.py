"""Every problem of a file of options, with the path of its key."""

from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from eval_suite.core.errors import InputError
from eval_suite.core.validation import as_yaml, problems, read_yaml, require_no_problems, validated
from eval_suite.training.regularizers import CutMix


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Part:
    size: int = 3


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    alpha: float = 1.0
    part: Part | None = None


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    rate: Annotated[float, Field(gt=0)]
    items: list[Inner] = Field(default_factory=list)

    @model_validator(mode="after")
    def _few(self) -> "Outer":
        if len(self.items) > 2:
            raise ValueError(f"at most two items, found {len(self.items)}")
        return self


def told(content: Any, prefix: tuple[str, ...] = ()) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(content)
    return problems(caught.value, Outer, prefix)


def test_all_problems_at_once_with_their_paths() -> None:
    lines = told({"rate": -1, "items": [{"alpha": "x"}, {"alfa": 1, "part": {"size": "big"}}], "itms": []})
    assert lines == [
        "rate: expected a number greater than 0, found -1",
        "items.0.alpha: expected a number, found 'x'",
        "items.1.part.size: expected a whole number, found 'big'",
        "items.1.alfa: unknown key; did you mean 'alpha'?",
        "itms: unknown key; did you mean 'items'?",
    ]


def test_a_key_that_resembles_none_gets_the_list() -> None:
    assert told({"rate": 1, "items": [{"zzz": 1}]}) == ["items.0.zzz: unknown key; known: alpha, part"]


def test_unknown_keys_of_a_dataclass_are_told_too() -> None:
    assert told({"rate": 1, "items": [{"part": {"sice": 1}}]}) == [
        "items.0.part.sice: unknown key; did you mean 'size'?"
    ]


def test_what_is_missing_was_not_found() -> None:
    assert told({}) == ["rate: Field required"]


def test_a_prefix_leads_the_path_and_stands_alone_for_the_whole() -> None:
    assert told({"rate": 0}, ("tasks", "a")) == ["tasks.a.rate: expected a number greater than 0, found 0"]
    assert told({"rate": 1, "items": [{}] * 3}, ("tasks", "a")) == ["tasks.a: at most two items, found 3"]
    assert told({"rate": 1, "items": [{}] * 3}) == ["at most two items, found 3"]


def test_a_long_value_is_cut() -> None:
    (line,) = told({"rate": "x" * 500})
    assert len(line) < 160
    assert line.endswith("...")


def test_one_error_lists_them_all() -> None:
    require_no_problems("f.yaml", [])
    with pytest.raises(InputError) as caught:
        require_no_problems("f.yaml", ["a: b", "c: d"])
    assert str(caught.value) == "f.yaml has 2 problems:\n  a: b\n  c: d"
    with pytest.raises(InputError, match=r"^f\.yaml has 1 problem:\n  a: b$"):
        require_no_problems("f.yaml", ["a: b"])


def test_yaml_is_read(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("a: [1, 2]\nb: {c: grün}\n", "utf-8")
    assert read_yaml(path) == {"a": [1, 2], "b": {"c": "grün"}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- 1\n", "expected a mapping of keys in .*, found list"),
        (b"", "expected a mapping of keys in .*, found NoneType"),
        (b"a: [1\n", "is no valid YAML"),
        (b"a: 2024-13-45\n", "is no valid YAML: month must be in 1..12"),
        (b"a: !!python/object/apply:os.system ['true']\n", "is no valid YAML"),
        (b"a: \xff\n", "cannot read"),
    ],
)
def test_what_is_no_mapping_is_wrong_input(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_yaml(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_wrong_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*none.yaml"):
        read_yaml(tmp_path / "none.yaml")


class Named(BaseModel):
    data: str = ""
    names: list[str] = Field(default_factory=list)
    parts: tuple[str, ...] = ()
    pair: tuple[int, int] | None = None


def test_what_python_writes_is_what_files_hold() -> None:
    given = {"data": Path("x"), "names": "a", "parts": (CutMix, "b"), "pair": (1, 2), "other": "c"}
    expected = {"data": "x", "names": ["a"], "parts": ["cutmix", "b"], "pair": (1, 2), "other": "c"}
    assert as_yaml(Named, given) == expected
    assert as_yaml(Named, {"names": {"a": 1}}) == {"names": {"a": 1}}  # for the model to refuse


def test_a_class_of_the_running_script_is_refused() -> None:
    script = type("Mine", (CutMix,), {"__module__": "__main__"})
    with pytest.raises(ValueError, match="file of its own"):
        as_yaml(Named, {"names": [script]})
    with pytest.raises(ValueError, match="found int"):
        as_yaml(Named, {"names": int})


def test_wrong_options_are_wrong_input() -> None:
    assert validated("options", Named, {"names": ["a"]}) == Named(names=["a"])
    with pytest.raises(InputError, match="names"):
        validated("options", Named, {"names": 3})
