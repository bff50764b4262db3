"""Image classification sets by name: ``KIND:PATH`` to an index of what a split holds."""

import hashlib
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import AmbiguousError, InputError, unknown_name
from eval_suite.core.files import read_file
from eval_suite.core.parts import is_file_spec, part, parts
from eval_suite.core.predictions import About
from eval_suite.data.layouts.base import SPLIT_NAMES, WITHOUT_SPLITS, Content, ImageLayout, Layout

# Formats in which all images of so many pixels have one size in bytes.
_OF_ONE_SIZE = {".bmp", ".pbm", ".pgm", ".ppm", ".pnm", ".tif", ".tiff"}
_kept: ContextVar["tuple[str, str | None, ImageIndex] | None"] = ContextVar("_kept", default=None)


class DataSpec(NamedTuple):
    """``KIND:PATH``, taken apart."""

    kind: str
    path: Path


class FilesBelow(Sequence[Path]):
    """Files below a folder, each a `Path` when it is asked for: a million of those take ten seconds and 400 MB.

    Args:
        folder: they lie below.
        names: relative to it.
    """

    def __init__(self, folder: Path, names: list[str]) -> None:
        self._folder, self._names = folder, names

    def __len__(self) -> int:
        """Number of files."""
        return len(self._names)

    def names(self) -> Iterator[str]:
        """Each file's path as text."""
        return (f"{self._folder}/{name}" for name in self._names)

    @overload
    def __getitem__(self, at: int) -> Path: ...

    @overload
    def __getitem__(self, at: slice) -> "FilesBelow": ...

    def __getitem__(self, at: int | slice) -> "Path | FilesBelow":
        """One file, or some of them."""
        if isinstance(at, slice):
            return FilesBelow(self._folder, self._names[at])
        return self._folder / self._names[at]


