"""CIFAR-10 and CIFAR-100, as published for Python or as class folders."""

from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from eval_suite.core.errors import InputError
from eval_suite.data.layouts.base import Content, ImageLayout, Layout, class_folders, common_classes, listing
from eval_suite.data.pickles import CIFAR10, CIFAR100, CifarFormat, read_cifar_classes, read_cifar_split


class Cifar10(ImageLayout):
    """CIFAR-10: its Python version, or class folders in train/ and test/."""

    name: ClassVar[str] = "cifar10"

    @staticmethod
    def read(path: Path) -> Layout:
        """The splits in PATH, or in the folder of the published archive in it."""
        return _read(CIFAR10, path)


class Cifar100(ImageLayout):
    """CIFAR-100 with its fine labels: its Python version, or class folders in train/ and test/."""

    name: ClassVar[str] = "cifar100"

    @staticmethod
    def read(path: Path) -> Layout:
        """The splits in PATH, or in the folder of the published archive in it."""
        return _read(CIFAR100, path)


def _read(form: CifarFormat, path: Path) -> Layout:
    """CIFAR's python batches in PATH or its folder below, or class folders of images.

    Raises:
        InputError: if PATH holds neither, or another number of classes.
    """
    for folder in (path, path / form.folder):
        held = [name for name, files in form.splits.items() if any((folder / f).is_file() for f in files)]
        if held:
            return Layout({name: partial(_cifar_content, form, folder, name) for name in held})
    splits = {name: name for name in form.splits if (path / name).is_dir()}
    if splits:
        classes = common_classes(path, splits)
        if len(classes) != form.classes:
            raise InputError(
                expected=f"{form.classes} class folders",
                where=path / next(iter(splits)),
                found=f"{len(classes)}",
            )
        return class_folders(path, splits, classes, ("test",))
    archive = path / form.archive
    advice = f"unpack it: tar -xzf {archive} -C {path}" if archive.is_file() else "check the path"
    raise InputError(
        expected=f"{form.folder}/ (the python version) or train/ and test/ with {form.classes} class folders",
        where=path,
        found=f"{(form.archive if archive.is_file() else listing(path))}",
        remedy=f"{advice}",
    )


def _cifar_content(form: CifarFormat, folder: Path, split: str) -> Content:
    classes = read_cifar_classes(folder, form)
    batches = [(name, read_cifar_split(folder / name, form)) for name in form.splits[split]]
    return Content(
        classes=classes,
        ids=[f"{name}/{i:05d}" for name, batch in batches for i in range(len(batch.labels))],
        labels=np.concatenate([batch.labels for _, batch in batches]),
        pixels=np.concatenate([batch.pixels for _, batch in batches]),
    )
