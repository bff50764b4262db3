"""CIFAR batches: what the originals look like is read, anything that would run is refused."""

import io
import os
import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from eval_suite.core.errors import InputError
from eval_suite.data.pickles import CIFAR10, CIFAR100, load_pickle, read_cifar_classes, read_cifar_split


class Python2Pickler(pickle._Pickler):
    """Writes what Python 2 and numpy 1 wrote: byte strings, old module names, whole numbers as dtype flags."""

    dispatch: ClassVar[dict[Any, Any]] = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value: bytes) -> None:
        self.write(b"T" + len(value).to_bytes(4, "little") + value)

    def save_global(self, obj: Any, name: str | None = None) -> None:
        if getattr(obj, "__name__", "") == "_reconstruct":
            self.write(b"cnumpy.core.multiarray\n_reconstruct\n")
        else:
            super().save_global(obj, name)

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, np.dtype):
            return np.dtype, (obj.str[1:].encode(), 0, 1), (3, b"|", None, None, None, -1, -1, 0)
        return NotImplemented

    dispatch[bytes] = save_bytes


def write(path: Path, value: Any, pickler: type = Python2Pickler, protocol: int = 2) -> Path:
    stream = io.BytesIO()
    pickler(stream, protocol).dump(value)
    path.write_bytes(stream.getvalue())
    return path


def batch(count: int = 20, classes: int = 10, **changes: Any) -> dict[bytes, Any]:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3072), dtype=np.uint8)
    labels = [i % classes for i in range(count)]
    return {b"batch_label": b"testing batch 1 of 1", b"data": pixels, b"labels": labels} | {
        key.encode(): value for key, value in changes.items()
    }


@pytest.mark.parametrize(
    ("pickler", "protocol"),
    [(Python2Pickler, 2), (pickle.Pickler, 2), (pickle.Pickler, 3), (pickle.Pickler, 4)],
)
def test_reads_batches_of_old_and_new_python(tmp_path: Path, pickler: type, protocol: int) -> None:
    content = batch()
    found = read_cifar_split(write(tmp_path / "test_batch", content, pickler, protocol), CIFAR10)
    assert found.pixels.shape == (20, 32, 32, 3)
    assert found.labels.dtype == np.int64
    assert found.labels.tolist() == content[b"labels"]
    row = content[b"data"][7]
    assert found.pixels[7, 5, 9].tolist() == [row[5 * 32 + 9], row[1024 + 5 * 32 + 9], row[2048 + 5 * 32 + 9]]


def test_byte_order_is_kept_and_numpys_own_types_are_left_alone(tmp_path: Path) -> None:
    found = load_pickle(write(tmp_path / "x", np.arange(5, dtype=">i4"), pickle.Pickler))
    assert found.tolist() == [0, 1, 2, 3, 4]
    assert np.dtype("i4").isnative


def test_reads_fine_labels_of_cifar100(tmp_path: Path) -> None:
    content = batch(classes=100, fine_labels=list(range(20)), coarse_labels=[0] * 20)
    assert read_cifar_split(write(tmp_path / "test", content), CIFAR100).labels.tolist() == list(range(20))
    names = [f"fine {i}".encode() for i in range(100)]
    write(tmp_path / "meta", {b"fine_label_names": names, b"coarse_label_names": [b"x"] * 20})
    assert read_cifar_classes(tmp_path, CIFAR100)[99] == "fine 99"


class Malicious:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_refuses_a_pickle_that_would_run_something(tmp_path: Path, protocol: int) -> None:
    touched = tmp_path / "touched"
    content = batch(extra=Malicious(os.system, f"touch {touched}"))
    path = write(tmp_path / "test_batch", content, pickle.Pickler, protocol)
    with pytest.raises(
        InputError, match=r"refused: .*test_batch would execute (posix|nt)\.system; expected the CIFAR"
    ):
        read_cifar_split(path, CIFAR10)
    assert not touched.exists()


@pytest.mark.parametrize(
    "value", [Malicious(eval, "1"), Malicious(np.load, "x"), pickle.Pickler, np.float64(1)]
)
def test_refuses_every_other_global(tmp_path: Path, value: Any) -> None:
    with pytest.raises(InputError, match="refused"):
        load_pickle(write(tmp_path / "x", {b"data": value}, pickle.Pickler))


def test_refuses_arrays_of_objects(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"damaged pickle .*object"):
        load_pickle(write(tmp_path / "x", np.array([None, {}], dtype=object), pickle.Pickler))


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_a_truncated_file_is_named(tmp_path: Path, keep: int) -> None:
    path = write(tmp_path / "test_batch", batch())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match="test_batch, found a damaged pickle"):
        load_pickle(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="data_batch_3, found no such file"):
        load_pickle(tmp_path / "data_batch_3")
    with pytest.raises(InputError, match="cannot read the batch file"):
        load_pickle(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": np.zeros((20, 3071), np.uint8)}, r"shape \(n, 3072\).*found uint8 of shape \(20, 3071\)"),
        ({"data": np.zeros((20, 3072), np.float32)}, "found float32"),
        ({"data": [1, 2]}, "found a list of 2"),
        ({"labels": list(range(19))}, "found 19 and 20"),
        ({"labels": [10] * 20}, "labels from 0 to 9 .* found 10 to 10"),
        ({"labels": [-1] * 20}, "found -1"),
        ({"labels": [0.5] * 20}, "whole-number labels"),
        ({"labels": None}, "whole-number labels"),
    ],
)
def test_shapes_and_label_ranges_are_checked(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_cifar_split(write(tmp_path / "test_batch", batch(**changes)), CIFAR10)


def test_missing_entries_and_names_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected 'data' in .* found the keys b'x'"):
        read_cifar_split(write(tmp_path / "test_batch", {b"x": 1}), CIFAR10)
    write(tmp_path / "batches.meta", {b"label_names": [b"cat"]})
    with pytest.raises(InputError, match=r"expected 10 class names in .*batches.meta, found a list of 1"):
        read_cifar_classes(tmp_path, CIFAR10)
