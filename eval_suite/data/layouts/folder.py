"""Images in class folders."""

import os
from functools import partial
from pathlib import Path
from typing import ClassVar

from eval_suite.core.errors import InputError
from eval_suite.data.layouts.base import (
    SUFFIXES,
    WITHOUT_SPLITS,
    ImageLayout,
    Layout,
    class_folders,
    common_classes,
    folder_content,
    folders,
    listing,
    some,
    split_folders,
)


class ClassFolders(ImageLayout):
    """Class folders: PATH/{train,val,test}/<class>/, or PATH/<class>/ as the one split ``all``."""

    name: ClassVar[str] = "folder"

    @staticmethod
    def read(path: Path) -> Layout:
        """Class folders: PATH/{train,val,test}/<class>/, or PATH/<class>/ as the one split ``all``.

        Splits may be called training, valid, validation or testing, and have capitals.

        Raises:
            InputError: if there are fewer than two, they look like splits or a folder around them, or the training split
                lacks one.
        """
        splits = split_folders(path)
        if splits:
            classes = common_classes(path, splits)
            _require_several(path / next(iter(splits.values())), classes)
            return class_folders(path, splits, classes, ("val", "test"))
        classes = folders(path)
        if not classes:
            raise InputError(
                expected=f"images in PATH/{{train,val,test}}/<class>/ or PATH/<class>/ of {path}",
                found=f"{listing(path)}",
            )
        _require_several(path, classes)
        _require_no_splits(path, classes)
        return Layout({WITHOUT_SPLITS: partial(folder_content, path, "", classes)})


def _require_several(path: Path, classes: list[str]) -> None:
    if len(classes) > 1:
        return
    inner = path / classes[0]
    remedy = "add the folders of the other classes"
    if folders(inner) and not _holds_images(inner):
        remedy = f"if '{classes[0]}' is no class but holds the data, name {inner}"
    raise InputError(
        expected="the folders of two classes or more",
        where=path,
        found=f"'{classes[0]}' alone",
        remedy=remedy,
    )


def _require_no_splits(path: Path, classes: list[str]) -> None:
    """Refuse folders that hold no image themselves and all the same folders: those are the classes, and these are splits."""
    if any(_holds_images(path / name) for name in classes):
        return
    common = set.intersection(*(set(folders(path / name)) for name in classes))
    if len(common) > 1:
        raise InputError(
            expected="the folders of classes",
            where=path,
            found=f"{some(classes)}, each with the same folders {some(sorted(common))}",
            remedy="if they are splits, call them train, val and test; if classes, put them into a folder val",
        )


def _holds_images(path: Path) -> bool:
    with os.scandir(path) as entries:
        return any(os.path.splitext(entry.name)[1].lower() in SUFFIXES for entry in entries)
