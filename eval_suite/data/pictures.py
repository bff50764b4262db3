"""A few pictures to show with the numbers: the same items for every backbone on the same data."""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eval_suite.core.errors import first_line
from eval_suite.core.store import atomic_write, safe_name

log = logging.getLogger(__name__)

# A file system takes names of 255 bytes, of which a name of a task's part and of a temporary file want some.
_LONGEST_NAME, _KEPT = 180, 120


@contextmanager
def never_failing(task: str) -> Iterator[None]:
    """Whatever goes wrong inside ends there with a warning: example pictures and what they say decide no result.

    Args:
        task: whose pictures they are.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 - pictures fail no result
        log.warning(f"{task}: example pictures left out, which changes no number: {first_line(error)}")


def spread_evenly(n: int, count: int) -> NDArray[np.int64]:
    """At most ``count`` different places spread evenly over n items, first and last included."""
    return np.unique(np.linspace(0, n - 1, min(n, count)).round().astype(np.int64))


def picture_name(item: str) -> str:
    """The file name under which an item's picture lies; equal for every backbone, and another for every item."""
    name = safe_name(item)
    if len(name) > _LONGEST_NAME or name != item.replace("/", "-"):
        name = f"{name[:_KEPT]}-{hashlib.sha256(item.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"
    return f"{name}.png"


def save_pictures(folder: Path, pictures: Mapping[str, Image.Image], longest_side: int = 160) -> None:
    """Write pictures as PNG into a folder, and remove those of other items that lie there.

    Args:
        folder: where they go, by convention ``examples/`` in the task's folder.
        pictures: by file name; those with a longer side are scaled down.
        longest_side: in pixels.
    """
    for old in folder.glob("*.png"):
        if old.name not in pictures:
            old.unlink()
    for name, picture in pictures.items():
        shown = picture.copy()
        shown.thumbnail((longest_side, longest_side))
        with atomic_write(folder / name, "wb") as stream:
            shown.save(stream, "PNG")
