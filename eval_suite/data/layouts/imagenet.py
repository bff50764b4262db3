"""ImageNet's folders."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from eval_suite.core.errors import InputError
from eval_suite.data.layouts.base import (
    Content,
    ImageLayout,
    Layout,
    class_folders,
    common_classes,
    folders,
    image_files,
    listing,
    some,
)
from eval_suite.data.metadata import read_csv

_SOLUTION = "LOC_val_solution.csv"


class ImageNet(ImageLayout):
    """ImageNet's train/<wnid>/ and val/, the latter in folders or flat with LOC_val_solution.csv."""

    name: ClassVar[str] = "imagenet"

    @staticmethod
    def read(path: Path) -> Layout:
        """ImageNet's train/<wnid>/ and val/, the latter in folders or flat with LOC_val_solution.csv.

        Raises:
            InputError: if PATH holds neither, or the classes differ between the splits.
        """
        splits = [name for name in ("train", "val") if (path / name).is_dir()]
        if not splits:
            raise InputError(
                f"expected train/<wnid>/ or val/ in {path}, found {listing(path)}; check the path"
            )
        if "val" in splits and not folders(path / "val"):
            classes = folders(path / "train") if "train" in splits else None
            flat: dict[str, Callable[[], Content]] = {"val": partial(_flat_validation, path, classes)}
            if classes is None:
                return Layout(flat)
            return Layout(class_folders(path, ["train"], classes, ()).splits | flat)
        return class_folders(path, splits, common_classes(path, splits), ("val",))


def solution_places(path: Path, split: str) -> list[Path]:
    """Where the table of labels and boxes of an ImageNet split may lie; the last is its place in Kaggle's archive."""
    name = f"LOC_{split}_solution.csv"
    real = path.resolve()
    places = [path / split / name, path / name, real.parent / name]
    if real.parts[-3:] == ("ILSVRC", "Data", "CLS-LOC"):
        places.append(real.parents[2] / name)
    return places


def _flat_validation(path: Path, classes: list[str] | None) -> Content:
    table = next((place for place in solution_places(path, "val") if place.is_file()), None)
    if table is None:
        raise InputError(
            f"expected val/<wnid>/ folders in {path}, or images directly in val/ and {_SOLUTION} next to it, "
            f"found {listing(path / 'val')} and no {_SOLUTION}"
        )
    rows = {row[0]: row[1].split() for row in read_csv(table) if len(row) == 2 and row[1].strip()}
    rows.pop("ImageId", None)
    files = sorted(image_files(path / "val"))
    unlabelled = [file for file in files if Path(file).stem not in rows]
    if not files or unlabelled:
        found = f"none for {some(unlabelled)}" if files else "no image"
        raise InputError(f"expected images in {path / 'val'} with a row each in {table}, found {found}")
    wnids = [rows[Path(file).stem][0] for file in files]
    known = classes if classes is not None else sorted({words[0] for words in rows.values()})
    unknown = sorted(set(wnids) - set(known))
    if unknown:
        raise InputError(f"expected the classes of {path / 'train'} in {table}, found also {some(unknown)}")
    number = {name: label for label, name in enumerate(known)}
    labels = np.array([number[wnid] for wnid in wnids], dtype=np.int64)
    return Content(classes=known, ids=[f"val/{file}" for file in files], labels=labels)
