"""ImageNet's folders, as unpacked by its users."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from eval_suite.core.errors import InputError, first_line
from eval_suite.data.imagenet_names import synsets
from eval_suite.data.layouts.base import (
    Content,
    ImageLayout,
    Layout,
    class_folders,
    common_classes,
    folder_content,
    folders,
    image_files,
    listing,
    some,
)
from eval_suite.data.metadata import read_csv, read_rows

_SOLUTION = "LOC_val_solution.csv"
_GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
_KAGGLE = ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")
_WNID = re.compile(r"(?:^|_)(n\d{8})(?:_|$)")
_NUMBER = re.compile(r"_(\d{8})(?:_|$)")
_CLASSES = 1000


class ImageNet(ImageLayout):
    """ImageNet's train/<wnid>/ and val/, either also flat with WordNet ids in its file names, val/ with a list of labels too."""

    name: ClassVar[str] = "imagenet"

    @staticmethod
    def read(path: Path) -> Layout:
        """ImageNet's train/<wnid>/ and val/ in PATH, or where Kaggle's archive has them below it; train/ may be flat too.

        A flat val/ takes its labels from LOC_val_solution.csv (Kaggle), ILSVRC2012_validation_ground_truth.txt with the
        meta.mat of its development kit, val.txt (Caffe), or the WordNet ids in its files' names.

        Raises:
            InputError: if PATH holds neither, or the classes differ between the splits.
        """
        base = base_folder(path)
        layout = _read(base)
        if base == path:
            return layout
        within = base.relative_to(path).as_posix()
        return Layout(
            {name: partial(_moved, read, within) for name, read in layout.splits.items()}, layout.evaluate
        )


def base_folder(path: Path) -> Path:
    """The folder with train/ or val/: PATH, or its place in Kaggle's archive."""
    if not any((path / name).is_dir() for name in ("train", "val")):
        return next((path / place for place in _KAGGLE if (path / place).is_dir()), path)
    return path


def solution_places(path: Path, split: str) -> list[Path]:
    """Where the table of labels and boxes of an ImageNet split may lie; the last is its place in Kaggle's archive."""
    name = f"LOC_{split}_solution.csv"
    real = path.resolve()
    places = [path / split / name, path / name, real.parent / name]
    if real.parts[-3:] == ("ILSVRC", "Data", "CLS-LOC"):
        places.append(real.parents[2] / name)
    return places


def _read(path: Path) -> Layout:
    splits = {name: name for name in ("train", "val") if (path / name).is_dir()}
    if not splits:
        raise InputError(
            expected="train/<wnid>/ or val/", where=path, found=f"{listing(path)}", remedy="check the path"
        )
    if "train" in splits and not folders(path / "train"):
        return _flat_training(path, splits)
    if "val" in splits and not folders(path / "val"):
        classes = folders(path / "train") if "train" in splits else None
        flat: dict[str, Callable[[], Content]] = {"val": partial(_flat_validation, path, classes or None)}
        if not classes:
            return Layout(flat)
        return Layout(class_folders(path, {"train": "train"}, classes, ()).splits | flat)
    return class_folders(path, splits, common_classes(path, splits), ("val",))


def _flat_training(path: Path, splits: dict[str, str]) -> Layout:
    """The layout where train/ has no class folders, but images with their WordNet ids in their names, as n01440764_18.JPEG."""
    files = sorted(image_files(path / "train"))
    wnid_of = _wnids_in_names(files)
    if not files or len(wnid_of) < len(files):
        unnamed = [file for file in files if Path(file).stem not in wnid_of]
        raise InputError(
            expected="train/<wnid>/ folders, or images with WordNet ids in their names, as n01440764_18.JPEG",
            where=path / "train",
            found=f"none in {some(unnamed)}" if files else listing(path / "train"),
        )
    classes = sorted(set(wnid_of.values()))
    number = {name: label for label, name in enumerate(classes)}

    def train() -> Content:
        labels = np.array([number[wnid_of[Path(file).stem]] for file in files], dtype=np.int64)
        return Content(classes=classes, ids=[f"train/{file}" for file in files], labels=labels)

    found: dict[str, Callable[[], Content]] = {"train": train}
    if "val" in splits:
        held = folders(path / "val")
        if unknown := sorted(set(held) - set(classes)):
            raise InputError(
                expected=f"the classes of {path / 'train'}", where=path / "val", found=f"also {some(unknown)}"
            )
        flat = partial(_flat_validation, path, classes)
        found["val"] = partial(folder_content, path, "val", classes) if held else flat
    return Layout(found)


def _wnids_in_names(files: list[str]) -> dict[str, str]:
    """The WordNet id in each file's name, by its name without suffix; only of those that have one."""
    named = {Path(file).stem: _WNID.search(Path(file).stem) for file in files}
    return {stem: match[1] for stem, match in named.items() if match}


