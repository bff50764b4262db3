"""Per-item outcomes in the file next to a record: read when they are asked for, and held to the record's numbers."""

import io
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError, first_line
from eval_suite.core.files import file_beside, require_regular
from eval_suite.core.records import Outcomes, Record

# Outcomes of measures that are no means are linearised: their mean is the value but for rounding.
_TOLERANCE = 1e-4
_IDS, _ARRAY, _RESAMPLED = "ids", ".npy", "resampled/"
_BEFORE_HEADER = 10  # bytes: magic, version, and in the last two how long the header is


def write_outcomes(stream: IO[bytes], outcomes: Outcomes) -> None:
    """Write what an `OutcomesFile` reads."""
    arrays: dict[str, Any] = dict(outcomes.values)
    arrays |= {f"{_RESAMPLED}{name}": values for name, values in outcomes.resampled.items()}
    np.savez(stream, ids=outcomes.ids, **arrays)


class OutcomesFile:
    """The file's arrays, read one by one: those of a large study do not fit into memory.

    Args:
        path: the ``.npz`` file.
        record: what names it.

    Attributes:
        fingerprint: checksum and bytes of the list of items, which is most of many a file and the same in all that are compared;
            None where the file has none.
        resampled: ids of the metrics that have bootstrap values.

    Raises:
        InputError: if it cannot be read; so does every access.
    """

    def __init__(self, path: Path, record: Record) -> None:
        self.path = path
        # Files of schema 1 name their arrays as the metrics are shown.
        shown = {metric.name: metric.id for metric in record.metrics if metric.subset is None}
        with self._opened() as archive:
            members = {member.filename.removesuffix(_ARRAY): member for member in archive.infolist()}
        listed = members.pop(_IDS, None)
        self.fingerprint = (listed.CRC, listed.file_size) if listed else None
        self.resampled = frozenset(
            name.removeprefix(_RESAMPLED) for name in members if name.startswith(_RESAMPLED)
        )
        self._names = {shown.get(name, name): name for name in members if not name.startswith(_RESAMPLED)}

    @property
    def metrics(self) -> frozenset[str]:
        """Ids of the metrics that have outcomes."""
        return frozenset(self._names)

    def resamples(self, metrics: Iterable[str]) -> dict[str, NDArray[np.float32]]:
        """(resamples,) bootstrap values of each of some metrics."""
        with self._opened() as archive:
            return {metric: _array(archive, f"{_RESAMPLED}{metric}") for metric in metrics}

    def values(self, metrics: Iterable[str]) -> dict[str, NDArray[np.float64]]:
        """(n,) outcomes of each of some metrics."""
        with self._opened() as archive:
            return {
                metric: _array(archive, self._names[metric]).astype(float, copy=False) for metric in metrics
            }

    def means(self) -> dict[str, float | None]:
        """The mean of each metric's outcomes; None where some items have none."""
        with self._opened() as archive:
            return {
                metric: _mean(_array(archive, name).astype(float, copy=False))
                for metric, name in self._names.items()
            }

    def ids(self) -> NDArray[np.str_]:
        """(n,) items."""
        with self._opened() as archive:
            found: NDArray[np.str_] = _array(archive, _IDS).astype(str, copy=False)
        return found

    @contextmanager
    def _opened(self) -> Iterator[ZipFile]:
        try:
            with require_regular(self.path).open("rb") as stream, ZipFile(stream) as archive:
                yield archive
        except Exception as error:
            # Any bytes may lie there, and the readers raise anything from KeyError to BadZipFile.
            raise InputError(
                expected="per-item outcomes",
                where=self.path,
                found=f"what cannot be read: {first_line(error)}",
            ) from error


def require_agreement(record: Record) -> None:
    """Refuse a record that its own outcomes contradict: one of the two is of something else.

    Outcomes that are not there or cannot be read cost comparisons alone.

    Raises:
        InputError: if the mean of a metric's outcomes is not its value.
    """
    relative = record.files.outcomes
    if relative is None or record.path is None:
        return
    try:
        stored = OutcomesFile(file_beside(record.path, relative), record)
        means = stored.means()
    except InputError:
        return
    for metric in record.metrics:
        mean = means.get(metric.id) if metric.subset is None else None
        if metric.value is None or mean is None or math.isclose(mean, metric.value, abs_tol=_TOLERANCE):
            continue
        raise InputError(
            expected=f"{metric.id} of {metric.value:.4g} as the mean of its outcomes",
            where=stored.path,
            found=f"{mean:.4g}",
            remedy="one of the two files is of another evaluation; evaluate again",
        )


def _array(archive: ZipFile, name: str) -> NDArray[Any]:
    """What `numpy.load` reads, from memory: it copies a quarter of a megabyte at a time and parses every header anew."""
    content = archive.read(f"{name}{_ARRAY}")
    length = _BEFORE_HEADER + int.from_bytes(content[_BEFORE_HEADER - 2 : _BEFORE_HEADER], "little")
    shape, dtype = _header(content[:length])
    return np.frombuffer(content, dtype, offset=length).reshape(shape)


@lru_cache
def _header(content: bytes) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type, from the first bytes of a file of version 1.0, which all but structured arrays are written in."""
    stream = io.BytesIO(content)
    np.lib.format.read_magic(stream)
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    return shape, dtype


def _mean(values: NDArray[np.float64]) -> float | None:
    """None where some items have no outcome."""
    mean = float(values.mean()) if values.size else math.nan
    return mean if math.isfinite(mean) else None
