"""The predictions file every task leaves: arrays by name and which items they are of, readable by anyone with numpy.

A task declares its arrays as a schema, from which one reader checks files of any tool and one writer writes ours.
"""

import hashlib
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError, first_line
from eval_suite.core.records import DataInfo
from eval_suite.core.store import atomic_write

_FAILED_NAMED = 100


class About(NamedTuple):
    """Which set was predicted on: name, split, number of items, hash, the items that could not be read, notes on reading it."""

    name: str
    split: str
    n_available: int
    sha256: str
    failed: list[str]
    notes: list[str] = []  # noqa: RUF012 - a NamedTuple's default, which nobody changes

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The text arrays, ``data``, ``failed`` and ``notes``, that say this in a predictions file."""
        facts = self._asdict()
        del facts["failed"], facts["notes"]
        return {
            "data": np.asarray([f"{key}={value}" for key, value in facts.items()], dtype=str),
            "failed": np.asarray(self.failed, dtype=str),
            **({"notes": np.asarray(self.notes, dtype=str)} if self.notes else {}),
        }

    def info(self, n_scored: int) -> DataInfo:
        """What the record says of the data."""
        return DataInfo(
            name=self.name,
            split=self.split,
            n_available=self.n_available,
            n_requested=n_scored + len(self.failed),
            n_scored=n_scored,
            n_failed=len(self.failed),
            failed=self.failed[:_FAILED_NAMED],
            sha256=self.sha256,
            notes=list(self.notes),
        )


def about_in(arrays: Mapping[str, NDArray[Any]], path: Path, items: int) -> About:
    """What a predictions file says of its data; the file's name and ``items`` where it was made by other tools.

    Of such a file the hash is that of its ids and labels, so that two which differ in what is true are not compared.

    Raises:
        InputError: if it gives a number of items that is none.
    """
    failed = [str(item) for item in arrays.get("failed", [])]
    facts = dict(str(item).partition("=")[::2] for item in arrays.get("data", []))
    available = facts.get("n_available", str(items + len(failed)))
    if not available.isdecimal():
        raise InputError(expected="a whole number as n_available", where=path, found=f"'{available}'")
    return About(
        name=facts.get("name", path.stem),
        split=facts.get("split", "unknown"),
        n_available=int(available),
        sha256=facts.get("sha256") or _of_items(arrays),
        failed=failed,
        notes=[str(item) for item in arrays.get("notes", [])],
    )


def _of_items(arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of a file's ids and labels in whatever order, labels by their names where it has these; empty without labels."""
    labels, classes = arrays.get("labels"), arrays.get("classes")
    if labels is None or labels.ndim != 1 or not labels.size:
        return ""
    named = (
        classes is not None and labels.dtype.kind in "iu" and 0 <= labels.min() <= labels.max() < len(classes)
    )
    true = (classes[labels] if named and classes is not None else labels).astype(str)
    ids = arrays.get("ids", np.empty(0, str)).astype(str)
    items = sorted(map("\0".join, zip(ids, true, strict=True))) if len(ids) == len(true) else true.tolist()
    return hashlib.sha256("\1".join(items).encode("utf-8", "surrogateescape")).hexdigest()


Kind = Literal["text", "number", "integer", "boolean"]


@dataclass(frozen=True)
class Array:
    """What an array of a predictions file has to be.

    Attributes:
        axes: names of its axes, ``"items, classes"``; axes of one name are equally long throughout the file, a number is
            itself a length, and no name at all is a single value.
        kind: text, real numbers, whole numbers, or true and false.
        required: whether the file must have it.
        finite: whether NaN and infinity are refused, also those that single precision makes of larger numbers.
        single: whether it is read as float32.
        below: an axis whose length all values must stay below, as indices along it do.
    """

    axes: str = ""
    kind: Kind = "number"
    required: bool = False
    finite: bool = False
    single: bool = False
    below: str = ""

    @property
    def names(self) -> list[str]:
        """The axes one by one."""
        return [name.strip() for name in self.axes.split(",") if name.strip()]


Schema = Mapping[str, Array]

ABOUT: Schema = {
    "data": Array("facts", "text"),
    "failed": Array("failed items", "text"),
    "notes": Array("notes", "text"),
}
"""The arrays of `About`, part of every file."""

_NUMPY_KINDS = {"text": "U", "number": "fiu", "integer": "iu", "boolean": "biu"}
_CALLED = {"text": "texts", "number": "numbers", "integer": "whole numbers", "boolean": "true or false"}


class PredictionFile(dict[str, NDArray[Any]]):
    """The arrays of a file that has passed its schema, by name."""

    def __init__(self, path: Path, arrays: Mapping[str, NDArray[Any]], about: About) -> None:
        super().__init__(arrays)
        self.path, self.about = path, about

    def texts(self, name: str) -> list[str]:
        """An array of texts as a list; empty where the file has none of that name."""
        return [str(item) for item in self.get(name, ())]

    def settings(self) -> dict[str, str]:
        """What ``settings``, an array of ``key=value`` texts, holds."""
        return dict(item.partition("=")[::2] for item in self.texts("settings"))


