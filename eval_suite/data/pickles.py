"""CIFAR's python batches, read without running what a pickle may ask to run."""

import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError, first_line
from eval_suite.core.files import require_regular

_SIDE = 32


class CifarFormat(NamedTuple):
    """Names inside one of the two sets, as their authors publish them."""

    classes: int
    folder: str
    archive: str
    splits: dict[str, tuple[str, ...]]
    meta: str
    names_key: bytes
    labels_key: bytes


class CifarBatch(NamedTuple):
    """Images (n, 32, 32, 3) and labels (n,) of one batch file."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]


CIFAR10 = CifarFormat(
    classes=10,
    folder="cifar-10-batches-py",
    archive="cifar-10-python.tar.gz",
    splits={"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)},
    meta="batches.meta",
    names_key=b"label_names",
    labels_key=b"labels",
)
CIFAR100 = CifarFormat(
    classes=100,
    folder="cifar-100-python",
    archive="cifar-100-python.tar.gz",
    splits={"train": ("train",), "test": ("test",)},
    meta="meta",
    names_key=b"fine_label_names",
    labels_key=b"fine_labels",
)


def read_cifar_classes(folder: Path, form: CifarFormat) -> list[str]:
    """Class names in label order.

    Raises:
        InputError: if the meta file is missing, refused, or does not name every class.
    """
    path = folder / form.meta
    names = _entry(path, load_pickle(path), form.names_key)
    if not isinstance(names, list) or len(names) != form.classes:
        raise InputError(expected=f"{form.classes} class names", where=path, found=f"{_describe(names)}")
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def read_cifar_split(path: Path, form: CifarFormat) -> CifarBatch:
    """Images and labels of one batch file.

    Raises:
        InputError: if the file is missing, refused, or holds other shapes or labels out of range.
    """
    table = load_pickle(path)
    data, labels = _entry(path, table, b"data"), _entry(path, table, form.labels_key)
    width = 3 * _SIDE * _SIDE
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != width:
        raise InputError(
            expected=f"uint8 images of shape (n, {width})", where=path, found=f"{_describe(data)}"
        )
    if not isinstance(labels, list) or any(type(label) is not int for label in labels):
        raise InputError(expected="a list of whole-number labels", where=path, found=f"{_describe(labels)}")
    if len(labels) != len(data) or not labels:
        raise InputError(
            expected="as many labels as images", where=path, found=f"{len(labels)} and {len(data)}"
        )
    if min(labels) < 0 or max(labels) >= form.classes:
        raise InputError(
            expected=f"labels from 0 to {form.classes - 1}",
            where=path,
            found=f"{min(labels)} to {max(labels)}",
        )
    images = data.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)
    return CifarBatch(np.ascontiguousarray(images), np.array(labels, dtype=np.int64))


def load_pickle(path: Path) -> Any:
    """Unpickle a file that holds containers, numbers, bytes and numpy arrays, and nothing else.

    Raises:
        InputError: if the file is missing, damaged, or names anything that would be executed.
    """
    try:
        with require_regular(path).open("rb") as stream:
            return _Unpickler(stream, path).load()
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(
            expected=f"the batch file {path}", found="no such file", remedy="unpack the archive again"
        ) from None
    except OSError as error:
        raise InputError(
            f"cannot read the batch file {path}: {error.strerror}; check its permissions"
        ) from error
    except Exception as error:
        raise InputError(
            expected="a CIFAR batch",
            where=path,
            found=f"a damaged pickle ({first_line(error)})",
            remedy="unpack the archive again",
        ) from error


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: Any, path: Path) -> None:
        super().__init__(stream, encoding="bytes")
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        allowed = _ALLOWED.get((module, name))
        if allowed is None:
            raise InputError(
                f"refused: {self._path} would execute {module}.{name}; expected the CIFAR python version, which "
                "holds numpy arrays only"
            )
        return allowed


def _dtype(code: bytes | str, *_: object) -> np.dtype[Any]:
    """A plain number type; the flags that follow in old files only trouble newer numpy."""
    # A copy, because numpy ignores the byte order that follows in the pickle on its own types.
    plain = np.dtype(code.decode("ascii") if isinstance(code, bytes) else code, copy=True)
    if plain.kind not in "biuf":
        raise ValueError(f"an array of type {plain}")
    return plain


def _encode(text: str, codec: str) -> bytes:
    """How Python 3 writes bytes in the protocol of Python 2."""
    if codec not in ("latin1", b"latin1"):
        raise ValueError(f"bytes encoded as {codec!r}")
    return text.encode("latin1")


_reconstruct = np.empty(0).__reduce__()[0]
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _encode,
}


def _entry(path: Path, table: Any, key: bytes) -> Any:
    for name in (key, key.decode()):
        if isinstance(table, dict) and name in table:
            return table[name]
    raise InputError(expected=f"'{key.decode()}'", where=path, found=f"{_describe(table)}")


def _describe(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    if isinstance(value, dict):
        return "the keys " + (", ".join(sorted(repr(key) for key in value)) or "(none)")
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, list) else "")
