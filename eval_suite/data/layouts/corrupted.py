"""Published test sets of shifted images: CIFAR-10-C, CIFAR-100-C, CIFAR-10.1, ImageNet-C, ImageNet-C-bar and ImageNet-3DCC."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError, first_line
from eval_suite.data.layouts.base import Content, ImageLayout, Layout, folder_content, folders, listing

_SEVERITIES = range(1, 6)
_SIDE = 32


class Cifar10C(ImageLayout):
    """CIFAR-10-C: ``<corruption>.npy`` of five severities each, and ``labels.npy``; a split is ``<corruption>-<severity>``."""

    name: ClassVar[str] = "cifar10c"

    @staticmethod
    def read(path: Path) -> Layout:
        """The splits in PATH or ``PATH/CIFAR-10-C``."""
        return _read_cifar_c(path, "CIFAR-10-C", "test_batch", 10)


class Cifar100C(ImageLayout):
    """CIFAR-100-C, laid out as CIFAR-10-C is."""

    name: ClassVar[str] = "cifar100c"

    @staticmethod
    def read(path: Path) -> Layout:
        """The splits in PATH or ``PATH/CIFAR-100-C``."""
        return _read_cifar_c(path, "CIFAR-100-C", "test", 100)


class Cifar101(ImageLayout):
    """CIFAR-10.1: ``cifar10.1_<version>_data.npy`` and ``..._labels.npy``; a split is a version, v6 or v4."""

    name: ClassVar[str] = "cifar10.1"

    @staticmethod
    def read(path: Path) -> Layout:
        """The versions in PATH.

        Raises:
            InputError: if there is none.
        """
        splits: dict[str, Callable[[], Content]] = {}
        for version in ("v6", "v4"):
            images, labels = (path / f"cifar10.1_{version}_{what}.npy" for what in ("data", "labels"))
            if images.is_file():
                splits[version] = partial(
                    _array_content, images, labels, slice(None), f"cifar10.1_{version}", 10
                )
        if not splits:
            raise InputError(
                expected="cifar10.1_v6_data.npy and cifar10.1_v6_labels.npy", where=path, found=listing(path)
            )
        return Layout(splits, tuple(splits))


class ImageNetC(ImageLayout):
    """ImageNet-C: ``<corruption>/<severity>/<wnid>/``, also within noise/, blur/, weather/, digital/ and extra/."""

    name: ClassVar[str] = "imagenetc"

    @staticmethod
    def read(path: Path) -> Layout:
        """The splits ``<corruption>-<severity>`` in PATH.

        Raises:
            InputError: if there is none.
        """
        splits: dict[str, Callable[[], Content]] = {}
        for top in (path, *(path / name for name in folders(path))):
            for corruption in folders(top):
                for severity in _SEVERITIES:
                    folder = top / corruption / str(severity)
                    if folder.is_dir() and folders(folder):
                        splits[f"{corruption}-{severity}"] = partial(_folder_of, path, folder)
        if not splits:
            raise InputError(
                expected="folders <corruption>/<severity>/<wnid>/", where=path, found=listing(path)
            )
        return Layout(splits, ())


class ImageNetCBar(ImageNetC):
    """ImageNet-C-bar: ten corruptions unlike ImageNet-C's, in the same folders."""

    name: ClassVar[str] = "imagenetcbar"


class ImageNet3dcc(ImageNetC):
    """ImageNet-3DCC: twelve corruptions made with the scene's depth, in the same folders."""

    name: ClassVar[str] = "imagenet3dcc"


def _folder_of(path: Path, folder: Path) -> Content:
    """Class folders, whose items go by the names that the clean ones have in ``imagenet:PATH``."""
    content = folder_content(folder, "", folders(folder))
    inside = folder.relative_to(path)
    return content._replace(
        ids=[f"val/{item}" for item in content.ids], files=[f"{inside}/{item}" for item in content.ids]
    )


def _read_cifar_c(path: Path, folder: str, clean: str, classes: int) -> Layout:
    for top in (path, path / folder):
        labels = top / "labels.npy"
        if not labels.is_file():
            continue
        splits: dict[str, Callable[[], Content]] = {}
        for file in sorted(top.glob("*.npy")):
            if file == labels:
                continue
            for severity in _SEVERITIES:
                splits[f"{file.stem}-{severity}"] = partial(
                    _severity_of, file, labels, severity, clean, classes
                )
        if splits:
            return Layout(splits, ())
    raise InputError(
        expected=f"<corruption>.npy and labels.npy of {folder}",
        where=path,
        found=listing(path),
        remedy="unpack the archive there",
    )


def _severity_of(file: Path, labels: Path, severity: int, clean: str, classes: int) -> Content:
    items = len(_array(labels, 1))
    if items % len(_SEVERITIES):
        raise InputError(
            expected="labels of five severities, one after the other", where=labels, found=str(items)
        )
    each = items // len(_SEVERITIES)
    return _array_content(file, labels, slice((severity - 1) * each, severity * each), clean, classes)


def _array_content(file: Path, labels: Path, rows: slice, item: str, classes: int) -> Content:
    """Images and labels of some rows; classes go by their numbers."""
    pixels, numbers = _array(file, 4), _array(labels, 1)
    if pixels.dtype != np.uint8 or pixels.shape[1:] != (_SIDE, _SIDE, 3):
        raise InputError(
            expected=f"bytes (items, {_SIDE}, {_SIDE}, 3)", where=file, found=f"{pixels.dtype} {pixels.shape}"
        )
    if len(pixels) != len(numbers):
        raise InputError(expected=f"{len(numbers):,} images, as labels", where=file, found=f"{len(pixels):,}")
    if (
        numbers.dtype.kind not in "iu"
        or not len(numbers)
        or not 0 <= numbers.min() <= numbers.max() < classes
    ):
        raise InputError(
            expected=f"whole numbers in 0..{classes - 1}",
            where=labels,
            found=f"{numbers.dtype} {numbers[:3]}",
        )
    chosen = np.asarray(numbers[rows], np.int64)
    return Content(
        [str(number) for number in range(classes)],
        [f"{item}/{i:05d}" for i in range(len(chosen))],
        chosen,
        np.ascontiguousarray(pixels[rows]),
    )


def _array(file: Path, axes: int) -> NDArray[np.generic]:
    try:
        array: NDArray[np.generic] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InputError(expected="an array without objects", where=file, found=first_line(error)) from None
    if array.ndim != axes:
        raise InputError(expected=f"an array of {axes} axes", where=file, found=str(array.ndim))
    return array
