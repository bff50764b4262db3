"""Files that people name: only regular ones are opened, since a pipe or a device may never end."""

import errno
import os
import stat
from pathlib import Path

from eval_suite.core.errors import InputError, first_line


def require_regular(path: Path) -> Path:
    """The path, if what lies there is a regular file.

    Raises:
        OSError: if it is a pipe, a device, a socket or a folder, or there is nothing.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "a pipe or a device, not a regular file", str(path))
    return path


def read_file(path: Path) -> bytes:
    """The content of a regular file.

    Raises:
        OSError: if it cannot be read, or is none.
    """
    return require_regular(path).read_bytes()


def file_beside(path: Path, relative: str, *within: Path) -> Path:
    """A file that another file names.

    Args:
        path: the file that names it.
        relative: the name, relative to its folder.
        within: further folders where it may lie.

    Raises:
        InputError: if it lies elsewhere, or does not exist.
    """
    try:
        home = path.parent.resolve()
        named = (home / relative).resolve()
        inside = named.is_relative_to(home) or any(named.is_relative_to(each.resolve()) for each in within)
    except (OSError, ValueError, RuntimeError) as error:  # the last of links in a circle, before Python 3.13
        raise InputError(f"'{relative}' is no usable path: {first_line(error)}") from error
    if not inside:
        raise InputError(f"'{relative}' leaves the results folder; it was not read")
    if not named.is_file():
        raise InputError(f"'{relative}' does not exist")
    return named


def user_cache(name: str) -> Path:
    """The folder of that name below ``$XDG_CACHE_HOME/eval-suite`` or ``~/.cache/eval-suite``; it may not be there yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "eval-suite" / name
