"""Out-of-distribution sets by name: ``[GROUP/][NAME=]KIND[:PATH]`` to an index of their images.

The crops and the small versions of TinyImageNet and LSUN that the literature evaluates CIFAR networks on are read as
ODIN's authors distribute them, or made here from the original images.
"""

import re
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from eval_suite.core.errors import InputError, first_line, unknown_name
from eval_suite.core.runtime import derive_seed
from eval_suite.data.archives import is_archive, unpacked
from eval_suite.data.images import ImageIndex
from eval_suite.data.layouts.base import SUFFIXES, image_files, listing, skipped_note
from eval_suite.data.outlier_files import OutlierFiles, exporting, from_file

if TYPE_CHECKING:
    from PIL import Image

    from eval_suite.data.sizing import Prepare

NOISE = ("uniform", "gaussian")
SMALL_SIDE = 32
"""Side in pixels of the crop and resize sets."""
_READY_SIDE = 40
_CROP = 0x00D001  # purpose of `derive_seed`
_SPLIT = "all"
_SVHN_TEST = ("test_32x32.mat", "selected_test_32x32.mat")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_GROUP = re.compile(r"[a-z][a-z0-9_]*")
_GRAMMAR = "outliers as [GROUP/][NAME=]KIND:PATH, or uniform or gaussian without a path"


class OutlierSource(NamedTuple):
    """``[GROUP/][NAME=]KIND[:PATH]``, taken apart; ``path`` is None for noise, ``group`` where none is named."""

    name: str
    kind: str
    path: Path | None
    group: str | None = None

    def same_images(self, other: "OutlierSource") -> bool:
        """Whether two sources are one set, whatever they are called."""
        paths = [source.path and source.path.resolve() for source in (self, other)]
        return self.kind == other.kind and paths[0] == paths[1]


@dataclass(frozen=True)
class SmallImage:
    """Makes a 32-pixel image of a larger one: a random crop, the same whenever the same id comes, or a smaller version.

    Images of up to 40 pixels a side count as made already, and give their centre.
    """

    how: Literal["crop", "resize"]
    seed: int

    def __call__(self, image: "Image.Image", item: str) -> "Image.Image":
        """The image of 32 x 32 pixels."""
        from PIL import Image

        from eval_suite.data.decoding import to_rgb

        image = to_rgb(image)
        size = (SMALL_SIDE, SMALL_SIDE)
        if image.size == size:
            return image
        spare = image.width - SMALL_SIDE, image.height - SMALL_SIDE
        if self.how == "resize" or min(spare) < 0:
            return image.resize(size, Image.Resampling.BILINEAR)
        left, top = spare[0] // 2, spare[1] // 2
        if max(image.size) > _READY_SIDE:
            rng = np.random.default_rng(
                derive_seed(self.seed, zlib.crc32(item.encode("utf-8", "replace")), _CROP)
            )
            left, top = int(rng.integers(spare[0] + 1)), int(rng.integers(spare[1] + 1))
        return image.crop((left, top, left + SMALL_SIDE, top + SMALL_SIDE))


class OutlierImages(NamedTuple):
    """The images of a set, and what is made of each before the backbone sees it; None leaves them as they are."""

    images: ImageIndex
    prepare: "Prepare | None"


def parse_outliers(text: str) -> OutlierSource:
    """Take ``[GROUP/][NAME=]KIND[:PATH]`` apart.

    Raises:
        InputError: if the kind is unknown, a path is missing or too much, or the name or the group is no word.
    """
    head, colon, path = text.partition(":")
    group, slash, rest = head.partition("/")
    name, equals, kind = (rest if slash else head).rpartition("=")
    if kind not in (*KINDS, *NOISE):
        if text and Path(text).expanduser().exists():
            raise InputError(expected=_GRAMMAR, found=f"'{text}'", remedy=f"its images are folder:{text}")
        unknown = unknown_name("kind of outliers", kind, (*KINDS, *NOISE))
        raise InputError(
            f"{unknown}; folder:PATH takes the images of any folder, archive, .npy or .mat, or a list of them"
        )
    if (kind in NOISE) != (not colon) or (colon and not path):
        raise InputError(expected=f"{_GRAMMAR}", found=f"'{text}'")
    place = Path(path).expanduser() if colon else None
    if not equals:
        name = re.sub(r"[^A-Za-z0-9._+-]+", "-", place.resolve().name) if kind == "folder" and place else kind
    if not _NAME.fullmatch(name):
        raise InputError(
            expected=f"a name of letters, digits and . _ + - for the outliers '{text}'",
            found=f"'{name}'",
            remedy=f"write NAME={head.rpartition('=')[2]}:...",
        )
    if slash and not _GROUP.fullmatch(group):
        raise InputError(
            expected=f"a group of small letters, digits and _ before the '/' of the outliers '{text}'",
            found=f"'{group}'",
            remedy="write e.g. near/NAME=KIND:PATH",
        )
    return OutlierSource(name, kind, place, group if slash else None)


