"""Where things lie on disk, and how they are written: whole or not at all."""

import fcntl
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from pydantic import ValidationError

from eval_suite.core.cards import BackboneCard
from eval_suite.core.errors import BusyError, EvalSuiteError, InputError, first_line
from eval_suite.core.files import read_file
from eval_suite.core.outcomes import require_agreement
from eval_suite.core.processes import identity, is_running
from eval_suite.core.records import Record
from eval_suite.core.schema1 import upgraded

# What Python makes of the bytes of a file name that are not UTF-8, and what no UTF-8 file may hold.
_NOT_UTF8 = re.compile("[\ud800-\udfff]")
_ONE_LINE = 500  # characters; a metric has some 350
_ORPHANS_END_SECONDS = 20.0
_HELD = ".held"
_Model = TypeVar("_Model", Record, BackboneCard)


@dataclass(frozen=True)
class Cell:
    """One backbone at one seed in one suite: the unit everything on disk is filed under."""

    suite: str
    backbone: str
    seed: int
    root: Path = Path()

    @property
    def name(self) -> str:
        """``<backbone>-s<seed>``."""
        return f"{self.backbone}-s{self.seed}"

    @property
    def checkpoint(self) -> Path:
        """Folder of the trained backbone and of the parts that tasks fine-tune."""
        return self.root / "checkpoints" / self.suite / self.name

    @property
    def report(self) -> Path:
        """Folder of the suite's report."""
        return self.root / "reports" / self.suite

    @property
    def results(self) -> Path:
        """Folder of this backbone's records."""
        return self.report / "results" / self.name

    def record(self, task: str) -> Path:
        """The record of one task; its predictions and pictures lie in the folder of the same name."""
        return self.results / f"{task}.json"


@contextmanager
def atomic_write(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file next to ``path`` and rename it onto ``path`` once all is on disk.

    A reader sees the old content or the new, never a part. On any error the temporary file is removed, and what killed
    processes left of theirs before the next one is begun.

    Raises:
        EvalSuiteError: if the folder cannot be written or the disk is full.
    """
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned_of(path)
        handle, temporary = _held_temporary(path)
        with os.fdopen(handle, mode, encoding=None if "b" in mode else "utf-8") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            os.fchmod(stream.fileno(), 0o644)
            Path(temporary).replace(path)  # while it is held
        temporary = None
        _sync_folder(path.parent)
    except OSError as error:
        raise EvalSuiteError(
            f"cannot write {path}: {error.strerror or first_line(error)}; free some space or choose another folder"
        ) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                Path(temporary).unlink()


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """A folder next to ``target`` to build in what is renamed to it when it is whole.

    What is left of it afterwards is removed, and first what killed processes left of theirs.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned_of(target)
    folder = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp"))
    try:
        # Locked before it has its name, so that no other process finds it free.
        with (folder / ".locking").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (folder / ".locking").rename(folder / _HELD)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _held_temporary(path: Path) -> tuple[int, str]:
    """A new file next to a path, open and locked until it is closed."""
    while True:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        with suppress(OSError):  # some network file systems cannot; nothing is removed there either
            fcntl.flock(handle, fcntl.LOCK_EX)
        if Path(name).exists():  # or it was taken for an abandoned one before it was locked
            return handle, name
        os.close(handle)


def _remove_abandoned_of(target: Path) -> None:
    """What killed processes began to write for a target and nobody holds any more."""
    begin = f".{target.name}."
    for left in target.parent.iterdir():
        if left.name.startswith(begin) and left.name.endswith(".tmp"):
            with suppress(OSError), (left / _HELD if left.is_dir() else left).open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left) if left.is_dir() else left.unlink()


def _sync_folder(folder: Path) -> None:
    """Have the folder's entries on disk: without it a renamed file may be gone after the power failed."""
    with suppress(OSError):  # some network file systems cannot
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Write strict JSON (no NaN, no infinity) atomically; file names that are not UTF-8 with their bytes as ``\\xe9``.

    Raises:
        ValueError: if the value holds a number JSON cannot express.
    """
    text = _lines(value, "\n")
    with atomic_write(path) as stream:
        stream.write(_NOT_UTF8.sub(lambda found: f"\\\\x{ord(found[0]) & 0xFF:02x}", text) + "\n")


def write_json_if_changed(path: Path, value: Any) -> bool:
    """Write strict JSON only where the content differs, so that the file's time tells of real changes."""
    if not would_change(path, value):
        return False
    with atomic_write(path) as stream:
        stream.write(_sorted_json(value))
    return True


def would_change(path: Path, value: Any) -> bool:
    """Whether `write_json_if_changed` would write."""
    return not path.is_file() or path.read_text("utf-8") != _sorted_json(value)


def write_record(path: Path, result: Record) -> None:
    """Write a record atomically."""
    write_json(path, result.model_dump(mode="json", by_alias=True))


