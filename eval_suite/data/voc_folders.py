"""Where a devkit's annotations, images and lists of splits lie, as VOC has them and as annotation tools leave them."""

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from eval_suite.core.errors import InputError, first_line
from eval_suite.core.files import read_file
from eval_suite.data.layouts.base import SUFFIXES, listing

_ANNOTATIONS = ("Annotations", "annotations", "xml", "xmls")
_IMAGES = ("JPEGImages", "images", "Images", "imgs")
_SETS = "ImageSets/Main"
_SPLITS = ("trainval", "train", "val", "test")
_LABELS = ("-1", "0", "1")
WITHOUT_LISTS = "all"


class Member(NamedTuple):
    """An image of a split: its id, its annotation, and the image file, which need not be there.

    ``rivals`` are other image files of the same name.
    """

    id: str
    annotation: Path
    image: Path
    rivals: list[str]


class Folder:
    """Images with their annotations, in two folders or in one.

    ``name`` comes before the ids of its images; empty where they need none.
    """

    def __init__(self, name: str, path: Path) -> None:
        """Find the two folders; nothing is listed yet."""
        self.name, self.path = name, path
        self.annotations = _first(path, _ANNOTATIONS)
        self.images = _first(path, _IMAGES)

    @cached_property
    def stems(self) -> dict[str, str]:
        """The annotations without their suffix, also in folders, by their name in lower case and as it is."""
        names = [file[:-4] for file in _files(self.annotations) if file.lower().endswith(".xml")]
        return {name.casefold(): name for name in names} | {name: name for name in names}

    @cached_property
    def pictures(self) -> dict[str, list[str]]:
        """The images by their name in lower case without suffix, also in folders."""
        named: dict[str, list[str]] = {}
        for file in sorted(_files(self.images)):
            stem, suffix = os.path.splitext(file)
            if suffix.lower() in SUFFIXES:
                named.setdefault(stem.casefold(), []).append(file)
        return named

    def member(self, line: str) -> Member:
        """The image that a line of a list names: with or without folder, suffix and a label after it."""
        line = line.strip().replace("\\", "/").replace("\t", " ")
        head, _, last = line.rpartition(" ")
        texts = [line, head.strip(), line.split()[0]] if head else [line]
        forms = [form for text in texts for form in _forms(text)]
        exact = [self.stems[form] for form in forms if form in self.stems]
        like = [form.casefold() for form in forms if form.casefold() in self.stems]
        shown = [form for form in forms if form.casefold() in self.pictures]
        plain = next(iter(_forms(texts[1] if head and last in _LABELS else line)))
        stem = next(iter([*exact, *(self.stems[form] for form in like), *shown, os.path.basename(plain)]))
        return self.of_stem(stem)

    def of_stem(self, stem: str) -> Member:
        """The image with an annotation of that name."""
        # Not `with_suffix`: a name may have dots of its own.
        annotation = self.annotations / f"{stem}.xml"
        files = self.pictures.get(stem.casefold(), [f"{stem}.jpg"])
        files = [file for file in files if os.path.splitext(file)[0] == stem] or files
        item = f"{self.name}/{stem}" if self.name else stem
        return Member(item, annotation, self.images / files[0], files[1:])


class SplitSource(NamedTuple):
    """A split: its folder, and the list of its images, or None for every annotation there."""

    folder: Folder
    list_file: Path | None

    def members(self) -> list[Member]:
        """Its images, in order.

        Raises:
            InputError: if the list cannot be read, is empty or names an image twice.
        """
        if self.list_file is None:
            return [self.folder.of_stem(stem) for stem in sorted(set(self.folder.stems.values()))]
        members = [self.folder.member(line) for line in read_lines(self.list_file)]
        if not members:
            raise InputError(
                expected="names of images", where=self.list_file, found="none", remedy="the split is empty"
            )
        return members


