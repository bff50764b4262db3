"""The predictions file every task leaves: arrays by name and which items they are of, readable by anyone with numpy."""

import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError, first_line
from eval_suite.core.records import DataInfo
from eval_suite.core.store import atomic_write

_FAILED_NAMED = 100


class About(NamedTuple):
    """Which set was predicted on: name, split, number of items, hash, and the items that could not be read."""

    name: str
    split: str
    n_available: int
    sha256: str
    failed: list[str]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The two text arrays, ``data`` and ``failed``, that say this in a predictions file."""
        facts = self._asdict()
        del facts["failed"]
        return {
            "data": np.asarray([f"{key}={value}" for key, value in facts.items()], dtype=str),
            "failed": np.asarray(self.failed, dtype=str),
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
        )


def about_in(arrays: Mapping[str, NDArray[Any]], path: Path, items: int) -> About:
    """What a predictions file says of its data; the file's name and ``items`` where it was made by other tools.

    Raises:
        InputError: if it gives a number of items that is none.
    """
    failed = [str(item) for item in arrays.get("failed", [])]
    facts = dict(str(item).partition("=")[::2] for item in arrays.get("data", []))
    available = facts.get("n_available", str(items + len(failed)))
    if not available.isdigit():
        raise InputError(f"expected a whole number as n_available in {path}, found '{available}'")
    return About(
        name=facts.get("name", path.stem),
        split=facts.get("split", "unknown"),
        n_available=int(available),
        sha256=facts.get("sha256", ""),
        failed=failed,
    )


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays as ``.npz`` without pickled objects, atomically."""
    with atomic_write(path, "wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]


def read_arrays(path: Path, *, lists: Iterable[str] = ("ids", "failed", "data")) -> dict[str, NDArray[Any]]:
    """Read the arrays of a predictions file.

    Args:
        path: the ``.npz`` file.
        lists: names of arrays that must be (n,) where present.

    Raises:
        InputError: if the file cannot be read without running code, a list is none, or an id stands twice.
    """
    if not path.is_file():
        raise InputError(f"expected a predictions file at {path}, found none")
    try:
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as archive:
            arrays = {key: np.asarray(archive[key]) for key in archive.files}
    except (ValueError, OSError, zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
        raise InputError(
            f"expected an .npz file without objects at {path}, found: {first_line(error)}"
        ) from None
    for name in lists:
        if name in arrays and arrays[name].ndim != 1:
            shape = arrays[name].shape
            raise InputError(f"expected a list '{name}' in {path}, found an array of shape {shape}")
    ids = arrays.get("ids", np.zeros(0, str)).tolist()
    if len(set(ids)) != len(ids):
        twice = next(item for item, count in Counter(ids).items() if count > 1)
        raise InputError(f"expected each id once in {path}, found '{twice}' more than once")
    return arrays


def require_array(
    arrays: Mapping[str, NDArray[Any]], name: str, path: Path, *, kinds: str, axes: str
) -> NDArray[Any]:
    """One array of a predictions file.

    Args:
        arrays: what `read_arrays` found.
        name: the array wanted.
        path: the file, for the message.
        kinds: numpy kinds it may have, e.g. ``"fiu"``.
        axes: its axes in words, e.g. ``"items, classes"``; their number is checked.

    Raises:
        InputError: if it is missing, of another kind, or has another number of axes.
    """
    found = arrays.get(name)
    if found is None or found.ndim != len(axes.split(",")):
        shown = sorted(arrays) if found is None else f"shape {found.shape}"
        raise InputError(f"expected an array '{name}' ({axes}) in {path}, found {shown}")
    if found.dtype.kind not in kinds:
        wanted = "numbers" if "f" in kinds else "whole numbers"
        raise InputError(f"expected {wanted} as '{name}' in {path}, found {found.dtype}")
    return found
