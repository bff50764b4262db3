"""TinyImageNet in its published layout."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from eval_suite.core.errors import InputError
from eval_suite.data.layouts.base import Content, ImageLayout, Layout, Located, folders, listing
from eval_suite.data.metadata import Row, inside, numbers, read_rows, require_files

FOLDER = "tiny-imagenet-200"
_ANNOTATIONS = "val/val_annotations.txt"


class TinyImageNet(ImageLayout):
    """PATH or PATH/tiny-imagenet-200 with wnids.txt, train/<wnid>/images/ and val/images/ with val_annotations.txt."""

    name: ClassVar[str] = "tinyimagenet"
    boxes: ClassVar[bool] = True

    @staticmethod
    def read(path: Path) -> Layout:
        """PATH or PATH/tiny-imagenet-200 with wnids.txt, train/<wnid>/images/ and val/images/ with val_annotations.txt.

        Boxes are those of val_annotations.txt and train/<wnid>/<wnid>_boxes.txt. Classes are in the order of their wnids.

        Raises:
            InputError: if neither folder holds a split.
        """
        for folder in ("", FOLDER):
            base = path / folder
            splits: dict[str, Callable[[], Content]] = {}
            if (base / "train").is_dir():
                splits["train"] = partial(_training, path, folder)
            if (base / _ANNOTATIONS).is_file():
                splits["val"] = partial(_validation, path, folder)
            if splits:
                return Layout(splits, ("val",), partial(_locate, base))
        raise InputError(
            expected=f"train/<wnid>/images/ or {_ANNOTATIONS} in {path} or its folder {FOLDER}",
            found=f"{listing(path)}",
        )


def _training(path: Path, folder: str) -> Content:
    base = path / folder
    classes = _classes(base)
    ids: list[str] = []
    labels: list[int] = []
    for label, wnid in enumerate(classes):
        source = base / "train" / wnid / f"{wnid}_boxes.txt"
        names = [inside(row.fields[0], source) for row in _box_rows(source)]
        ids += [f"train/{wnid}/images/{name}" for name in names]
        labels += [label] * len(names)
    return _content(path, folder, ids, labels, classes, base / "train")


def _validation(path: Path, folder: str) -> Content:
    base = path / folder
    classes = _classes(base)
    number = {wnid: label for label, wnid in enumerate(classes)}
    ids, labels = [], []
    for row in _annotation_rows(base):
        name, wnid = row.fields[0], row.fields[1]
        if wnid not in number:
            raise InputError(
                expected=f"the classes of {base / 'wnids.txt'} in line {row.number} of {base / _ANNOTATIONS}",
                found=f"'{wnid}'",
            )
        ids.append(f"val/images/{inside(name, base / _ANNOTATIONS)}")
        labels.append(number[wnid])
    return _content(path, folder, ids, labels, classes, base / _ANNOTATIONS)


def _content(
    path: Path, folder: str, ids: list[str], labels: list[int], classes: list[str], source: Path
) -> Content:
    if not ids:
        raise InputError(expected="images named", where=source, found="none")
    if len(set(ids)) != len(ids):
        raise InputError(expected="each image once", where=source, found="one twice")
    places = [str(Path(folder, name)) for name in ids]
    require_files(path, places, source)
    return Content(classes, ids, np.array(labels, np.int64), files=places)


def _locate(base: Path, split: str, content: Content) -> Located:
    box_of: dict[str, list[float]] = {}
    if split == "val":
        source = base / _ANNOTATIONS
        for row in _annotation_rows(base):
            box_of[f"val/images/{row.fields[0]}"] = numbers(row, source, row.fields[2:])
    else:
        source = base / "train"
        for wnid in content.classes:
            file = source / wnid / f"{wnid}_boxes.txt"
            for row in _box_rows(file):
                box_of[f"train/{wnid}/images/{row.fields[0]}"] = numbers(row, file, row.fields[1:])
    return Located([np.array([box_of[name]], np.float64) for name in content.ids], None, None, source)


def _classes(base: Path) -> list[str]:
    if (base / "wnids.txt").is_file():
        return sorted(row.fields[0] for row in read_rows(base / "wnids.txt", 1, "wnid"))
    if (base / "train").is_dir():
        return folders(base / "train")
    return sorted({row.fields[1] for row in _annotation_rows(base)})


def _annotation_rows(base: Path) -> list[Row]:
    return list(read_rows(base / _ANNOTATIONS, 6, "file wnid x0 y0 x1 y1"))


def _box_rows(source: Path) -> list[Row]:
    return list(read_rows(source, 5, "file x0 y0 x1 y1"))
