"""CUB-200-2011 in its published text files, which the demo world is written with too."""

from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from eval_suite.core.errors import InputError
from eval_suite.data.layouts.base import Content, ImageLayout, Layout, Located, listing
from eval_suite.data.metadata import Row, inside, numbers, read_rows, require_files

FOLDER = "CUB_200_2011"


class Cub(ImageLayout):
    """PATH or PATH/CUB_200_2011 with images.txt, classes.txt, image_class_labels.txt, train_test_split.txt, bounding_boxes.txt."""

    name: ClassVar[str] = "cub"
    boxes: ClassVar[bool] = True

    @staticmethod
    def read(path: Path) -> Layout:
        """PATH or PATH/CUB_200_2011 with images.txt, classes.txt, image_class_labels.txt, train_test_split.txt, bounding_boxes.txt.

        Images lie in ``images/`` next to these files where there is one, else next to the files themselves. The splits are
        ``train`` and ``test``.

        Raises:
            InputError: if neither folder holds images.txt.
        """
        for folder in ("", FOLDER):
            if (path / folder / "images.txt").is_file():
                return Layout(
                    {name: partial(_content, path, folder, name) for name in ("train", "test")},
                    ("test",),
                    partial(_locate, path / folder),
                )
        raise InputError(
            expected=f"images.txt and the other text files of CUB-200-2011 in {path} or its folder {FOLDER}",
            found=f"{listing(path)}",
        )


def _content(path: Path, folder: str, split: str) -> Content:
    base = path / folder
    files = _table(base / "images.txt", "id path")
    label_of = _table(base / "image_class_labels.txt", "id class")
    in_training = _table(base / "train_test_split.txt", "id 0|1")
    name_of = _table(base / "classes.txt", "class name")
    # By name, as class folders are: the published numbers follow the same order.
    classes = sorted(name_of.values())
    number = {name: label for label, name in enumerate(classes)}
    ids, labels = [], []
    for identity, name in files.items():
        for table, where in ((label_of, "image_class_labels.txt"), (in_training, "train_test_split.txt")):
            if identity not in table:
                raise InputError(
                    expected=f"a line for image {identity} ('{name}')", where=base / where, found="none"
                )
        label = label_of[identity]
        if label not in name_of:
            raise InputError(
                expected=f"the classes of {base / 'classes.txt'}",
                where=base / "image_class_labels.txt",
                found=f"'{label}'",
            )
        if (in_training[identity] == "1") == (split == "train"):
            ids.append(inside(name, base / "images.txt"))
            labels.append(number[name_of[label]])
    if not ids:
        raise InputError(expected=f"images of '{split}'", where=base / "train_test_split.txt", found="none")
    within = "images" if (base / "images").is_dir() else ""
    places = [str(Path(folder, within, name)) for name in ids]
    require_files(path, places, base / "images.txt")
    return Content(classes, ids, np.array(labels, np.int64), files=places)


def _locate(base: Path, _split: str, content: Content) -> Located:
    source = base / "bounding_boxes.txt"
    identity_of = {name: identity for identity, name in _table(base / "images.txt", "id path").items()}
    box_of = {}
    for row in read_rows(source, 5, "id x y width height"):
        x, y, width, height = numbers(row, source, row.fields[1:])
        if width <= 0 or height <= 0:
            raise InputError(
                expected=f"a width and height above 0 in line {row.number} of {source}",
                found=f"{width:g} and {height:g}",
            )
        box_of[row.fields[0]] = [x, y, x + width, y + height]
    boxes = [
        np.array([box_of[key]] if (key := identity_of[name]) in box_of else [], np.float64).reshape(-1, 4)
        for name in content.ids
    ]
    return Located(boxes, None, None, source)


def _table(path: Path, form: str) -> dict[str, str]:
    """A file of two fields a line, the first of which names the line.

    Raises:
        InputError: if a name stands twice.
    """
    found: dict[str, str] = {}
    row: Row
    for row in read_rows(path, 2, form):
        key, value = row.fields
        if key in found:
            raise InputError(expected="each id once", where=path, found=f"'{key}' again in line {row.number}")
        found[key] = value
    return found
