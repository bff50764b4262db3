"""Decoded pixels at one geometry, kept in files, so that every pass over a set after the first reads memory.

A folder for a geometry holds segments: files that are written under another name and get their own once they are whole, and that
never change. Pixels are found by what an image file was when it was read (path, size, times), not by its set, so that
subsets and splits share them, and a file that has changed is read again.
"""

import hashlib
import json
import logging
import os
import shutil
import socket
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from importlib import metadata
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError, first_line
from eval_suite.core.files import user_cache
from eval_suite.core.processes import identity, is_running
from eval_suite.core.runtime import OFF, ON
from eval_suite.data.images import ImageIndex

log = logging.getLogger(__name__)

_KEY_BYTES = 16
_SEGMENT_BYTES = 2**28  # what a process that is killed loses at most
_WORTH_BYTES = 2**26  # smaller sets are read in seconds, and are kept only where a folder is named
_FREE_SHARE = 0.5
_SUFFIX = ".pixels"


class PixelCache:
    """The kept pixels of an image set at one geometry.

    Args:
        folder: of the geometry.
        index: the set.
        size: (height, width) of the pixels.
    """

    def __init__(self, folder: Path, index: ImageIndex, size: tuple[int, int]) -> None:
        self.folder, self._size = folder, size
        self._row_bytes = 3 * size[0] * size[1]
        self._keys = _keys_of(index)
        self._look()

    def holds(self, positions: NDArray[np.int64]) -> bool:
        """Whether all images at (n,) positions are kept."""
        return bool((self._segment[positions] >= 0).all())

    def pixels(self, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(n, 3, height, width) of images that are kept."""
        segments, rows = self._segment[positions], self._row[positions]
        if (segments == segments[0]).all():
            return self._segments[segments[0]][rows]
        found = np.empty((len(positions), 3, *self._size), np.uint8)
        for number in np.unique(segments):
            here = segments == number
            found[here] = self._segments[number][rows[here]]
        return found

    def one(self, position: int) -> NDArray[np.uint8] | None:
        """(3, height, width) of an image, None where it is not kept."""
        number = self._segment[position]
        return None if number < 0 else self._segments[number][self._row[position]]

    @contextmanager
    def filling(self, positions: NDArray[np.int64]) -> Iterator["_Filler | None"]:
        """What takes the pixels of the images at (n,) positions that are not kept yet; None where none may be written.

        Segments are complete however the pass ends. Where another process reads the same images, only that one writes.
        """
        missing = np.unique(positions[self._segment[positions] < 0])
        filler: _Filler | None = None
        lock: IO[str] | None = None
        try:
            if self._has_room(len(missing)):
                lock = self._locked(missing)
            if lock is not None:
                _remove_leftovers(self.folder)
                filler = _Filler(self.folder, self._row_bytes)
            yield filler
        finally:
            if filler is not None:
                filler.publish()
                self._look()
            if lock is not None:
                with suppress(OSError):
                    Path(lock.name).unlink()
                lock.close()

    def keys(self, positions: list[int]) -> list[bytes]:
        """What images are found by."""
        return [self._keys[position].tobytes() for position in positions]

    def _look(self) -> None:
        """Find where the set's images lie among all segments; one that is no whole number of rows and keys is not used."""
        self._segments: list[NDArray[np.uint8]] = []
        self._segment = np.full(len(self._keys), -1)
        self._row = np.zeros(len(self._keys), np.int64)
        kept: list[NDArray[np.void]] = []
        for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
            try:
                content = np.memmap(path, np.uint8, "r")
            except (OSError, ValueError):
                continue
            count, rest = divmod(len(content), self._row_bytes + _KEY_BYTES)
            if count and not rest:
                pixels = count * self._row_bytes
                kept.append(np.array(content[pixels:]).view(f"V{_KEY_BYTES}"))
                self._segments.append(content[:pixels].reshape(count, 3, *self._size))
        if not kept:
            return
        keys, counts = np.concatenate(kept), [len(each) for each in kept]
        order = np.argsort(keys, kind="stable")
        at = order[np.searchsorted(keys[order], self._keys).clip(None, len(keys) - 1)]
        here = keys[at] == self._keys
        self._segment[here] = np.repeat(np.arange(len(counts)), counts)[at[here]]
        self._row[here] = np.concatenate([np.arange(count) for count in counts])[at[here]]

    def _has_room(self, images: int) -> bool:
        needed = images * self._row_bytes
        if not needed:
            return False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            log.warning(f"pixels are not kept in {self.folder}: {error.strerror}")
            return False
        height, width = self._size
        what = f"the pixels of {images:,} images at {height}x{width}, {needed / 2**30:.2f} GiB,"
        if needed > _FREE_SHARE * free:
            log.warning(
                f"{what} are not kept: {self.folder} has {free / 2**30:.2f} GiB, of which half may be used"
            )
            return False
        log.info(f"{what} are kept in {self.folder}")
        return True

    def _locked(self, missing: NDArray[np.int64]) -> IO[str] | None:
        name = hashlib.blake2b(self._keys[missing].tobytes(), digest_size=8).hexdigest()
        try:
            stream = (self.folder / f".{name}.lock").open("a+")
            flock(stream, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            stream.close()
            log.info(f"another process keeps these pixels in {self.folder}")
            return None
        except OSError as error:
            log.warning(f"pixels are not kept in {self.folder}: {error.strerror or first_line(error)}")
            return None
        return stream


class _Filler:
    """Writes pixels into new segments of a folder, until that fails."""

    def __init__(self, folder: Path, row_bytes: int) -> None:
        self._folder, self._row_bytes = folder, row_bytes
        self._name = f".{identity()}@{socket.gethostname()}.tmp"
        self._stream: IO[bytes] | None = None
        self._keys: list[bytes] = []
        self._failed = False

    def add(self, keys: list[bytes], pixels: NDArray[np.uint8]) -> None:
        """Keep (n, 3, height, width) pixels under n keys."""
        if self._failed or not keys:
            return
        with self._giving_up():
            if self._stream is None:
                self._stream = (self._folder / f"{self._name}{uuid.uuid4().hex}").open("xb")
            self._stream.write(np.ascontiguousarray(pixels).data)
            self._keys += keys
            if len(self._keys) * self._row_bytes >= _SEGMENT_BYTES:
                self.publish()

    def publish(self) -> None:
        """Give what was written the name of a segment."""
        if self._stream is None:
            return
        with self._giving_up():
            self._stream.write(b"".join(self._keys))
            self._stream.flush()
            os.fsync(self._stream.fileno())  # the name must not reach the disk before the content
            self._stream.close()
            Path(self._stream.name).rename(self._folder / f"{uuid.uuid4().hex}{_SUFFIX}")
            self._stream, self._keys = None, []

    @contextmanager
    def _giving_up(self) -> Iterator[None]:
        """Without space, or in a folder that has gone, the pass goes on and keeps nothing more."""
        try:
            yield
        except OSError as error:
            self._failed = True
            log.warning(
                f"no further pixels are kept in {self._folder}: {error.strerror or first_line(error)}"
            )
            if self._stream is not None:
                with suppress(OSError):
                    self._stream.close()
                with suppress(OSError):
                    Path(self._stream.name).unlink()
                self._stream = None


def pixel_cache(
    where: str, index: ImageIndex, size: tuple[int, int], geometry: Mapping[str, Any]
) -> PixelCache | None:
    """The kept pixels of a set, or None where none are to be kept.

    Args:
        where: ``off``; ``on`` for the user's cache, without sets below 64 MiB; or a folder.
        index: the set.
        size: (height, width) of its pixels.
        geometry: what decides the pixels besides the image files.

    Raises:
        InputError: if the folder's name is that of a file.
    """
    if where == OFF or (where == ON and len(index) * 3 * size[0] * size[1] < _WORTH_BYTES):
        return None
    base = user_cache("pixels") if where == ON else Path(where).expanduser()
    if base.exists() and not base.is_dir():
        raise InputError(
            expected="a folder for --cache", found=f"the file {base}", remedy="name another, or off"
        )
    versions = {name: metadata.version(name) for name in ("pillow", "torchvision")}
    about = json.dumps({"format": 1, "size": size, **geometry, **versions}, sort_keys=True)
    folder = base / f"{size[0]}x{size[1]}-{hashlib.sha256(about.encode()).hexdigest()[:12]}"
    return PixelCache(folder, index, size)


def _keys_of(index: ImageIndex) -> NDArray[np.void]:
    """What images are found by, (n,) of 16 bytes: a file's path, size and times, or the pixels in memory themselves."""

    def digest(content: bytes) -> bytes:
        return hashlib.blake2b(content, digest_size=_KEY_BYTES).digest()

    if index.pixels is not None:
        shape = repr(index.pixels.shape[1:]).encode()
        found = [digest(shape + np.ascontiguousarray(pixels).tobytes()) for pixels in index.pixels]
    else:
        found = [digest(_file_facts(path)) for path in index.paths or []]
    return np.frombuffer(b"".join(found), f"V{_KEY_BYTES}")


def _file_facts(path: Path) -> bytes:
    # The time of the last change of state too: a copy that keeps the time of its content still sets that.
    try:
        facts = os.stat(path)
    except OSError:
        return os.fsencode(f"{os.path.abspath(path)}\0missing")
    return os.fsencode(f"{os.path.abspath(path)}\0{facts.st_size}\0{facts.st_mtime_ns}\0{facts.st_ctime_ns}")


def _remove_leftovers(folder: Path) -> None:
    """What processes of this machine that were killed had begun to write."""
    for path in folder.glob(".*.tmp*"):
        owner, _, host = path.name[1:].partition("@")
        if host.partition(".tmp")[0] == socket.gethostname() and not is_running(owner):
            path.unlink(missing_ok=True)