def read_record(path: Path | str) -> Record:
    """Read and validate a record, of this schema or of the one before: what shows or compares its numbers gets it here.

    Raises:
        InputError: if the file is no record, or its per-item outcomes contradict it.
    """
    record = _read_model(Path(path), Record, "a record of schema 2", upgrade=_upgraded).at(Path(path))
    require_agreement(record)
    return record


def read_card(folder: Path) -> BackboneCard:
    """Read the card of a checkpoint folder.

    Raises:
        InputError: if there is no readable card.
    """
    return _read_model(folder / "card.json", BackboneCard, "a backbone's card")


def read_finished(folder: Path, digest: str, seed: int) -> BackboneCard | None:
    """The card of the training of that digest and seed, where it lies finished in a folder.

    Raises:
        InputError: if there is a card that cannot be read.
    """
    if not (folder / "card.json").is_file():
        return None
    card = read_card(folder)
    trained = card.training or {}
    same = (trained.get("digest"), trained.get("seed")) == (digest, seed)
    return card if same and (folder / "model.safetensors").is_file() else None


@contextmanager
def exclusive(folder: Path, purpose: str) -> Iterator[None]:
    """Hold a folder against other runs of this suite; released when the process ends, however it ends.

    Raises:
        BusyError: if another process holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / ".lock").open("a+")
    except OSError as error:
        raise EvalSuiteError(f"cannot write to {folder}: {error.strerror}; choose another folder") from error
    with stream:
        _hold(stream, folder, purpose)
        _remove_leftovers(folder)
        stream.truncate(0)
        stream.write(identity())
        stream.flush()
        yield


def _remove_leftovers(folder: Path) -> None:
    """What a holder that was killed had begun to write in the folder, or as the record next to it, which has its name."""
    # Folders inside that have a lock of their own may be in use.
    inside = [each for each in folder.iterdir() if each.is_dir() and not (each / ".lock").exists()]
    of_record = folder.parent.glob(f".{folder.name}.json.*.tmp")
    for left in (*(path for each in (folder, *inside) for path in each.glob(".*.tmp")), *of_record):
        left.unlink(missing_ok=True)


def _hold(stream: IO[str], folder: Path, purpose: str) -> None:
    """Lock an open file; the children of a holder that was killed may keep its lock for a moment."""
    deadline = time.monotonic() + _ORPHANS_END_SECONDS
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            stream.seek(0)
            holder = stream.read().strip()
            if not holder or is_running(holder) or time.monotonic() > deadline:
                raise BusyError(
                    f"{folder} is in use: process {holder.partition('-')[0] or 'unknown'} is already {purpose} there; "
                    "wait for it or stop it"
                ) from None
            time.sleep(0.2)
        except OSError as error:
            raise EvalSuiteError(
                f"cannot lock {folder}: {error.strerror}; choose a folder on a file system with locks"
            ) from error


def safe_name(text: str) -> str:
    """A file name made from any text: letters, digits, dot, dash and underscore."""
    return _plain(text) or "unnamed"


def cell_name(given: str | None, default: str) -> str:
    """The name that a backbone's files go by: as a user gave it, else made from a file's name or another source.

    Raises:
        InputError: if nothing is left of the given name, so that different ones would be one.

    Example:
        >>> cell_name("my net", "weights"), cell_name(None, "weights")
        ('my-net', 'weights')
    """
    if given and not _plain(given):
        raise InputError(
            expected="a name with Latin letters or digits, as files are named by it",
            found=f"'{given}'",
            remedy="give another --name",
        )
    return safe_name(given or default)


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")


def _lines(value: Any, newline: str) -> str:
    """JSON with what is short, such as a metric, on one line, so that a record is read, searched and compared by lines."""
    line = json.dumps(value, allow_nan=False, ensure_ascii=False)
    if len(line) <= _ONE_LINE or not isinstance(value, dict | list):
        return line
    inner = newline + " "
    if isinstance(value, dict):
        parts = [
            f"{json.dumps(str(key), ensure_ascii=False)}: {_lines(part, inner)}"
            for key, part in value.items()
        ]
        return "{" + inner + ("," + inner).join(parts) + newline + "}"
    return "[" + inner + ("," + inner).join(_lines(part, inner) for part in value) + newline + "]"


def _sorted_json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def _upgraded(content: Any) -> Any:
    old = isinstance(content, dict) and content.get("schema") == 1
    return upgraded(content) if old else content


def _read_model(
    path: Path, model: type[_Model], what: str, upgrade: Callable[[Any], Any] | None = None
) -> _Model:
    try:
        text = read_file(path)
        try:
            return model.model_validate_json(text)
        except ValidationError:
            if upgrade is None:
                raise
            with suppress(ValueError, KeyError, TypeError, AttributeError):  # worded by the validation below
                text = json.dumps(upgrade(json.loads(text))).encode()
            return model.model_validate_json(text)
    except FileNotFoundError:
        raise InputError(expected=f"{what} at {path}", found="no such file") from None
    except OSError as error:
        raise InputError(f"cannot read {what} at {path}: {error.strerror or first_line(error)}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(
            expected=f"{what}", where=path, found=f"a fault at '{where}': {first['msg']}"
        ) from None
