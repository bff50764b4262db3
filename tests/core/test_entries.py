"""Entries: a name, or a name with its options; exactly one of the choices."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, ValidationError

from eval_suite.core.entries import entry_type
from eval_suite.core.validation import problems


@dataclass(frozen=True)
class Square:
    side: int = 2
    name: ClassVar[str] = "square"


@dataclass(frozen=True)
class Circle:
    radius: float = 1.0
    name: ClassVar[str] = "circle"


Shape: Any = entry_type("Shape", "expected one shape", {"square": Square, "circle": Circle})


class Drawing(BaseModel):
    shapes: list[Shape]


@pytest.mark.parametrize(
    ("given", "chosen"),
    [("square", Square(2)), ({"square": None}, Square(2)), ({"circle": {"radius": 3}}, Circle(3.0))],
)
def test_a_name_or_a_name_with_options(given: Any, chosen: Any) -> None:
    entry = Shape.model_validate(given)
    assert entry.chosen == chosen
    assert Shape.model_validate(entry.model_dump(mode="json")) == entry


def test_it_is_written_with_all_its_options_and_no_other_choice() -> None:
    assert Drawing(shapes=["circle"]).model_dump(mode="json") == {"shapes": [{"circle": {"radius": 1.0}}]}


@pytest.mark.parametrize("given", [{}, {"square": {}, "circle": {}}])
def test_exactly_one_is_chosen(given: Any) -> None:
    with pytest.raises(ValidationError, match="expected one shape"):
        Shape.model_validate(given)


def test_wrong_keys_are_named_with_their_path_and_the_nearest() -> None:
    with pytest.raises(ValidationError) as found:
        Drawing(shapes=["sqare", {"circle": {"radios": 1}}])
    assert problems(found.value, Drawing) == [
        "shapes.0.sqare: unknown key; did you mean 'square'?",
        "shapes.1.circle.radios: unknown key; did you mean 'radius'?",
    ]


@pytest.mark.parametrize("given", [3, ["square"], None])
def test_what_is_neither_a_name_nor_options_is_told_what_is_expected(given: Any) -> None:
    with pytest.raises(ValidationError) as found:
        Drawing(shapes=[given])
    assert problems(found.value, Drawing) == [f"shapes.0: expected one shape, found {given!r}"]
