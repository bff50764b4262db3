"""What a layout of an image set is, and the class folders that most of them have."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import AmbiguousError, InputError

SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".bmp",
        ".webp",
        ".gif",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".jp2",
        ".avif",
    ]
)
"""Of files that Pillow reads as images."""
WITHOUT_SPLITS = "all"
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "eval": "val",
    "evaluation": "val",
    "test": "test",
    "testing": "test",
}
"""What folders of splits are called in small letters, and the split that each means."""


class Content(NamedTuple):
    """What one split holds: an id for each item, and ``pixels`` or ``files`` relative to the set's folder.

    Without either, the ids are the files. ``notes`` tells what was assumed or left out.
    """

    classes: list[str]
    ids: list[str]
    labels: NDArray[np.int64]
    pixels: NDArray[np.uint8] | None = None
    files: list[str] | None = None
    notes: tuple[str, ...] = ()


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


def image_files(
    top: Path | str, skipped: Counter[str] | None = None, prefix: str = "", above: tuple[str, ...] = ()
) -> Iterator[str]:
    """Image files below a folder, relative to it; hidden ones and links back to a parent are left out.

    Args:
        top: the folder.
        skipped: counts the other files by suffix.
        prefix: comes before each name.
        above: real paths of the folders that lead here.
    """
    real = os.path.realpath(top)
    if real in above:
        return
    with os.scandir(top) as entries:
        for entry in entries:
            if _is_hidden(entry.name):
                continue
            name = entry.name
            dot = name.rfind(".")
            suffix = name[dot:].lower() if dot > 0 else ""
            if _is_folder(entry):
                yield from image_files(entry.path, skipped, f"{prefix}{name}/", (*above, real))
            elif suffix in SUFFIXES:
                yield prefix + name
            elif skipped is not None:
                skipped[suffix or "no suffix"] += 1


def _is_hidden(name: str) -> bool:
    # macOS packs what it knows of files next to them, in a folder of this name.
    return name.startswith(".") or name == "__MACOSX"


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, which is counted as unreadable where it has an image's name
        return False


def skipped_note(skipped: Counter[str]) -> tuple[str, ...]:
    """A line on the files that are no images, where there are any."""
    if not skipped:
        return ()
    kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in skipped.most_common(5))
    return (f"{skipped.total():,} files are no images by their suffix and were left out: {kinds}",)


def split_folders(path: Path) -> dict[str, str]:
    """The folders of splits, by ``train``, ``val`` and ``test``, as their names in other words and capitals mean.

    Raises:
        AmbiguousError: if two folders mean the same split.
    """
    found: dict[str, str] = {}
    for name in folders(path):
        split = SPLIT_NAMES.get(name.casefold())
        if split is not None and split in found:
            raise AmbiguousError(
                expected=f"one folder of the split '{split}'",
                where=path,
                found=f"'{found[split]}' and '{name}'",
                remedy=f"which is meant? rename the other, or evaluate on one alone as folder:{path / name}",
            )
        if split is not None:
            found[split] = name
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def listing(path: Path) -> str:
    """What lies in a folder, in a few words."""
    return some(sorted(os.listdir(path))) or "an empty folder"


def class_folders(
    path: Path, splits: Mapping[str, str], classes: list[str], evaluate: tuple[str, ...]
) -> Layout:
    """The layout of PATH/<folder>/<class>/, for the folder of each split."""
    return Layout(
        {split: partial(folder_content, path, folder, classes) for split, folder in splits.items()}, evaluate
    )


def common_classes(path: Path, splits: Mapping[str, str]) -> list[str]:
    """The class folders of all splits; those to evaluate on may lack some.

    Args:
        path: the set's folder.
        splits: the folder of each split.

    Raises:
        InputError: if there are none, or the training split lacks one.
    """
    held = {split: set(folders(path / folder)) for split, folder in splits.items()}
    every = set().union(*held.values())
    if not every:
        first = path / next(iter(splits.values()))
        raise InputError(expected="class folders", where=first, found=f"{listing(first)}")
    if "train" in held and every - held["train"]:
        missing = [
            f"{split} lacks {some(sorted(every - classes))}"
            for split, classes in held.items()
            if every - classes
        ]
        raise InputError(
            f"class folders differ between the splits of {path}: {'; '.join(missing)}; give every split the same ones"
        )
    return sorted(every)


def folder_content(path: Path, split: str, classes: list[str]) -> Content:
    """The images in the class folders of a split; classes without any are named in a note.

    Raises:
        InputError: if no class, or of the training split one, has none.
    """
    top = path / split
    skipped: Counter[str] = Counter()
    per_class = [
        sorted(image_files(top / name, skipped)) if (top / name).is_dir() else [] for name in classes
    ]
    empty = [name for name, files in zip(classes, per_class, strict=True) if not files]
    if len(empty) == len(classes) or (empty and SPLIT_NAMES.get(split.casefold(), "train") == "train"):
        raise InputError(
            expected=f"images ({', '.join(sorted(SUFFIXES))}) in every class folder of {top}",
            found=f"none in {some(empty)}",
            remedy="add images or remove these folders from every split",
        )
    prefix = f"{split}/" if split else ""
    lacking = (
        [f"{len(empty):,} of {len(classes):,} classes have no image in {top}: {some(empty)}"] if empty else []
    )
    return Content(
        classes=classes,
        ids=[
            f"{prefix}{name}/{file}" for name, files in zip(classes, per_class, strict=True) for file in files
        ],
        labels=np.repeat(np.arange(len(classes), dtype=np.int64), [len(files) for files in per_class]),
        notes=(*lacking, *skipped_note(skipped)),
    )


def folders(path: Path) -> list[str]:
    """Names of the folders in a folder, sorted; hidden ones are left out."""
    with os.scandir(path) as entries:
        return sorted(entry.name for entry in entries if _is_folder(entry) and not _is_hidden(entry.name))


def some(names: list[str]) -> str:
    """The first few of some names."""
    return ", ".join(names[:5]) + (f", ... ({len(names)} in all)" if len(names) > 5 else "")
