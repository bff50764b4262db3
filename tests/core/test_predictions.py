"""What predictions files of all tasks share."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval_suite.core.errors import InputError
from eval_suite.core.predictions import (
    About,
    Array,
    PredictionFile,
    Schema,
    about_in,
    read_predictions,
    write_predictions,
)

ABOUT = About("set", "val", 12, "ab=cd", ["val/broken.jpg"])


def test_what_a_file_says_of_its_data_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    arrays = {"maps": np.zeros((2, 3, 4)), "ids": ["a", "b"], "settings": {"x": "1=2"}, "labels": None}
    write_predictions(path, ABOUT, arrays)
    schema = {"maps": Array("items, rows, columns"), "ids": Array("items", "text")}
    held = read_predictions(path, {**schema, "settings": Array("settings", "text")})
    assert held.about == ABOUT
    assert held["maps"].shape == (2, 3, 4)
    assert held.texts("ids") == ["a", "b"]
    assert held.settings() == {"x": "1=2"}
    assert "labels" not in held


def test_the_record_counts_what_was_asked_for_and_names_the_first_hundred_failures() -> None:
    many = [f"{i}.jpg" for i in range(150)]
    info = ABOUT._replace(n_available=200, failed=many).info(50)
    assert (info.n_available, info.n_requested, info.n_scored, info.n_failed) == (200, 200, 50, 150)
    assert info.failed == many[:100]


def test_a_file_made_elsewhere_is_named_after_itself() -> None:
    assert about_in({}, Path("mine.npz"), 7) == About("mine", "unknown", 7, "", [])


def test_a_number_of_items_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match=r"whole number as n_available in p\.npz, found 'many'"):
        about_in({"data": np.array(["n_available=many"])}, Path("p.npz"), 1)


def read(tmp_path: Path, arrays: dict[str, Any], schema: Schema) -> PredictionFile:
    np.savez(tmp_path / "p.npz", **arrays)
    return read_predictions(tmp_path / "p.npz", schema)


def test_axes_of_one_name_are_equally_long_throughout(tmp_path: Path) -> None:
    schema = {"logits": Array("items, classes"), "names": Array("classes", "text")}
    assert read(tmp_path, {"logits": np.eye(2), "names": ["a", "b"]}, schema)["logits"].shape == (2, 2)
    with pytest.raises(InputError) as caught:
        read(tmp_path, {"logits": np.eye(2), "names": ["a", "b", "c"]}, schema)
    assert caught.value.expected == "2 classes in 'names', as in 'logits'"
    assert caught.value.found == "3"


@pytest.mark.parametrize(
    ("wanted", "given", "found"),
    [
        (Array("items", required=True), None, "['other']"),
        (Array("items, rows, columns"), np.eye(2), "shape (2, 2)"),
        (Array("2"), np.arange(3), "shape (3,)"),
        (Array(), np.arange(1), "shape (1,)"),
        (Array("items, classes", "integer"), np.eye(2), "float64"),
        (Array("items"), np.array(["a"]), "<U1"),
        (Array("items", "text"), np.arange(3), "int64"),
        (Array("items", "boolean"), np.array([0.5]), "float64"),
        (Array("items", finite=True), np.array([1, np.nan]), "1 of 2 items with NaN or infinity"),
        (Array("items", finite=True, single=True), np.array([1e300, 1]), "1 of 2 items with NaN or infinity"),
        (Array("items", required=True), np.zeros(0), "none"),
        (Array("items", "integer", below="others"), np.array([0, 2]), "0..2"),
        (Array("items", "integer", below="others"), np.array([-1, 1]), "-1..1"),
    ],
)
def test_an_array_that_is_missing_or_does_not_fit_is_refused(
    wanted: Array, given: Any, found: str, tmp_path: Path
) -> None:
    arrays = {"other": np.zeros(2)} | ({} if given is None else {"x": given})
    with pytest.raises(InputError) as caught:
        read(tmp_path, arrays, {"x": wanted, "other": Array("others")})
    assert caught.value.found == found
    assert "'x'" in caught.value.expected
    assert caught.value.where == str(tmp_path / "p.npz")


def test_single_precision_and_whole_numbers_are_what_the_rest_computes_with(tmp_path: Path) -> None:
    held = read(
        tmp_path,
        {"x": np.eye(2), "y": np.array([1, 0], np.uint8), "z": np.array([1, 0]), "more": np.zeros(1)},
        {"x": Array("a, b", single=True), "y": Array("a", "integer"), "z": Array("a", "boolean")},
    )
    assert [held[name].dtype for name in ("x", "y", "z")] == [np.float32, np.int64, bool]
    assert "more" not in held


def test_a_schema_may_follow_from_the_names_in_the_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", **{"score/a": np.ones(2), "score/b": np.zeros(3)})
    with pytest.raises(InputError, match="2 items"):
        read_predictions(tmp_path / "p.npz", lambda names: {name: Array("items") for name in names})
