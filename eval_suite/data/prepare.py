"""Data sets by name: fetched, checked and unpacked into the layout that commands and suites expect."""

import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, TypeAdapter, model_validator

from eval_suite.core.errors import InputError, unknown_name
from eval_suite.core.store import exclusive, write_json
from eval_suite.core.yaml_files import read_yaml_file
from eval_suite.data.archives import require_room, unpack_all
from eval_suite.data.fetching import Published, checked, fetch

log = logging.getLogger(__name__)
LIST = Path(__file__).with_name("downloads.yaml")
MARK = "prepared.json"
_WORK = ".prepare"


class DataFile(BaseModel):
    """One file of a set.

    Attributes:
        url: its address; None for one that a person has to download.
        name: what it is called; by default the end of the address.
        bytes: its size, if published.
        md5: its hash, if published.
        sha256: its hash, if published.
        source: who published the hash, where it was not the set's authors.
        into: the folder in the set that it is unpacked into.
        keep: whether it stays as it is rather than being unpacked.
        nested: whether it holds archives, each to be unpacked into a folder of its name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str | None = None
    name: str = ""
    bytes: int | None = None
    md5: str | None = None
    sha256: str | None = None
    source: str = ""
    into: str = ""
    keep: bool = False
    nested: bool = False

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and not given.get("name"):
            return {**given, "name": unquote(urlsplit(given.get("url") or "").path).rpartition("/")[2]}
        return given

    @property
    def published(self) -> Published:
        """What it is checked by."""
        return Published(self.bytes, self.md5, self.sha256)


class DataSet(BaseModel):
    """A set that can be prepared; see the head of ``downloads.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    home: str
    licence: str
    folder: str
    within: str = ""
    unpacked: int | None = None
    use: list[str]
    by_hand: str = ""
    files: list[DataFile]

    @property
    def room(self) -> int:
        """Bytes that it takes unpacked, as far as they are known."""
        return sum(file.bytes or 0 for file in self.files) if self.unpacked is None else self.unpacked

    @property
    def size(self) -> str:
        """How much is downloaded, as far as it is known before."""
        known = [file.bytes for file in self.files if file.bytes is not None]
        gib = f"{sum(known) / 2**30:.2f} GiB" if known else "of unknown size"
        return (
            gib
            if not known or len(known) == len(self.files)
            else f"{gib} and {len(self.files) - len(known)} more"
        )


class Prepared(NamedTuple):
    """Where a set lies, and what commands and suites call it."""

    folder: Path
    use: list[str]


@cache
def download_list(path: Path = LIST) -> dict[str, DataSet]:
    """The sets that can be prepared, by name."""
    return TypeAdapter(dict[str, DataSet]).validate_python(read_yaml_file(path))


def prepare(name: str, out: Path = Path("data"), sets: Mapping[str, DataSet] | None = None) -> Prepared:
    """Fetch a data set, unless it is there already.

    It is put together in ``OUT/.prepare/NAME`` and gets its place when it is whole, with a file ``prepared.json`` that says
    what it was made of. Killed at any moment, the same call goes on.

    Args:
        name: as ``eval-suite data prepare --list`` has it.
        out: the folder for all sets.
        sets: those to choose from; by default ours.

    Raises:
        InputError: if the name is unknown, a person has to agree to the licence first, something else lies at the set's
            place, there is no room, or a file is not what was published.
        EvalSuiteError: if the connection fails; the same call goes on later.
        BusyError: if another process is preparing the set.

    Example:
        >>> prepare("cifar10").use  # doctest: +SKIP
        ['cifar10:data/cifar10']
    """
    known = download_list() if sets is None else sets
    if name not in known:
        raise unknown_name("data set", name, known, listed_by="eval-suite data prepare --list")
    chosen = known[name]
    final, work = out / chosen.folder, out / _WORK / name
    prepared = Prepared(final, [text.replace("{}", str(final)) for text in chosen.use])
    if (final / MARK).is_file():
        shutil.rmtree(work, ignore_errors=True)
        log.info(f"{chosen.title} is there already: {final}")
        return prepared
    if final.exists() and (not final.is_dir() or any(final.iterdir())):
        raise InputError(
            expected=f"no files yet at {final}",
            found="some that this command did not put there",
            remedy="use them as they are, remove them, or choose another folder with --out",
        )
    log.info(f"{chosen.title}: {chosen.size}; licence: {chosen.licence}; see {chosen.home}")
    with exclusive(work, f"preparing {name}"):
        _put_together(chosen, out, work, final)
    shutil.rmtree(work, ignore_errors=True)
    return prepared


def _put_together(chosen: DataSet, out: Path, work: Path, final: Path) -> None:
    whole = work / "unpacked"
    whole.mkdir(exist_ok=True)
    waiting = [file for file in chosen.files if not _done(work, file).is_file()]
    _require_downloaded(chosen, waiting, out, final)
    missing = sum(file.bytes or 0 for file in waiting if file.url)
    require_room(
        out,
        missing + (chosen.room if waiting else 0),
        f"for {chosen.title} and its archives",
        "free some, or choose another folder with --out",
    )
    for file in waiting:
        with _archive(file, chosen, out, work) as (archive, digest):
            target = whole / file.into
            target.mkdir(parents=True, exist_ok=True)
            if file.keep:
                shutil.copyfile(archive, target / file.name)
            else:
                log.info(f"unpacking {file.name}")
                unpack_all(archive, target)
            for inner in sorted(target.glob("*.tar")) if file.nested else ():
                unpack_all(inner, target / inner.stem)
                inner.unlink()
            write_json(
                _done(work, file), {"url": file.url, "sha256": digest, "checked_by": file.published.known}
            )
    made_of = {file.name: read_yaml_file(_done(work, file)) for file in chosen.files}
    inside = whole / chosen.within
    if not inside.is_dir():
        raise InputError(
            expected=f"a folder {chosen.within} in the archives of {chosen.title}",
            found=", ".join(sorted(path.name for path in whole.iterdir())) or "nothing",
            remedy=f"see {chosen.home}",
        )
    write_json(inside / MARK, {"title": chosen.title, "licence": chosen.licence, "files": made_of})
    final.parent.mkdir(parents=True, exist_ok=True)
    inside.rename(final)


@contextmanager
def _archive(file: DataFile, chosen: DataSet, out: Path, work: Path) -> Iterator[tuple[Path, str]]:
    """A file and its hash; one that was fetched is removed after it was used."""
    if file.url is None:
        archive = out / file.name
        yield archive, checked(archive, file.published, remedy="download it again")
        return
    archive = work / file.name
    if not (file.md5 or file.sha256):
        log.warning(f"{file.name} is checked by {file.published.known}")
    remedy = f"see {chosen.home}, or download it by hand to {archive} and run this again"
    digest = fetch(file.url, archive, file.published, remedy=remedy)
    try:
        yield archive, digest
    except InputError:  # a damaged one is of no use to the next call
        archive.unlink()
        raise
    archive.unlink()


def _require_downloaded(chosen: DataSet, files: list[DataFile], out: Path, final: Path) -> None:
    """Refuse a set whose licence wants a person until that person has downloaded it."""
    missing = [file.name for file in files if file.url is None and not (out / file.name).is_file()]
    if missing:
        raise InputError(
            expected=f"{', '.join(missing)} in {out}, which a person has to download ({chosen.licence})",
            found="none",
            remedy=f"{chosen.by_hand} to {out}, then run this again: it checks them and unpacks them to {final}",
        )


def _done(work: Path, file: DataFile) -> Path:
    return work / f"{file.name}.done"