@dataclass(frozen=True, eq=False)
class ImageIndex:
    """What a split holds, before anything is decoded.

    ``ids`` are unique and stable: a path relative to ``root`` (``test/cat/0001.png``) or the place in a batch
    file (``test_batch/00017``). ``labels`` is (n,) with values in [0, len(classes)). Exactly one of ``paths``
    (n files) and ``pixels`` (n, H, W, 3) is given. ``notes`` tells what was assumed or left out.
    """

    name: str
    spec: str
    split: str
    classes: list[str]
    ids: list[str]
    labels: NDArray[np.int64]
    root: Path
    paths: Sequence[Path] | None
    pixels: NDArray[np.uint8] | None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of items."""
        return len(self.ids)

    def subset(self, limit: int | None) -> "ImageIndex":
        """The index of ``limit`` items spread evenly over the split; all of them for None or a larger limit.

        Raises:
            ValueError: if limit is below 1.
        """
        if limit is None or limit >= len(self):
            return self
        if limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        return self.select(spread(len(self), limit))

    def select(self, positions: NDArray[np.integer]) -> "ImageIndex":
        """The index of the items at some positions, in their order."""
        return replace(
            self,
            ids=[self.ids[i] for i in positions],
            labels=self.labels[positions],
            paths=None if self.paths is None else [self.paths[i] for i in positions],
            pixels=None if self.pixels is None else self.pixels[positions],
        )

    def about(self, evaluated: "ImageIndex", failed: list[str]) -> About:
        """What a predictions file says of this split when ``evaluated``, all of it or a subset, was predicted on."""
        return About(self.name, self.split, len(self), evaluated.sha256(), list(failed), list(self.notes))

    def sha256(self) -> str:
        """Hash of classes, ids and labels, and of the size of every file or of all pixel bytes.

        Only formats without compression are read: otherwise two files of one name, label and size count as the same.
        """
        digest = hashlib.sha256()
        digest.update("\0".join(self.classes).encode("utf-8", "surrogateescape") + b"\1")
        digest.update("\0".join(self.ids).encode("utf-8", "surrogateescape") + b"\1")
        digest.update(self.labels.astype("<i8").tobytes())
        if self.paths is not None:
            names = self.paths.names() if isinstance(self.paths, FilesBelow) else map(str, self.paths)
            digest.update(np.array([file_mark(name) for name in names], dtype="<i8").tobytes())
        if self.pixels is not None:
            digest.update(np.ascontiguousarray(self.pixels).data)
        return digest.hexdigest()


def spread(count: int, limit: int) -> NDArray[np.int64]:
    """The places of ``limit`` items spread evenly over ``count``, from the first to the last."""
    return np.linspace(0, count - 1, limit).round().astype(np.int64)


def unlabelled(
    name: str, spec: str, split: str, ids: list[str], paths: Sequence[Path], root: Path = Path()
) -> ImageIndex:
    """Images alone, as the readers of pictures take them; their labels say nothing."""
    labels = np.zeros(len(ids), np.int64)
    return ImageIndex(name, spec, split, ["image"], ids, labels, root, paths, pixels=None)


def parse_spec(text: str) -> DataSpec:
    """Take ``KIND:PATH`` apart, where KIND may be ``path/to/mine.py:MyLayout``.

    Raises:
        InputError: if there is no colon, no path, or the kind is unknown.
    """
    own = re.match(r"(.+\.py:[A-Za-z_]\w*):(.+)", text)
    kind, colon, path = (own[1], ":", own[2]) if own else text.partition(":")
    if not colon or not path:
        raise InputError(
            expected=f"data as KIND:PATH with KIND one of {', '.join(parts('data'))}",
            found=f"'{text}'",
            remedy=f"a folder of class folders is folder:{text}"
            if text and Path(text).expanduser().is_dir()
            else "",
        )
    layout_named(kind)
    return DataSpec(kind, Path(path).expanduser())


def layout_named(kind: str) -> type[ImageLayout]:
    """The layout of a KIND.

    Raises:
        InputError: if it is unknown; the message gives the nearest.
    """
    if not is_file_spec(kind) and kind not in parts("data"):
        raise unknown_name("data kind", kind, parts("data"))
    found: type[ImageLayout] = part("data", kind)
    return found


def open_images(
    spec: str, split: str | None = None, *, purpose: Literal["train", "evaluate"] = "evaluate"
) -> ImageIndex:
    """Index one split of an image set.

    Args:
        spec: ``KIND:PATH``.
        split: an existing split; None takes ``train`` for training, and for evaluation ``test`` of CIFAR and the
            first of ``val``, ``test`` of a folder.
        purpose: what the images are for. A folder without splits serves evaluation only.

    Raises:
        InputError: if the folder does not hold the layout, the split is absent, or class folders differ.
    """
    kept = _kept.get()
    if kept is not None and purpose == "evaluate" and kept[0] == spec and split in (kept[1], kept[2].split):
        return kept[2]
    return read_split(spec, split, purpose=purpose).images


@contextmanager
def kept_open(spec: str, split: str | None) -> Iterator[ImageIndex]:
    """Index a split to evaluate on, once: inside, `open_images` answers with this index when asked for the same split.

    The folders of a million images take seconds to list, and the steps of an evaluation each ask for them.

    Raises:
        InputError: as `open_images` does.
    """
    index = open_images(spec, split)
    token = _kept.set((spec, split, index))
    try:
        yield index
    finally:
        _kept.reset(token)


class Split(NamedTuple):
    """One split of an image set: its images, and the layout and content it was made from."""

    images: ImageIndex
    layout: Layout
    content: Content


def read_split(
    spec: str, split: str | None = None, *, purpose: Literal["train", "evaluate"] = "evaluate"
) -> Split:
    """What `open_images` does, for a reader that needs more of the layout than the images.

    Raises:
        InputError: as `open_images` does.
    """
    kind, path = parse_spec(spec)
    layout = _layout(kind, path)
    try:
        chosen = _choose_split(spec, layout, split, purpose)
    except InputError as error:
        # Who names a split knows the layout; who names none may have taken the wrong one.
        hint = did_you_mean(path) if split is None and purpose == "evaluate" else ""
        raise InputError(f"{error}{hint}") from None
    with readable(path):
        content = layout.splits[chosen]()
    if purpose == "train" and len(content.classes) < 2:
        raise InputError(
            f"training needs at least two classes, found {content.classes} in '{chosen}' of {spec}"
        )
    files = content.ids if content.files is None else content.files
    index = ImageIndex(
        name=kind if kind.startswith("cifar") else path.resolve().name,
        spec=spec,
        split=chosen,
        classes=content.classes,
        ids=content.ids,
        labels=content.labels,
        root=path,
        paths=FilesBelow(path, files) if content.pixels is None else None,
        pixels=content.pixels,
        notes=content.notes,
    )
    return Split(index, layout, content)


def splits_of(spec: str) -> list[str]:
    """Names of the splits an image set has, in the order train, val, test.

    Raises:
        InputError: if the folder does not hold the layout.
    """
    return list(_layout(*parse_spec(spec)).splits)


def _layout(kind: str, path: Path) -> Layout:
    if not path.is_dir():
        found = "a file" if path.exists() else "no such folder"
        raise InputError(
            expected=f"a folder with images at {path}",
            found=f"{found}",
            remedy=f"check the path in {kind}:PATH",
        )
    with readable(path):
        try:
            return layout_named(kind).read(path)
        except AmbiguousError:
            raise
        except InputError as error:
            raise InputError(f"{error}{did_you_mean(path)}") from None


def did_you_mean(path: Path, *, boxes: bool = False) -> str:
    """A hint at the first kind that a folder has a split of two classes or more of, empty if there is none.

    Args:
        path: the folder.
        boxes: whether the split must have boxes or masks too. Without, kinds that have some come last: ILSVRC's is
            ImageNet's, which needs none.
    """
    known = parts("data")
    kinds = [name for name, layout in known.items() if layout.boxes or not boxes]
    for kind in sorted(kinds, key=lambda name: known[name].boxes):
        hint = f"; did you mean {kind}:{path}?"
        with suppress(InputError, OSError):
            try:
                layout = layout_named(kind).read(path)
            except AmbiguousError:
                return hint
            for split in (name for name in layout.evaluate if name in layout.splits):
                content = layout.splits[split]()
                if len(content.classes) < 2:
                    continue
                if boxes and layout.locate is not None:
                    layout.locate(split, content)
                return hint
    return ""


def _choose_split(spec: str, layout: Layout, split: str | None, purpose: str) -> str:
    existing = ", ".join(layout.splits)
    if split is not None and split not in layout.splits:
        split = SPLIT_NAMES.get(split.casefold(), split)
    if purpose == "train":
        learnt = split or "train"
        if learnt not in layout.splits or learnt == WITHOUT_SPLITS:
            raise InputError(
                f"expected a split '{'train' if learnt == WITHOUT_SPLITS else learnt}' to train on in {spec}, found: {existing}; put the images in "
                "PATH/train/<class>/ and PATH/val/<class>/"
            )
        return learnt
    if split is not None and split not in layout.splits:
        raise InputError(f"{spec} has no split '{split}'; it has: {existing}")
    if split is not None:
        return split
    for name in layout.evaluate:
        if name in layout.splits:
            return name
    raise InputError(f"{spec} has no split to evaluate on, only: {existing}; name one with --split")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn an operating system's refusal into one line that names the file."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cannot read {error.filename or path}: {error.strerror}; check its permissions"
        ) from error


def file_mark(path: str) -> int:
    """What tells a changed file without reading it: its size, -1 where there is none; a checksum in formats that do not compress."""
    try:
        suffix = os.path.splitext(path)[1].lower()
        return zlib.crc32(read_file(Path(path))) if suffix in _OF_ONE_SIZE else os.stat(path).st_size
    except OSError:
        return -1
