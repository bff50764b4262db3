"""Images packed into a ``.tar``, ``.tar.gz`` or ``.zip``: unpacked once, into a folder of the user's cache and nowhere else."""

import hashlib
import json
import logging
import os
import re
import shutil
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from eval_suite.core.errors import InputError, first_line
from eval_suite.core.files import require_regular, user_cache
from eval_suite.core.machine import machine_error
from eval_suite.core.store import staging
from eval_suite.data.layouts.base import SUFFIXES

log = logging.getLogger(__name__)
_TAR = re.compile(r".*\.(tar|tgz|tar\.gz|tar\.bz2|tbz2|tar\.xz|txz)", re.IGNORECASE)
_TAKEN = SUFFIXES | {".mat"}
_LEFT_OUT = ".left_out.json"


class Member(NamedTuple):
    """A file in an archive: its name there, its size in bytes, and how it is opened."""

    name: str
    size: int
    open: Callable[[], IO[bytes] | None]


def is_archive(path: Path) -> bool:
    """Whether a file's name is that of a tar or zip archive."""
    return bool(_TAR.fullmatch(path.name)) or path.suffix.lower() == ".zip"


def unpacked(path: Path) -> tuple[Path, Counter[str]]:
    """The folder of an archive's images, and how many other files it has, by suffix.

    They are unpacked when they are asked for first, below ``$XDG_CACHE_HOME/eval-suite`` or ``~/.cache/eval-suite``, which
    is logged; links in the archive are left out.

    Raises:
        InputError: if the archive is damaged or locked, a name in it leads out of it, or there is no room.
    """
    real = require_regular(path).resolve()
    status = real.stat()
    key = hashlib.sha256(os.fsencode(f"{real}\0{status.st_size}\0{status.st_mtime_ns}")).hexdigest()[:12]
    base = user_cache("unpacked")
    folder = base / f"{path.name.partition('.')[0]}-{key}"
    with _damage_named(path):
        if not folder.is_dir():
            base.mkdir(parents=True, exist_ok=True)
            with _members(path) as members:
                _unpack(path, members, base, folder)
        left_out = json.loads((folder / _LEFT_OUT).read_text())
    return folder, Counter(left_out)


def unpack_all(path: Path, folder: Path) -> int:
    """Write every file of an archive into a folder, over those of the same name; links are left out.

    Returns:
        how many files.

    Raises:
        InputError: if the archive is damaged or locked, a name in it leads out of it, or there is no room.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _damage_named(path), _members(path) as members:
        _require_within(path, members)
        _require_room(path, folder, sum(each.size for each in members))
        for each in members:
            _write(each, folder)
        return len(members)


def require_room(folder: Path, needed: int, what: str, remedy: str) -> None:
    """Check that a file system has room.

    Raises:
        InputError: if not.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            expected=f"{needed / 2**30:.1f} GiB of room {what}",
            where=folder,
            found=f"{free / 2**30:.1f} GiB",
            remedy=remedy,
        )


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Whatever a reader raises over a damaged archive as one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001 - a damaged archive makes its reader raise anything from EOFError to zlib.error
        if worded := machine_error(error):
            raise worded from None
        raise InputError(
            expected="an archive that can be unpacked",
            where=path,
            found=first_line(error),
            remedy="fetch it again, or unpack it by hand and name the folder",
        ) from None


@contextmanager
def _members(path: Path) -> Iterator[list[Member]]:
    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path) as archive:
            yield [
                Member(info.filename, info.file_size, partial(archive.open, info))
                for info in archive.infolist()
                if not info.is_dir()
            ]
        return
    with tarfile.open(path) as archive_of_tape:
        yield [
            Member(info.name, info.size, partial(archive_of_tape.extractfile, info))
            for info in archive_of_tape.getmembers()
            if info.isfile()
        ]


def _require_within(path: Path, members: list[Member]) -> None:
    for each in members:
        place = PurePosixPath(each.name.replace("\\", "/"))
        if place.is_absolute() or ".." in place.parts or re.match(r"[A-Za-z]:", each.name):
            raise InputError(
                expected="an archive whose files lie within it",
                where=path,
                found=f"'{each.name}'",
                remedy="do not trust it; fetch it from its authors",
            )


def _require_room(path: Path, folder: Path, needed: int) -> None:
    remedy = "free some, or set XDG_CACHE_HOME to a folder elsewhere"
    require_room(folder, needed, f"to unpack {path}", remedy)


def _unpack(path: Path, members: list[Member], base: Path, folder: Path) -> None:
    """Write the images into a folder of their own, which gets its name when it is whole."""
    _require_within(path, members)
    # macOS puts a file ._NAME next to each.
    members = [each for each in members if not PurePosixPath(each.name).name.startswith(".")]
    suffixes = [PurePosixPath(each.name).suffix.lower() for each in members]
    wanted = [each for each, suffix in zip(members, suffixes, strict=True) if suffix in _TAKEN]
    left_out = Counter(suffix or "no suffix" for suffix in suffixes if suffix not in _TAKEN)
    if not wanted:
        raise InputError(
            expected="images",
            where=path,
            found=", ".join(f"{count:,} {suffix}" for suffix, count in left_out.items()) or "no file",
            remedy="name an archive of images, or unpack what is in it by hand",
        )
    _require_room(path, base, sum(each.size for each in wanted))
    log.warning(f"unpacking {len(wanted):,} images of {path} into {folder}")
    with staging(folder) as temporary:
        inside = temporary / "whole"
        inside.mkdir()
        for each in wanted:
            _write(each, inside)
        (inside / _LEFT_OUT).write_text(json.dumps(left_out))
        if not folder.is_dir():  # else another process was faster
            inside.rename(folder)


def _write(each: Member, folder: Path) -> None:
    target = folder / each.name
    target.parent.mkdir(parents=True, exist_ok=True)
    stream = each.open()
    assert stream is not None, "a regular file has content"
    with stream, target.open("wb") as out:
        shutil.copyfileobj(stream, out)
