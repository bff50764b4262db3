"""The published layouts of image sets: which splits a folder holds, and what is in each."""

import csv
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError
from eval_suite.data.pickles import CifarFormat, read_cifar_classes, read_cifar_split

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
WITHOUT_SPLITS = "all"
_SOLUTION = "LOC_val_solution.csv"


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


def open_cifar(form: CifarFormat, path: Path) -> Layout:
    """CIFAR's python batches in PATH or its folder below, or class folders of images.

    Raises:
        InputError: if PATH holds neither, or another number of classes.
    """
    for folder in (path, path / form.folder):
        held = [name for name, files in form.splits.items() if any((folder / f).is_file() for f in files)]
        if held:
            return Layout({name: partial(_cifar_content, form, folder, name) for name in held})
    splits = [name for name in form.splits if (path / name).is_dir()]
    if splits:
        classes = _common_classes(path, splits)
        if len(classes) != form.classes:
            raise InputError(
                f"expected {form.classes} class folders in {path / splits[0]}, found {len(classes)}"
            )
        return _class_folders(path, splits, classes, ("test",))
    archive = path / form.archive
    advice = f"unpack it: tar -xzf {archive} -C {path}" if archive.is_file() else "check the path"
    raise InputError(
        f"expected {form.folder}/ (the python version) or train/ and test/ with {form.classes} class folders in "
        f"{path}, found {form.archive if archive.is_file() else listing(path)}; {advice}"
    )


def open_folder(path: Path) -> Layout:
    """Class folders: PATH/{train,val,test}/<class>/, or PATH/<class>/ as the one split ``all``.

    Raises:
        InputError: if there is none, or they differ between the splits.
    """
    splits = [name for name in ("train", "val", "test") if (path / name).is_dir()]
    if splits:
        return _class_folders(path, splits, _common_classes(path, splits), ("val", "test"))
    classes = folders(path)
    if not classes:
        raise InputError(
            f"expected images in PATH/{{train,val,test}}/<class>/ or PATH/<class>/ of {path}, found {listing(path)}"
        )
    return Layout({WITHOUT_SPLITS: partial(_folder_content, path, "", classes)})


def open_imagenet(path: Path) -> Layout:
    """ImageNet's train/<wnid>/ and val/, the latter in folders or flat with LOC_val_solution.csv.

    Raises:
        InputError: if PATH holds neither, or the classes differ between the splits.
    """
    splits = [name for name in ("train", "val") if (path / name).is_dir()]
    if not splits:
        raise InputError(f"expected train/<wnid>/ or val/ in {path}, found {listing(path)}; check the path")
    if "val" in splits and not folders(path / "val"):
        classes = folders(path / "train") if "train" in splits else None
        flat: dict[str, Callable[[], Content]] = {"val": partial(_flat_validation, path, classes)}
        if classes is None:
            return Layout(flat)
        return Layout(_class_folders(path, ["train"], classes, ()).splits | flat)
    return _class_folders(path, splits, _common_classes(path, splits), ("val",))


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
    return _some(sorted(os.listdir(path))) or "an empty folder"


def _cifar_content(form: CifarFormat, folder: Path, split: str) -> Content:
    classes = read_cifar_classes(folder, form)
    batches = [(name, read_cifar_split(folder / name, form)) for name in form.splits[split]]
    return Content(
        classes=classes,
        ids=[f"{name}/{i:05d}" for name, batch in batches for i in range(len(batch.labels))],
        labels=np.concatenate([batch.labels for _, batch in batches]),
        pixels=np.concatenate([batch.pixels for _, batch in batches]),
    )


def _class_folders(path: Path, splits: list[str], classes: list[str], evaluate: tuple[str, ...]) -> Layout:
    return Layout({name: partial(_folder_content, path, name, classes) for name in splits}, evaluate)


def _common_classes(path: Path, splits: list[str]) -> list[str]:
    held = {split: set(folders(path / split)) for split in splits}
    every = set().union(*held.values())
    if not every:
        raise InputError(f"expected class folders in {path / splits[0]}, found {listing(path / splits[0])}")
    missing = [
        f"{split} lacks {_some(sorted(every - classes))}"
        for split, classes in held.items()
        if every - classes
    ]
    if missing:
        raise InputError(
            f"class folders differ between the splits of {path}: {'; '.join(missing)}; give every split the same ones"
        )
    return sorted(every)


def _folder_content(path: Path, split: str, classes: list[str]) -> Content:
    top = path / split
    per_class = [sorted(image_files(top / name)) for name in classes]
    empty = [name for name, files in zip(classes, per_class, strict=True) if not files]
    if empty:
        raise InputError(
            f"expected images ({', '.join(sorted(SUFFIXES))}) in every class folder of {top}, found none in "
            f"{_some(empty)}; add images or remove these folders from every split"
        )
    prefix = f"{split}/" if split else ""
    return Content(
        classes=classes,
        ids=[
            f"{prefix}{name}/{file}" for name, files in zip(classes, per_class, strict=True) for file in files
        ],
        labels=np.repeat(np.arange(len(classes), dtype=np.int64), [len(files) for files in per_class]),
    )


def _flat_validation(path: Path, classes: list[str] | None) -> Content:
    table = next((place for place in solution_places(path, "val") if place.is_file()), None)
    if table is None:
        raise InputError(
            f"expected val/<wnid>/ folders in {path}, or images directly in val/ and {_SOLUTION} beside it, "
            f"found {listing(path / 'val')} and no {_SOLUTION}"
        )
    with table.open(newline="", encoding="utf-8") as stream:
        rows = {row[0]: row[1].split() for row in csv.reader(stream) if len(row) == 2 and row[1].strip()}
    rows.pop("ImageId", None)
    files = sorted(image_files(path / "val"))
    unlabelled = [file for file in files if Path(file).stem not in rows]
    if not files or unlabelled:
        found = f"none for {_some(unlabelled)}" if files else "no image"
        raise InputError(f"expected images in {path / 'val'} with a row each in {table}, found {found}")
    wnids = [rows[Path(file).stem][0] for file in files]
    known = classes if classes is not None else sorted({words[0] for words in rows.values()})
    strange = sorted(set(wnids) - set(known))
    if strange:
        raise InputError(f"expected the classes of {path / 'train'} in {table}, found also {_some(strange)}")
    number = {name: label for label, name in enumerate(known)}
    labels = np.array([number[wnid] for wnid in wnids], dtype=np.int64)
    return Content(classes=known, ids=[f"val/{file}" for file in files], labels=labels)


def solution_places(path: Path, split: str) -> list[Path]:
    """Where the table of labels and boxes of an ImageNet split may lie; the last is its place in Kaggle's archive."""
    name = f"LOC_{split}_solution.csv"
    real = path.resolve()
    places = [path / split / name, path / name, real.parent / name]
    if real.parts[-3:] == ("ILSVRC", "Data", "CLS-LOC"):
        places.append(real.parents[2] / name)
    return places


def folders(path: Path) -> list[str]:
    """Names of the folders in a folder, sorted; hidden ones are left out."""
    with os.scandir(path) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f", ... ({len(names)} in all)" if len(names) > 5 else "")
