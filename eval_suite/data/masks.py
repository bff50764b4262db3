"""Images with a class for each pixel, in the layout of Pascal VOC's segmentation."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eval_suite.core.errors import InputError
from eval_suite.core.predictions import About
from eval_suite.data.class_order import read_class_names
from eval_suite.data.decoding import FORMATS, size_of_file, why_unreadable
from eval_suite.data.images import ImageIndex, file_mark, readable, spread, unlabelled
from eval_suite.data.layouts.base import listing
from eval_suite.data.objects import DefectsError, counted
from eval_suite.data.voc import CLASSES, JOINED, voc_path
from eval_suite.data.voc_folders import read_lines

log = logging.getLogger(__name__)

IGNORED = 255
"""The value of pixels that do not count: borders of objects, and what is hard to tell."""
VOC_CLASSES = ["background", *CLASSES]
_SETS, _IMAGES = Path("ImageSets/Segmentation"), "JPEGImages"
# The second folder holds what SBD adds to VOC's own, as others hand it on.
_MASKS = ("SegmentationClass", "SegmentationClassAug")
_ORDER = ("train", "val", "trainval", "test")
_THREADS = 8


@dataclass(frozen=True, eq=False)
class MaskIndex:
    """What a split holds, before anything is decoded: n images, each with a file of its pixels' classes.

    ``ids`` such as ``VOC2012/2007_000033`` are unique; ``classes`` are in the order of the values in the files, the background
    first.
    """

    name: str
    spec: str
    split: str
    classes: list[str]
    ids: list[str]
    paths: list[Path]
    masks: list[Path]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.ids)

    def subset(self, limit: int | None) -> "MaskIndex":
        """The index of ``limit`` images spread evenly; all of them for None or a larger limit."""
        if limit is None or limit >= len(self):
            return self
        return self.select(spread(len(self), limit).tolist())

    def select(self, positions: Sequence[int]) -> "MaskIndex":
        """The index of the images at some positions, in their order."""
        return replace(
            self,
            ids=[self.ids[i] for i in positions],
            paths=[self.paths[i] for i in positions],
            masks=[self.masks[i] for i in positions],
        )

    def images(self) -> ImageIndex:
        """The images alone, as the readers of pictures take them; their labels say nothing."""
        return unlabelled(self.name, self.spec, self.split, self.ids, self.paths)

    def about(self, evaluated: "MaskIndex", failed: list[str]) -> About:
        """What predictions say of this split when ``evaluated``, all of it or a subset, was predicted on."""
        return About(self.name, self.split, len(self), evaluated.sha256(), list(failed))

    def sha256(self) -> str:
        """Hash of classes, ids, and every image and mask as `file_mark` has it."""
        digest = hashlib.sha256()
        for words in (self.classes, self.ids):
            digest.update("\0".join(words).encode("utf-8", "surrogateescape") + b"\1")
        marks = [file_mark(str(path)) for path in (*self.paths, *self.masks)]
        digest.update(np.array(marks, dtype="<i8").tobytes())
        return digest.hexdigest()

    def labels(self, position: int) -> NDArray[np.uint8]:
        """The classes (H, W) of an image's pixels, `IGNORED` where they do not count.

        Raises:
            InputError: if the file holds no class numbers, others than there are, or has not the image's size.
        """
        return read_labels(self.masks[position], len(self.classes), size_of_file(self.paths[position]))

    def require_sound(self) -> None:
        """Read every mask: a fit of hours should not end at the last of them.

        Raises:
            DefectsError: if some cannot be used. Images that cannot be read are none of its business.
        """
        assumed: list[tuple[str, str]] = []

        def defect(position: int) -> str:
            try:
                size = size_of_file(self.paths[position])
            except Exception:  # noqa: BLE001 - named where images are read
                size = None
            try:
                assumption = read_mask(self.masks[position], len(self.classes), size).assumed
                assumed.extend([(assumption, self.ids[position])] if assumption else [])
            except InputError as error:
                return str(error)
            return ""

        with ThreadPoolExecutor(_THREADS) as pool:
            defects = [line for line in pool.map(defect, range(len(self))) if line]
        if defects:
            raise DefectsError(defects, self.spec)
        for line in counted(sorted(assumed)):
            log.warning(line)


def open_masks(spec: str, split: str, *, class_file: Path | None = None) -> MaskIndex:
    """Index splits of a devkit with masks.

    Args:
        spec: ``voc:PATH``; PATH or PATH/VOCdevkit holds folders such as ``VOC2012``, or is one, with
            ``ImageSets/Segmentation``, ``JPEGImages`` and ``SegmentationClass`` (for SBD's masks also ``SegmentationClassAug``).
        split: ``val`` or ``VOC2012/val``, or several joined by ``+``.
        class_file: names of the classes in the order of the masks' values; None for VOC's, the background first.

    Raises:
        InputError: if the folder does not hold the layout, a split is absent or empty, names an image twice, or a mask is
            not there.
    """
    path = voc_path(spec)
    there = _lists(path)
    ids, paths, masks = [], [], []
    for name in (chosen := [_split_named(spec, each, there) for each in split.split(JOINED)]):
        file = there[name]
        folder = file.parents[2]
        with readable(file):
            names = [line.split()[0] for line in read_lines(file)]
        if not names:
            raise InputError(
                expected="names of images", where=file, found="none", remedy="the split is empty"
            )
        for item in names:
            found = next((p for d in _MASKS if (p := folder / d / f"{item}.png").is_file()), None)
            if found is None:
                raise InputError(
                    expected=f"a mask for '{item}' of {file}",
                    where=folder / _MASKS[0],
                    found="none",
                    remedy="remove the line, or add the mask",
                )
            ids.append(f"{folder.resolve().name}/{item}")
            paths.append(folder / _IMAGES / f"{item}.jpg")
            masks.append(found)
    if len(set(ids)) < len(ids):
        twice = next(item for item in ids if ids.count(item) > 1)
        raise InputError(
            expected=f"each image once in {split} of {spec}",
            found=f"'{twice}' more than once",
            remedy="remove its other lines",
        )
    return MaskIndex(
        name=path.resolve().name if path.name != "VOCdevkit" else path.resolve().parent.name,
        spec=spec,
        split=JOINED.join(chosen),
        classes=VOC_CLASSES if class_file is None else read_class_names(class_file.expanduser()),
        ids=ids,
        paths=paths,
        masks=masks,
    )


def mask_splits(spec: str) -> list[str]:
    """Names of the splits with masks, such as ``VOC2012/val``.

    Raises:
        InputError: if the folder does not hold the layout.
    """
    return list(_lists(voc_path(spec)))


def default_mask_split(spec: str, purpose: Literal["train", "evaluate"]) -> str:
    """``train`` or ``val`` of the devkit's last year.

    Raises:
        InputError: if the folder does not hold the layout, or has no such split.
    """
    return _split_named(spec, "train" if purpose == "train" else "val", _lists(voc_path(spec)))


class Mask(NamedTuple):
    """The classes (H, W) of an image's pixels, `IGNORED` where they do not count, and what was assumed of the file, if anything."""

    labels: NDArray[np.uint8]
    assumed: str = ""


def read_labels(path: Path, classes: int, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """The classes of `read_mask`."""
    return read_mask(path, classes, size).labels


def read_mask(path: Path, classes: int, size: tuple[int, int] | None) -> Mask:
    """The classes that a mask holds.

    Tools that make a palette of their own number VOC's colours anew. Where every colour of a mask with as many classes as
    VOC is VOC's, and some stand under other numbers, the colours count.

    Args:
        path: an image whose pixel values are class numbers: with a palette, or grey.
        classes: how many there are.
        size: (width, height) that it must have; None for any.

    Raises:
        InputError: if the file cannot be read, holds no class numbers or others than there are, or has another size.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            image.load()
            mode, found_size, values = image.mode, image.size, np.asarray(image)
            colours = np.array(image.getpalette("RGB") if mode == "P" else [], np.uint8).reshape(-1, 3)
    except Exception as error:  # noqa: BLE001 - a broken file can make a decoder raise almost anything
        raise InputError(
            expected="a mask", where=path, found=why_unreadable(error), remedy="replace the file"
        ) from None
    if mode not in ("P", "L"):
        raise InputError(
            expected="a mask whose pixel values are class numbers (with a palette, or 8-bit grey)",
            where=path,
            found=f"mode {mode}",
            remedy="save class numbers, 255 for pixels that do not count",
        )
    if size is not None and found_size != size:
        raise InputError(
            expected=f"a mask of the image's size, {size[0]} x {size[1]}",
            where=path,
            found=f"{found_size[0]} x {found_size[1]}",
            remedy="replace the mask or the image",
        )
    values, assumed = _by_colour(values, colours, classes)
    unknown = np.unique(values[(values >= classes) & (values != IGNORED)])
    if len(unknown):
        raise InputError(
            expected=f"class numbers from 0 to {classes - 1}, or {IGNORED}",
            where=path,
            found=", ".join(map(str, unknown[:5])),
            remedy="name all classes with --classes FILE, the background first",
        )
    return Mask(values, assumed)


def _by_colour(
    values: NDArray[np.uint8], colours: NDArray[np.uint8], classes: int
) -> tuple[NDArray[np.uint8], str]:
    """Values (H, W) of a mask with a palette (k, 3), by VOC's colours where they are clearly meant."""
    if not len(colours):
        return values, ""
    used = [
        number for number in np.flatnonzero(np.bincount(values.ravel())).tolist() if number < len(colours)
    ]
    meant = {number: _numbers_of_colours().get(tuple(colours[number].tolist()), -1) for number in used}
    there = {*range(classes), IGNORED}
    moved = [number for number, own in meant.items() if own in there and own != number]
    if not moved:
        return values, ""
    if classes != len(VOC_CLASSES) or not there.issuperset(meant.values()):
        return (
            values,
            "masks have some of VOC's colours under other numbers; their numbers count: save grey ones, or VOC's palette",
        )
    table = np.arange(256, dtype=np.uint8)
    table[used] = list(meant.values())
    return table[values], "masks have VOC's colours under other numbers than VOC; their colours count"


@cache
def _numbers_of_colours() -> dict[tuple[int, ...], int]:
    flat = palette()
    return {tuple(flat[3 * number : 3 * number + 3]): number for number in range(256)}


def palette(colours: int = 256) -> list[int]:
    """VOC's colours of class numbers, as red, green and blue one after the other: bits of the number, the lowest first, become
    the highest bits of the three.

    Example:
        >>> palette(3)
        [0, 0, 0, 128, 0, 0, 0, 128, 0]
    """
    return [
        sum((number >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8))
        for number in range(colours)
        for channel in range(3)
    ]


def _lists(path: Path) -> dict[str, Path]:
    """The list of each split by its name, years in order."""
    key: Callable[[Path], tuple[int, str]] = lambda file: (  # noqa: E731
        _ORDER.index(file.stem) if file.stem in _ORDER else len(_ORDER),
        file.stem,
    )
    for root in (path, path / "VOCdevkit"):
        years = [root] if (root / _SETS).is_dir() else sorted(root.glob(f"*/{_SETS}"))
        found = {
            f"{lists.parents[1].resolve().name}/{file.stem}": file
            for lists in ([root / _SETS] if years == [root] else years)
            for file in sorted(lists.glob("*.txt"), key=key)
        }
        if found:
            return found
    raise InputError(
        expected=f"{_SETS}, {_IMAGES} and {_MASKS[0]}, here or in folders such as VOC2012",
        where=path,
        found=listing(path) if path.is_dir() else "no such folder",
        remedy="check the path in voc:PATH",
    )


def _split_named(spec: str, name: str, there: dict[str, Path]) -> str:
    """A split by its full name, or by its own in the last year that has it."""
    fitting = [full for full in there if name in (full, full.rpartition("/")[2])]
    if not fitting:
        raise InputError(
            expected=f"a split '{name}' with masks in {spec}",
            found=", ".join(there),
            remedy="name one with --split and --train-split",
        )
    return fitting[-1]
