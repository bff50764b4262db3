"""Downloading a file: it goes on where it was cut off, and gets its name only when it is whole and its hash is right."""

import hashlib
import http.client
import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from email.message import Message
from pathlib import Path
from typing import NamedTuple

from eval_suite.core.errors import EvalSuiteError, InputError, first_line
from eval_suite.core.runtime import progress
from eval_suite.core.store import write_json
from eval_suite.data.archives import require_room

log = logging.getLogger(__name__)
_CHUNK = 1 << 20
_TRIES = 5
_PAUSE_SECONDS = 1.0
_SILENCE_SECONDS = 60.0
_OK, _PARTIAL, _TOO_FAR, _TOO_MANY, _SERVER_FAULT = 200, 206, 416, 429, 500


class Published(NamedTuple):
    """What a file's publishers say of it: ``size`` in bytes, ``md5`` and ``sha256`` in hexadecimal; None where they do not."""

    size: int | None = None
    md5: str | None = None
    sha256: str | None = None

    @property
    def known(self) -> str:
        """By what the file is checked, for people."""
        if self.sha256 or self.md5:
            return "its hash"
        return (
            "its size alone: no hash is published"
            if self.size
            else "nothing: neither size nor hash is published"
        )


class _CutError(Exception):
    """The connection ended early, or the server asks to come back."""


def fetch(url: str, target: Path, published: Published, *, remedy: str) -> str:
    """Download a file, unless it lies there already.

    What was received before the connection, the process or the machine stopped lies in ``<target>.part``, and is not
    asked for again. It is given up where the server says that the file has changed since, or where nothing could tell a
    mixture of two files: no hash is published and the server names no version.

    Args:
        url: an http or https address; redirections are followed.
        target: the file, in a folder that is there.
        published: what it is checked by.
        remedy: what to do where the address is of no use, for the message.

    Returns:
        its SHA-256, in hexadecimal.

    Raises:
        InputError: if the address gives no file, a page for people, or one of another size or hash; if there is no room.
        EvalSuiteError: if the connection fails again and again; a later call goes on.
    """
    if target.is_file():
        return checked(target, published, remedy=f"remove {target}")
    part = target.with_name(f"{target.name}.part")
    tries = 0
    while True:
        before = _size(part)
        try:
            _go_on(url, part, published, target.name, remedy)
            break
        except _CutError as cut:
            tries = 0 if _size(part) > before else tries + 1
            if tries >= _TRIES:
                raise EvalSuiteError(
                    f"cannot download {url}: {cut}; try again later: {_size(part):,} bytes are kept and not asked for again"
                ) from None
            log.info("%s: %s; going on from byte %s", target.name, cut, f"{_size(part):,}")
            time.sleep(_PAUSE_SECONDS * 2 ** max(tries - 1, 0))
    try:
        digest = checked(
            part,
            published,
            remedy="it was removed: run this again, and if it stays so, do not trust the server",
        )
    except InputError:
        part.unlink()
        raise
    part.rename(target)
    _version_of(part).unlink(missing_ok=True)
    return digest


def checked(file: Path, published: Published, *, remedy: str) -> str:
    """The SHA-256 of a file that has the published size and hashes.

    Raises:
        InputError: if it has not.
    """
    if published.size is not None and _size(file) != published.size:
        raise InputError(
            expected=f"{published.size:,} bytes, as published",
            where=file,
            found=f"{_size(file):,}",
            remedy=remedy,
        )
    hashes = {"md5": hashlib.md5(usedforsecurity=False), "sha256": hashlib.sha256()}
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            for each in hashes.values():
                each.update(chunk)
    for name, expected in (("md5", published.md5), ("sha256", published.sha256)):
        if expected is not None and hashes[name].hexdigest() != expected.lower():
            raise InputError(
                expected=f"the {name} {expected}, as published",
                where=file,
                found=hashes[name].hexdigest(),
                remedy=remedy,
            )
    return hashes["sha256"].hexdigest()


def _go_on(url: str, part: Path, published: Published, name: str, remedy: str) -> None:
    """Append what is missing of a file.

    Raises:
        _CutError: if it ended early, so that it pays to try again.
    """
    version = _read_version(part)
    same_for_sure = bool(published.md5 or published.sha256 or version.get("version"))
    had = _size(part) if version.get("url") == url and same_for_sure else 0
    if had and had == published.size:
        return
    headers = {"User-Agent": "eval-suite", "Accept-Encoding": "identity"}
    if had:
        headers["Range"] = f"bytes={had}-"
        if version.get("version"):
            headers["If-Range"] = version["version"]
    try:
        response = _open(urllib.request.Request(url, headers=headers))
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == _TOO_FAR and had:
            if _total(error.headers) == had:
                return
            part.unlink()
            raise _CutError("the file has another length than before") from None
        if error.code == _TOO_MANY or error.code >= _SERVER_FAULT:
            raise _CutError(f"the server answers {error.code} {error.reason}") from None
        raise InputError(
            expected=f"a file at {url}", found=f"{error.code} {error.reason}", remedy=remedy
        ) from None
    except (OSError, http.client.HTTPException) as error:
        raise _CutError(first_line(getattr(error, "reason", None) or error)) from None
    with response:
        if response.headers.get_content_type() == "text/html":
            raise InputError(expected=f"a file at {url}", found="a page for people", remedy=remedy)
        if response.status != _PARTIAL or not (response.headers.get("Content-Range") or "").startswith(
            f"bytes {had}-"
        ):
            had = 0
            if response.status == _PARTIAL:
                raise _CutError("the server gives another part than the one asked for")
        length = response.headers.get("Content-Length")
        total = had + int(length) if length and length.isdecimal() else published.size
        if (
            None not in (total, published.size)
            and total != published.size
            and not (published.md5 or published.sha256)
        ):
            raise InputError(
                expected=f"{published.size:,} bytes, as published, at {url}",
                found=f"{total:,}",
                remedy=remedy,
            )
        if total is not None:
            require_room(
                part.parent, total - had, f"for {name}", "free some, or choose another folder with --out"
            )
        strong = response.headers.get("ETag") or ""
        seen = (
            strong if strong and not strong.startswith("W/") else response.headers.get("Last-Modified") or ""
        )
        write_json(_version_of(part), {"url": url, "version": seen})
        with part.open("ab" if had else "wb") as out:
            chunks = _chunks(response)
            known = -(-total // _CHUNK) if total is not None else 1
            shown = progress(chunks, known, name, first=had // _CHUNK) if total is not None else chunks
            for chunk in shown:
                out.write(chunk)
        if total is not None and _size(part) < total:
            raise _CutError("the connection ended early")


def _open(request: urllib.request.Request) -> http.client.HTTPResponse:
    """The answer to a request, over http and https alone."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    response: http.client.HTTPResponse = opener.open(request, timeout=_SILENCE_SECONDS)
    return response


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    try:
        while chunk := response.read(_CHUNK):
            yield chunk
    except (OSError, http.client.HTTPException) as error:
        raise _CutError(first_line(error)) from None


def _total(headers: Message) -> int | None:
    """The whole length, of ``Content-Range: bytes */1234``."""
    text = (headers.get("Content-Range") or "").rpartition("/")[2]
    return int(text) if text.isdecimal() else None


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def _version_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read_version(part: Path) -> dict[str, str]:
    with suppress(OSError, ValueError):
        content = json.loads(_version_of(part).read_text("utf-8"))
        return content if isinstance(content, dict) else {}
    return {}
