"""What predictions files of all tasks share."""

from pathlib import Path

import numpy as np
import pytest

from eval_suite.core.errors import InputError
from eval_suite.core.predictions import About, about_in, read_arrays, require_array, write_arrays

ABOUT = About("set", "val", 12, "ab=cd", ["val/broken.jpg"])


def test_what_a_file_says_of_its_data_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    write_arrays(path, {"maps": np.zeros((2, 3, 4)), **ABOUT.arrays()})
    arrays = read_arrays(path)
    assert about_in(arrays, path, 2) == ABOUT
    assert arrays["maps"].shape == (2, 3, 4)


def test_the_record_counts_what_was_asked_for_and_names_the_first_hundred_failures() -> None:
    many = [f"{i}.jpg" for i in range(150)]
    info = ABOUT._replace(failed=many).info(50)
    assert (info.n_available, info.n_requested, info.n_scored, info.n_failed) == (12, 200, 50, 150)
    assert info.failed == many[:100]


def test_a_file_made_elsewhere_is_named_after_itself() -> None:
    assert about_in({}, Path("mine.npz"), 7) == About("mine", "unknown", 7, "", [])


def test_a_number_of_items_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match=r"whole number as n_available in p\.npz, found 'many'"):
        about_in({"data": np.array(["n_available=many"])}, Path("p.npz"), 1)


@pytest.mark.parametrize(
    ("name", "kinds", "axes", "message"),
    [
        ("maps", "f", "items, rows, columns", r"found \['logits'\]"),
        ("logits", "f", "items", r"'logits' \(items\) in p.npz, found shape \(2, 2\)"),
        ("logits", "iu", "items, classes", "expected whole numbers as 'logits' in p.npz, found float64"),
    ],
)
def test_an_array_that_is_missing_or_does_not_fit_is_told(
    name: str, kinds: str, axes: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        require_array({"logits": np.eye(2)}, name, Path("p.npz"), kinds=kinds, axes=axes)