def _moved(read: Callable[[], Content], within: str) -> Content:
    content = read()
    return content._replace(files=[f"{within}/{name}" for name in content.files or content.ids])


def _flat_validation(path: Path, classes: list[str] | None) -> Content:
    files = sorted(image_files(path / "val"))
    source, wnid_of = _labels(path, files, classes)
    unlabelled = [file for file in files if Path(file).stem not in wnid_of]
    if not files or unlabelled:
        found = f"none for {some(unlabelled)}" if files else "no image"
        raise InputError(expected=f"images in {path / 'val'} with a row each", where=source, found=f"{found}")
    wnids = [wnid_of[Path(file).stem] for file in files]
    occurring = sorted(set(wnid_of.values()))
    imagenet = synsets(_CLASSES)
    known = classes or (list(imagenet) if set(occurring) == set(imagenet) else occurring)
    unknown = sorted(set(wnids) - set(known))
    if unknown:
        raise InputError(
            expected=f"the classes of {path / 'train'}", where=source, found=f"also {some(unknown)}"
        )
    number = {name: label for label, name in enumerate(known)}
    labels = np.array([number[wnid] for wnid in wnids], dtype=np.int64)
    return Content(classes=known, ids=[f"val/{file}" for file in files], labels=labels)


def _labels(path: Path, files: list[str], classes: list[str] | None) -> tuple[Path, dict[str, str]]:
    """The list that the labels are from, and the WordNet id of each image by its name without suffix."""
    table = next((place for place in solution_places(path, "val") if place.is_file()), None)
    if table is not None:
        rows = {row[0]: row[1].split()[0] for row in read_csv(table) if len(row) == 2 and row[1].strip()}
        rows.pop("ImageId", None)
        return table, rows
    bases = (path, path / "val", path.resolve().parent)
    kits = [
        kit for base in bases for kit in (base, base / "data", *sorted(base.glob("ILSVRC2012_devkit*/data")))
    ]
    truth = next((kit / _GROUND_TRUTH for kit in kits if (kit / _GROUND_TRUTH).is_file()), None)
    if truth is not None:
        return truth, _from_ground_truth(truth, files)
    caffe = next((base / "val.txt" for base in bases if (base / "val.txt").is_file()), None)
    if caffe is not None:
        return caffe, _from_caffe(caffe, classes)
    named = _wnids_in_names(files)
    if files and len(named) == len(files):
        return path / "val", named
    raise InputError(
        expected=f"val/<wnid>/ folders in {path}, or images directly in val/ and {_SOLUTION}, {_GROUND_TRUTH} or val.txt next to it",
        found=f"{listing(path / 'val')} and no {_SOLUTION}",
    )


def _from_ground_truth(truth: Path, files: list[str]) -> dict[str, str]:
    """Labels of the development kit: its own ids, one a line for image 1, 2, ..., which its meta.mat gives WordNet ids for."""
    meta = truth.parent / "meta.mat"
    if not meta.is_file():
        raise InputError(
            expected=f"the development kit's meta.mat next to {truth.name}",
            where=truth.parent,
            found="none",
            remedy="its ids are in an order of their own, which only that file tells",
        )
    from scipy.io import loadmat  # slow to import, and help does not need it

    try:
        table = loadmat(meta, squeeze_me=True)["synsets"]
        wnid_of = dict(zip(table["ILSVRC2012_ID"].tolist(), table["WNID"].tolist(), strict=True))
        ids = [int(row.fields[0]) for row in read_rows(truth, 1, "id")]
        lines = [str(wnid_of[number]) for number in ids]
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001 - scipy raises anything from KeyError to zlib.error on a broken file
        raise InputError(
            expected="ids of the development kit", where=f"{truth} and {meta}", found=first_line(error)
        ) from None
    numbers = {Path(file).stem: _NUMBER.search(Path(file).stem) for file in files}
    places = {stem: int(match[1]) - 1 for stem, match in numbers.items() if match}
    return {stem: lines[place] for stem, place in places.items() if 0 <= place < len(lines)}


def _from_caffe(file: Path, classes: list[str] | None) -> dict[str, str]:
    """Labels of Caffe's list: numbers in the order of the sorted WordNet ids."""
    label_of = {Path(row.fields[0]).stem: row.fields[1] for row in read_rows(file, 2, "image label")}
    known = classes or list(synsets(_CLASSES))
    wrong = next(
        (text for text in label_of.values() if not text.isdecimal() or int(text) >= len(known)), None
    )
    if wrong is not None:
        raise InputError(expected=f"labels from 0 to {len(known) - 1}", where=file, found=f"'{wrong}'")
    return {stem: known[int(text)] for stem, text in label_of.items()}