def read_lines(file: Path) -> list[str]:
    """The lines of a text file that are not empty.

    Raises:
        InputError: if it cannot be read.
    """
    try:
        return [line for line in read_file(file).decode("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {file}: {first_line(error)}") from None


def split_sources(path: Path) -> dict[str, SplitSource]:
    """The splits of a devkit by name, in the order trainval, train, val, test, others.

    PATH or PATH/VOCdevkit holds folders of any name with ``ImageSets/Main`` (``VOC2007/test``), or is one; or PATH holds
    ``<split>/`` with the XML files next to the images or in ``annotations/``; or it is such a folder itself, whose one
    split is ``all``.

    Raises:
        InputError: if it holds none of these.
    """
    for root in (path, path / "VOCdevkit"):
        years = [root] if (root / _SETS).is_dir() else _folders_with(root, _SETS)
        splits = {
            f"{year.resolve().name}/{file.stem}": SplitSource(folder, file)
            for year in years
            for folder in [Folder(year.resolve().name, year)]
            for file in sorted(_lists(folder), key=_order)
        }
        if splits:
            return splits
    if path.is_dir():
        if _has_annotations(path):
            return {WITHOUT_LISTS: SplitSource(Folder("", path), None)}
        parts = [folder for folder in sorted(path.iterdir()) if folder.is_dir() and _has_annotations(folder)]
        if parts:
            return {
                part.name: SplitSource(Folder(part.name, part), None) for part in sorted(parts, key=_order)
            }
    raise InputError(
        expected="ImageSets/Main, Annotations and JPEGImages, here or in folders such as VOC2007, or images with an "
        "XML file each",
        where=path,
        found=listing(path) if path.is_dir() else "no such folder",
        remedy="check the path in voc:PATH",
    )


def class_list_names(path: Path) -> dict[str, list[str]]:
    """The classes that the lists ``<class>_<split>.txt`` of each devkit folder name."""
    named: dict[str, list[str]] = {}
    for source in split_sources(path).values():
        if source.list_file is not None:
            folder = source.folder.path
            named[str(folder)] = [
                file.stem.rpartition("_")[0]
                for file in (folder / _SETS).glob("*_*.txt")
                if _is_class_list(file, source.folder)
            ]
    return named


def _lists(folder: Folder) -> Iterator[Path]:
    for file in (folder.path / _SETS).glob("*.txt"):
        if not _is_class_list(file, folder):
            yield file


def _is_class_list(file: Path, folder: Folder) -> bool:
    """Whether a list tells for each image whether it shows a class: ``<class>_<split>.txt`` with a label on each line."""
    name, _, split = file.stem.rpartition("_")
    if not name or not (file.parent / f"{split}.txt").is_file():
        return False
    line = next(iter(read_lines(file)), "")
    fields = line.split()
    return len(fields) > 1 and fields[-1] in _LABELS and line.strip() not in folder.stems


def _order(file: Path) -> tuple[int, str]:
    return (_SPLITS.index(file.stem) if file.stem in _SPLITS else len(_SPLITS), file.stem)


def _forms(text: str) -> Iterator[str]:
    """A path as it is and its last part alone, each without the suffix of an image or annotation first."""
    for form in (text, text.rpartition("/")[2]):
        stem, suffix = os.path.splitext(form)
        if suffix.lower() in SUFFIXES or suffix.lower() == ".xml":
            yield stem
        yield form


def _files(top: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = os.path.relpath(folder, top)
        for name in files:
            if not name.startswith("."):
                yield name if below == "." else f"{Path(below).as_posix()}/{name}"


def _first(path: Path, names: tuple[str, ...]) -> Path:
    return next((path / name for name in names if (path / name).is_dir()), path)


def _has_annotations(path: Path) -> bool:
    annotations = _first(path, _ANNOTATIONS)
    return any(entry.suffix.lower() == ".xml" for entry in annotations.iterdir())


def _folders_with(root: Path, inner: str) -> list[Path]:
    if not root.is_dir():
        return []
    return [folder for folder in sorted(root.iterdir()) if (folder / inner).is_dir()]