def parse_all_outliers(texts: list[str]) -> list[OutlierSource]:
    """Take several apart.

    Raises:
        InputError: if two have one name.
    """
    sources = [parse_outliers(text) for text in texts]
    names = [source.name for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                expected="outlier sets of different names",
                found=f"'{name}' twice",
                remedy="write NAME=KIND:PATH",
            )
    return sources


def open_outliers(source: OutlierSource, seed: int = 0) -> OutlierImages:
    """Index the images of a set; noise has none.

    Args:
        source: a parsed source with a path: a folder, an archive of one, or a file that holds or lists images (``.npy``,
            ``.mat``, or ``.txt`` as OpenOOD's lists).
        seed: seed of random crops.

    Raises:
        InputError: if there is nothing there, or it holds no images of that layout.
    """
    path = source.path
    assert path is not None, "noise is made, not read"
    spec = f"{source.kind}:{path}"
    if not path.exists():
        raise InputError(
            expected=f"a folder with outliers at {path}",
            found="no such folder",
            remedy=f"check the path in {spec}",
        )
    skipped: Counter[str] = Counter()
    try:
        if is_archive(path) and not path.is_dir():
            path, skipped = unpacked(path)
        found = KINDS[source.kind](path, skipped) if path.is_dir() else from_file(path)
    except OSError as error:
        raise InputError(
            f"cannot read {error.filename or path}: {error.strerror or first_line(error)}; check its permissions"
        ) from error
    if not found.ids:
        raise _nothing_found(spec, path)
    root = found.root or path
    index = ImageIndex(
        name=source.name,
        spec=spec,
        split=_SPLIT,
        classes=["outlier"],
        ids=found.ids,
        labels=np.zeros(len(found.ids), np.int64),
        root=root,
        paths=[root / item for item in found.ids] if found.pixels is None else None,
        pixels=found.pixels,
        notes=skipped_note(skipped),
    )
    how = source.kind.rpartition("-")[2]
    if source.kind == "isun" or how == "resize":
        return OutlierImages(index, SmallImage("resize", seed))
    return OutlierImages(index, SmallImage("crop", seed) if how == "crop" else None)


def require_outliers(text: str) -> None:
    """Check that a source is there.

    Raises:
        InputError: if it is not.
    """
    source = parse_outliers(text)
    if source.path is not None:
        open_outliers(source)


def _nothing_found(spec: str, path: Path) -> InputError:
    """The error for a folder without images, with the way out where it holds them in another form."""
    files = sorted(path.rglob("*"))
    readable = next((file for file in files if file.suffix in (".npy", ".mat") or is_archive(file)), None)
    remedy = next(filter(None, map(exporting, files)), "")
    if readable is not None:
        remedy = f"name the file itself: {spec.partition(':')[0]}:{readable}"
    return InputError(
        expected=f"images ({', '.join(sorted(SUFFIXES))})", where=spec, found=listing(path), remedy=remedy
    )


def _folder(path: Path, skipped: Counter[str]) -> OutlierFiles:
    """Any tree of images, flat too."""
    return OutlierFiles(sorted(image_files(path, skipped)))


def _tiny_imagenet(path: Path, skipped: Counter[str]) -> OutlierFiles:
    """The test or validation images of tiny-imagenet-200, or ODIN's ``Imagenet`` and ``Imagenet_resize``."""
    return _first(path, skipped, "test/images", "val/images", "test", "val")


def _lsun(path: Path, skipped: Counter[str]) -> OutlierFiles:
    """Images exported from LSUN's test database, or ODIN's ``LSUN`` and ``LSUN_resize``."""
    found = _first(path, skipped, "test")
    if not found.ids and (database := next(path.glob("**/data.mdb"), None)):
        raise InputError(
            expected="images of LSUN",
            where=path,
            found=f"its database {database}",
            remedy="export the images with LSUN's own tool: python data.py export",
        )
    return found


def _textures(path: Path, skipped: Counter[str]) -> OutlierFiles:
    """The Describable Textures Dataset: ``images/<texture>/`` in PATH or in ``dtd`` below."""
    return _first(path, skipped, "images", "dtd/images", "dtd/dtd/images")


def _svhn(path: Path, skipped: Counter[str]) -> OutlierFiles:
    """``test_32x32.mat`` as published or as selected for CIFAR, or a folder of images, of which ``test`` is taken first."""
    file = next((path / name for name in _SVHN_TEST if (path / name).is_file()), None)
    return _first(path, skipped, "test") if file is None else from_file(file)


def _first(path: Path, skipped: Counter[str], *folders: str) -> OutlierFiles:
    """The images below the first of some folders that there is, or else below PATH itself."""
    for folder in folders:
        if (path / folder).is_dir():
            return OutlierFiles(sorted(f"{folder}/{file}" for file in image_files(path / folder, skipped)))
    return _folder(path, skipped)


KINDS: dict[str, Callable[[Path, Counter[str]], OutlierFiles]] = {
    "folder": _folder,
    "tinyimagenet-crop": _tiny_imagenet,
    "tinyimagenet-resize": _tiny_imagenet,
    "lsun-crop": _lsun,
    "lsun-resize": _lsun,
    "isun": _folder,
    "svhn": _svhn,
    "textures": _textures,
}