def write_predictions(
    path: Path,
    about: About,
    arrays: Mapping[str, NDArray[Any] | Sequence[str] | Mapping[str, str] | None],
) -> None:
    """Write a predictions file (``.npz`` without pickled objects), atomically.

    Args:
        path: of the file.
        about: which items were predicted on.
        arrays: by name; sequences of texts become text arrays, mappings ``key=value`` texts, and None is left out.
    """

    def as_array(values: NDArray[Any] | Sequence[str] | Mapping[str, str]) -> NDArray[Any]:
        if isinstance(values, np.ndarray):
            return values
        if isinstance(values, Mapping):
            values = [f"{key}={value}" for key, value in values.items()]
        return np.asarray(values, dtype=str)

    given = {name: as_array(values) for name, values in arrays.items() if values is not None}
    with atomic_write(path, "wb") as stream:
        np.savez(stream, **given, **about.arrays())  # type: ignore[arg-type]


def read_predictions(
    path: Path,
    schema: Schema | Callable[[Iterable[str]], Schema],
    single: Callable[[NDArray[Any]], str] | None = None,
) -> PredictionFile:
    """Read a predictions file of this or another tool.

    Args:
        path: the ``.npz`` file.
        schema: its arrays by name, or what makes them from the names in the file; arrays that it does not name are left
            out.
        single: names the one array of an ``.npy`` file, where such files are read.

    Raises:
        InputError: if the file cannot be read without running code, an array is missing or is not what the schema says,
            an id occurs twice, or there are no items.
    """
    held = _load(path, single)
    declared = {**(schema(held) if callable(schema) else schema), **ABOUT}
    missing = [name for name, wanted in declared.items() if wanted.required and name not in held]
    if missing:
        wanted = declared[missing[0]]
        raise InputError(
            expected=f"an array '{missing[0]}' ({wanted.axes})", where=path, found=str(sorted(held))
        )
    arrays = {
        name: _checked(held[name], name, wanted, path) for name, wanted in declared.items() if name in held
    }
    lengths = _lengths(arrays, declared, path)
    for name, array in arrays.items():
        below = lengths.get(declared[name].below)
        if below and array.size and not 0 <= array.min() <= array.max() < below:
            raise InputError(
                expected=f"numbers in 0..{below - 1} as '{name}'",
                where=path,
                found=f"{array.min()}..{array.max()}",
            )
    ids = arrays["ids"].tolist() if "ids" in arrays else []
    twice = next((item for item, count in Counter(ids).items() if count > 1), None)
    if twice is not None:
        raise InputError(expected="each id once", where=path, found=f"'{twice}' more than once")
    return PredictionFile(path, arrays, about_in(arrays, path, lengths.get("items", 0)))


def _load(path: Path, single: Callable[[NDArray[Any]], str] | None) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise InputError(expected=f"a predictions file at {path}", found="none")
    try:
        if path.suffix == ".npy" and single is not None:
            array: NDArray[Any] = np.load(path, allow_pickle=False)
            return {single(array): array}
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as archive:
            return {key: np.asarray(archive[key]) for key in archive.files}
    except (ValueError, OSError, zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
        raise InputError(
            f"expected an .npz file without objects at {path}, found: {first_line(error)}"
        ) from None


def _checked(array: NDArray[Any], name: str, wanted: Array, path: Path) -> NDArray[Any]:
    """The array in the type that the rest computes with."""
    axes = wanted.names
    fixed = [int(axis) for axis in axes if axis.isdecimal()]
    if array.ndim != len(axes) or fixed != [
        size for size, axis in zip(array.shape, axes, strict=True) if axis.isdecimal()
    ]:
        raise InputError(
            expected=f"an array '{name}' ({wanted.axes or 'one value'})",
            where=path,
            found=f"shape {array.shape}",
        )
    if array.dtype.kind not in _NUMPY_KINDS[wanted.kind] and not (array.size == 0 and wanted.kind == "text"):
        raise InputError(expected=f"{_CALLED[wanted.kind]} as '{name}'", where=path, found=str(array.dtype))
    if wanted.kind == "integer":
        return array.astype(np.int64)
    if wanted.kind == "boolean":
        return array.astype(bool)
    if wanted.single:
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
    if wanted.finite and not np.isfinite(array).all():
        rows = int((~np.isfinite(array)).reshape(len(array), -1).any(axis=1).sum())
        raise InputError(
            expected=f"finite numbers as '{name}'",
            where=path,
            found=f"{rows} of {len(array)} items with NaN or infinity",
        )
    return array


def _lengths(arrays: Mapping[str, NDArray[Any]], declared: Schema, path: Path) -> dict[str, int]:
    """The length of each named axis."""
    lengths: dict[str, int] = {}
    measured: dict[str, str] = {}
    for name, array in arrays.items():
        for axis, size in zip(declared[name].names, array.shape, strict=True):
            if lengths.setdefault(axis, size) != size:
                raise InputError(
                    expected=f"{lengths[axis]} {axis} in '{name}', as in '{measured[axis]}'",
                    where=path,
                    found=str(size),
                )
            measured.setdefault(axis, name)
            if size == 0 and declared[name].required:
                raise InputError(expected=f"{axis} in '{name}'", where=path, found="none")
    return lengths
