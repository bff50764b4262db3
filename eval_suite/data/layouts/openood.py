"""OpenOOD's in-distribution sets: the lists ``train_``, ``val_`` and ``test_<set>.txt`` in the folder of the set."""

import os
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from eval_suite.core.errors import InputError
from eval_suite.data.imagenet_names import synsets
from eval_suite.data.layouts.base import Content, ImageLayout, Layout, listing
from eval_suite.data.layouts.image_lists import read_image_list, read_lines

_SPLITS = ("train", "val", "test")


class OpenOod(ImageLayout):
    """OpenOOD's lists of a set, such as benchmark_imglist/cifar10, with the images in folders next to those of the lists."""

    name: ClassVar[str] = "openood"

    @staticmethod
    def read(path: Path) -> Layout:
        """The lists in PATH of the set that PATH is called after.

        Raises:
            InputError: if there is none.
        """
        lists = {split: path / f"{split}_{path.resolve().name}.txt" for split in _SPLITS}
        lists = {split: file for split, file in lists.items() if file.is_file()}
        if not lists:
            raise InputError(
                expected=f"test_{path.resolve().name}.txt, a list of images",
                where=path,
                found=listing(path),
                remedy="name the folder of a set's lists, such as benchmark_imglist/cifar10",
            )
        return Layout({split: partial(_content, path, split, lists) for split in lists})


def _content(path: Path, split: str, lists: dict[str, Path]) -> Content:
    """The images of a list.

    Raises:
        InputError: if a line has no label, or an image is missing.
    """
    listed = read_image_list(lists[split])
    labels = [-1 if label is None else label for label in listed.labels]
    if min(labels) < 0:
        raise InputError(
            expected="a label of at least 0 on every line",
            where=lists[split],
            found=f"none for '{listed.names[labels.index(min(labels))]}'",
            remedy="lists of outliers go to --outliers",
        )
    classes = _classes(lists, max(labels) + 1)
    root = os.path.relpath(listed.root, path)
    return Content(
        classes=classes,
        ids=listed.names,
        labels=np.asarray(labels, np.int64),
        files=[f"{root}/{name}" for name in listed.names],
        notes=()
        if classes[0] != "0"
        else ("classes are called by their numbers, since the lists name none",),
    )


def _classes(lists: dict[str, Path], least: int) -> list[str]:
    """The names of the classes: the folders that hold images of one class alone; else ImageNet's, or numbers.

    Those of CIFAR have such folders in every list, ImageNet's in the list of training images alone.

    Args:
        lists: of every split.
        least: how many classes there are at least.
    """
    labels_of: dict[str, set[int]] = {}
    for split in reversed(_SPLITS):
        if split not in lists:
            continue
        for name, label in read_lines(lists[split]):
            if label is not None and label >= 0:
                labels_of.setdefault(Path(name).parent.name, set()).add(label)
        classes = max(least, *(max(labels) + 1 for labels in labels_of.values()))
        named = {next(iter(labels)): folder for folder, labels in labels_of.items() if len(labels) == 1}
        if len(named) == classes:
            return [named[label] for label in range(classes)]
    return list(synsets(classes)) or [str(number) for number in range(classes)]
