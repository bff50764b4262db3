"""What a layout of an image set is, and the class folders that most of them have."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
WITHOUT_SPLITS = "all"


class Content(NamedTuple):
    """What one split holds: an id for each item, and ``pixels`` or ``files`` relative to the set's folder.

    Without either, the ids are the files.
    """

    classes: list[str]
    ids: list[str]
    labels: NDArray[np.int64]
    pixels: NDArray[np.uint8] | None = None
    files: list[str] | None = None


class MaskFiles(NamedTuple):
    """Masks of one item's instances, and of the region that does not count, if any: paths that lie in the set's folder."""

    instances: list[Path]
    ignore: Path | None


class Located(NamedTuple):
    """Where the objects of a split's items are, in the order of its `Content`.

    ``boxes`` holds (k, 4) x0 y0 x1 y1 in pixels of the original image for each item; ``sizes`` (n, 2) the images'
    widths and heights, None where only the image files tell; ``source`` names the file to blame.
    """

    boxes: list[NDArray[np.float64]]
    sizes: NDArray[np.int64] | None
    masks: list[MaskFiles] | None
    source: Path


class Layout(NamedTuple):
    """The splits a folder holds, each with the function that indexes it, and those to evaluate on by default.

    ``locate`` gives the objects' boxes of a split's content, where the layout has any.
    """

    splits: dict[str, Callable[[], Content]]
    evaluate: tuple[str, ...] = ("test", "val", WITHOUT_SPLITS)
    locate: Callable[[str, Content], Located] | None = None


class ImageLayout:
    """A layout of images with classes, as ``NAME:PATH`` names it.

    Attributes:
        name: the KIND of ``KIND:PATH``.
        boxes: whether it says where the objects are.
    """

    name: ClassVar[str]
    boxes: ClassVar[bool] = False

    @staticmethod
    def read(path: Path) -> Layout:
        """The splits that a folder holds; nothing of them is read yet.

        Raises:
            InputError: if the folder does not hold the layout: what was expected, what was found, what to do.
        """
        raise NotImplementedError


def image_files(top: Path | str, prefix: str = "", above: tuple[str, ...] = ()) -> Iterator[str]:
    """Image files below a folder, relative to it; hidden ones and links back to a parent are left out."""
    real = os.path.realpath(top)
    if real in above:
        return
    with os.scandir(top) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from image_files(entry.path, f"{prefix}{entry.name}/", (*above, real))
            elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:
                yield prefix + entry.name


def listing(path: Path) -> str:
    """What lies in a folder, in a few words."""
    return some(sorted(os.listdir(path))) or "an empty folder"


def class_folders(path: Path, splits: list[str], classes: list[str], evaluate: tuple[str, ...]) -> Layout:
    """The layout of PATH/<split>/<class>/."""
    return Layout({name: partial(folder_content, path, name, classes) for name in splits}, evaluate)


def common_classes(path: Path, splits: list[str]) -> list[str]:
    """The class folders that every split has.

    Raises:
        InputError: if there are none, or the splits differ.
    """
    held = {split: set(folders(path / split)) for split in splits}
    every = set().union(*held.values())
    if not every:
        raise InputError(f"expected class folders in {path / splits[0]}, found {listing(path / splits[0])}")
    missing = [
        f"{split} lacks {some(sorted(every - classes))}" for split, classes in held.items() if every - classes
    ]
    if missing:
        raise InputError(
            f"class folders differ between the splits of {path}: {'; '.join(missing)}; give every split the same ones"
        )
    return sorted(every)


def folder_content(path: Path, split: str, classes: list[str]) -> Content:
    """The images in the class folders of a split.

    Raises:
        InputError: if a class has none.
    """
    top = path / split
    per_class = [sorted(image_files(top / name)) for name in classes]
    empty = [name for name, files in zip(classes, per_class, strict=True) if not files]
    if empty:
        raise InputError(
            f"expected images ({', '.join(sorted(SUFFIXES))}) in every class folder of {top}, found none in "
            f"{some(empty)}; add images or remove these folders from every split"
        )
    prefix = f"{split}/" if split else ""
    return Content(
        classes=classes,
        ids=[
            f"{prefix}{name}/{file}" for name, files in zip(classes, per_class, strict=True) for file in files
        ],
        labels=np.repeat(np.arange(len(classes), dtype=np.int64), [len(files) for files in per_class]),
    )


def folders(path: Path) -> list[str]:
    """Names of the folders in a folder, sorted; hidden ones are left out."""
    with os.scandir(path) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def some(names: list[str]) -> str:
    """The first few of some names."""
    return ", ".join(names[:5]) + (f", ... ({len(names)} in all)" if len(names) > 5 else "")
