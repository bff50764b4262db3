"""Training as Python calls it: what is no recipe is refused before anything is read."""

from typing import Any

import pytest

from eval_suite.core.errors import InputError
from eval_suite.training.train import train


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({"arch": "resnet18"}, "data"),
        ({"arch": "resnet18", "data": "folder:none", "epoch": 1}, "did you mean 'epochs'"),
        (None, "found NoneType"),
    ],
)
def test_what_is_no_recipe_is_wrong_input(recipe: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        train(recipe)


def test_fields_by_name_are_a_recipe() -> None:
    with pytest.raises(InputError, match="folder:PATH"):  # of the data, which are not there
        train({"arch": "resnet18", "data": "folder:none"}, device="cpu")
