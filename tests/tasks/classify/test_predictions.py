"""The predictions file: round trip, and what is refused in files made elsewhere."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval_suite.core.errors import EvalSuiteError, InputError
from eval_suite.core.predictions import About
from eval_suite.tasks.classify.predictions import Predictions, read_predictions, write_predictions


def predictions(**changes: Any) -> Predictions:
    fields: dict[str, Any] = {
        "logits": np.array([[1, 2, 3], [3, 2, 1]], np.float32),
        "ids": ["val/a/1.png", "val/ö/2.png"],
        "labels": np.array([2, 1]),
        "classes": ["a", "ö", "c=d"],
        "about": About("x", "val", 3, "ab=cd", ["val/a/broken.jpg"]),
    }
    return Predictions(**(fields | changes))


def equal(a: Predictions, b: Predictions) -> bool:
    labels = (a.labels is None) == (b.labels is None) and (
        a.labels is None or np.array_equal(a.labels, b.labels)
    )
    return labels and np.array_equal(a.logits, b.logits) and a[1:2] + a[3:5] == b[1:2] + b[3:5]


@pytest.mark.parametrize(
    "kept",
    [predictions(), predictions(labels=None), predictions(ids=["a", "b"], classes=[])],
)
def test_what_is_written_is_what_is_read(kept: Predictions, tmp_path: Path) -> None:
    path = tmp_path / "new" / "predictions.npz"
    write_predictions(path, kept)
    assert equal(read_predictions(path), kept)
    assert [item.name for item in path.parent.iterdir()] == ["predictions.npz"]
    with np.load(path, allow_pickle=False) as archive:
        assert archive["logits"].dtype == np.float32


def test_logits_alone_are_enough(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", logits=np.eye(3))
    found = read_predictions(tmp_path / "p.npz")
    assert found.logits.dtype == np.float32
    assert (found.ids, found.labels, found.classes) == ([], None, [])
    assert found.about == About("p", "unknown", 3, "", [])


@pytest.mark.parametrize("kind", [np.int32, np.uint8, np.int64])
def test_labels_may_be_of_any_whole_type(kind: type, tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "p.npz", logits=np.eye(2), labels=np.array([1, 0], kind))
    found = read_predictions(tmp_path / "p.npz")
    assert found.labels is not None
    assert found.labels.dtype == np.int64
    assert found.labels.tolist() == [1, 0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_logits_that_are_not_finite_are_refused_and_counted(value: float, tmp_path: Path) -> None:
    logits = np.zeros((4, 3))
    logits[1, :2] = logits[3, 0] = value
    np.savez(tmp_path / "p.npz", logits=logits)
    with pytest.raises(InputError, match="found 2 of 4 items with NaN or infinity"):
        read_predictions(tmp_path / "p.npz")


_MARK: list[str] = []


class _Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return _MARK.append, ("it ran",)


@pytest.mark.parametrize("name", ["logits", "ids", "extra"])
def test_pickled_objects_are_refused_and_do_not_run(name: str, tmp_path: Path) -> None:
    arrays: dict[str, Any] = {"logits": np.eye(2), name: np.array([_Runs()], object)}
    np.savez(tmp_path / "p.npz", **arrays)
    with pytest.raises(
        InputError, match=r"expected an \.npz file without objects at .*Object arrays cannot be loaded"
    ):
        read_predictions(tmp_path / "p.npz")
    assert _MARK == []


@pytest.mark.parametrize(
    ("arrays", "expected", "found"),
    [
        (
            {"scores": np.eye(2)},
            "an array 'logits' (items, outputs), 'probabilities' (items, outputs) or 'predicted' (items)",
            "none of them",
        ),
        ({"logits": np.zeros(3)}, "an array 'logits' (items, outputs)", "shape (3,)"),
        ({"logits": np.array([["a", "b"]])}, "numbers as 'logits'", "<U1"),
        ({"logits": np.eye(2) * 1j}, "numbers as 'logits'", "complex128"),
        ({"labels": np.array([0.5, 1])}, "whole numbers as 'labels'", "float64"),
        ({"labels": np.eye(2, dtype=int)}, "an array 'labels' (items)", "shape (2, 2)"),
        ({"labels": np.array([0])}, "2 items in 'labels', as in 'logits'", "1"),
        ({"ids": np.array(["a"])}, "2 items in 'ids', as in 'logits'", "1"),
        ({"ids": np.array([], str)}, "2 items in 'ids', as in 'logits'", "0"),
        ({"ids": np.array("a")}, "an array 'ids' (items)", "shape ()"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    arrays: dict[str, Any], expected: str, found: str, tmp_path: Path
) -> None:
    logits = {} if "scores" in arrays else {"logits": np.eye(2)}
    np.savez(tmp_path / "p.npz", **(logits | arrays))
    with pytest.raises(InputError) as caught:
        read_predictions(tmp_path / "p.npz")
    assert (caught.value.expected, caught.value.found) == (expected, found)


def _write(path: Path, kind: str) -> None:
    np.savez_compressed(path, logits=np.random.default_rng(0).normal(size=(200, 20)))
    whole = bytearray(path.read_bytes())
    if kind == "array":
        with path.open("wb") as stream:
            np.save(stream, np.eye(2))
    elif kind == "flipped":
        whole[3000] ^= 0xFF
        path.write_bytes(whole)
    else:
        path.write_bytes({"empty": b"", "text": b"hello\n", "cut": whole[:2000]}[kind])


@pytest.mark.parametrize("kind", ["empty", "text", "cut", "flipped", "array"])
def test_a_file_of_another_kind_or_damaged_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    _write(path, kind)
    with pytest.raises(InputError, match=r"expected an \.npz file without objects at"):
        read_predictions(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a predictions file at .*, found none"):
        read_predictions(tmp_path / "p.npz")


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EvalSuiteError, match="cannot write"):
        write_predictions(tmp_path / "file" / "p.npz", predictions())


def test_an_id_that_stands_twice_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "twice.npz", logits=np.zeros((2, 3), np.float32), ids=np.array(["a", "a"]))
    with pytest.raises(InputError, match="found 'a' more than once"):
        read_predictions(tmp_path / "twice.npz")


def test_probabilities_are_read_as_their_logarithms(tmp_path: Path) -> None:
    rows = np.array([[0.5, 0.5, 0], [0.25, 0.25, 0.5]])
    np.savez(tmp_path / "p.npz", probabilities=rows, labels=[0, 2])
    np.save(tmp_path / "p.npy", rows.astype(np.float16))
    for name in ("p.npz", "p.npy"):
        found = read_predictions(tmp_path / name).logits
        assert found is not None
        np.testing.assert_allclose(np.exp(found), rows, atol=1e-6)
    np.savez(tmp_path / "p.npz", probabilities=rows * 2)
    with pytest.raises(InputError) as refused:
        read_predictions(tmp_path / "p.npz")
    assert refused.value.where == str(tmp_path / "p.npz")


def test_an_npy_file_of_logits_or_classes(tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", np.array([[2.0, 1.0], [0.0, 3.0]]))
    assert read_predictions(tmp_path / "p.npy").chosen.tolist() == [0, 1]
    np.save(tmp_path / "p.npy", np.array([1, 0, 1]))
    found = read_predictions(tmp_path / "p.npy")
    assert (found.logits, found.chosen.tolist()) == (None, [1, 0, 1])
    np.save(tmp_path / "p.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(InputError):
        read_predictions(tmp_path / "p.npy")
    np.save(tmp_path / "p.npy", np.zeros(0, int))
    with pytest.raises(InputError):
        read_predictions(tmp_path / "p.npy")
