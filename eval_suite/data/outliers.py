"""Out-of-distribution sets by name: ``[NAME=]KIND[:PATH]`` to an index of their images.

The crops and the small versions of TinyImageNet and LSUN that the literature evaluates CIFAR networks on are read as
ODIN's authors distribute them, or made here from the original images.
"""

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError, first_line, unknown_name
from eval_suite.core.runtime import derive_seed
from eval_suite.data.images import ImageIndex
from eval_suite.data.layouts.base import SUFFIXES, image_files, listing

if TYPE_CHECKING:
    from PIL import Image

    from eval_suite.data.loading import Prepare

NOISE = ("uniform", "gaussian")
SMALL_SIDE = 32
"""Side in pixels of the crop and resize sets."""
_READY_SIDE = 40
_CROP = 0x00D001  # purpose of `derive_seed`
_SPLIT = "all"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_GRAMMAR = "outliers as [NAME=]KIND:PATH, or uniform or gaussian without a path"


class OutlierSource(NamedTuple):
    """``[NAME=]KIND[:PATH]``, taken apart; ``path`` is None for noise."""

    name: str
    kind: str
    path: Path | None


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


class _Found(NamedTuple):
    ids: list[str]
    pixels: NDArray[np.uint8] | None = None


def parse_outliers(text: str) -> OutlierSource:
    """Take ``[NAME=]KIND[:PATH]`` apart.

    Raises:
        InputError: if the kind is unknown, a path is missing or too much, or the name is no word.
    """
    head, colon, path = text.partition(":")
    name, equals, kind = head.rpartition("=")
    if kind not in (*KINDS, *NOISE):
        raise unknown_name("kind of outliers", kind, (*KINDS, *NOISE))
    if (kind in NOISE) != (not colon) or (colon and not path):
        raise InputError(f"expected {_GRAMMAR}, found '{text}'")
    place = Path(path).expanduser() if colon else None
    if not equals:
        name = re.sub(r"[^A-Za-z0-9._+-]+", "-", place.resolve().name) if kind == "folder" and place else kind
    if not _NAME.fullmatch(name):
        raise InputError(
            f"expected a name of letters, digits and . _ + - for the outliers '{text}', found '{name}'; write NAME={head.rpartition('=')[2]}:..."
        )
    return OutlierSource(name, kind, place)


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
                f"expected outlier sets of different names, found '{name}' twice; write NAME=KIND:PATH"
            )
    return sources


def open_outliers(source: OutlierSource, seed: int = 0) -> OutlierImages:
    """Index the images of a set; noise has none.

    Args:
        source: a parsed source with a path.
        seed: seed of random crops.

    Raises:
        InputError: if the folder does not exist or holds no images of that layout.
    """
    assert source.path is not None, "noise is made, not read"
    spec = f"{source.kind}:{source.path}"
    if not source.path.is_dir():
        found = "a file" if source.path.exists() else "no such folder"
        raise InputError(
            f"expected a folder with outliers at {source.path}, found {found}; check the path in {spec}"
        )
    try:
        found_images = KINDS[source.kind](source.path)
    except OSError as error:
        raise InputError(
            f"cannot read {error.filename or source.path}: {error.strerror or first_line(error)}; check its permissions"
        ) from error
    if not found_images.ids:
        raise InputError(
            f"expected images ({', '.join(sorted(SUFFIXES))}) in {spec}, found {listing(source.path)}"
        )
    index = ImageIndex(
        name=source.name,
        spec=spec,
        split=_SPLIT,
        classes=["outlier"],
        ids=found_images.ids,
        labels=np.zeros(len(found_images.ids), np.int64),
        root=source.path,
        paths=[source.path / item for item in found_images.ids] if found_images.pixels is None else None,
        pixels=found_images.pixels,
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


def _folder(path: Path) -> _Found:
    """Any tree of images, flat too."""
    return _Found(sorted(image_files(path)))


def _tiny_imagenet(path: Path) -> _Found:
    """The test or validation images of tiny-imagenet-200, or ODIN's ``Imagenet`` and ``Imagenet_resize``."""
    return _first(path, "test/images", "val/images", "test", "val")


def _lsun(path: Path) -> _Found:
    """Images exported from LSUN's test database, or ODIN's ``LSUN`` and ``LSUN_resize``."""
    found = _first(path, "test")
    if not found.ids and (database := next(path.glob("**/data.mdb"), None)):
        raise InputError(
            f"expected images of LSUN in {path}, found its database {database}; export the images with LSUN's own tool: "
            "python data.py export"
        )
    return found


def _textures(path: Path) -> _Found:
    """The Describable Textures Dataset: ``images/<texture>/`` in PATH or in ``dtd`` below."""
    return _first(path, "images", "dtd/images")


def _svhn(path: Path) -> _Found:
    """``test_32x32.mat`` as published, or a folder of images, of which ``test`` is taken where there is one."""
    file = path / "test_32x32.mat"
    if not file.is_file():
        return _first(path, "test")
    from scipy.io import loadmat  # slow to import, and help does not need it

    try:
        pixels = np.asarray(loadmat(file, variable_names=["X"])["X"])
        if pixels.ndim != 4 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            raise ValueError(f"its X is {pixels.dtype} of shape {pixels.shape}")
    except Exception as error:  # scipy raises anything from KeyError to zlib.error on a broken file
        raise InputError(
            f"expected SVHN's images X (32, 32, 3, n) in {file}, found: {first_line(error)}; fetch the file again"
        ) from None
    count = pixels.shape[3]
    return _Found(
        [f"{file.name}/{i:05d}" for i in range(count)], np.ascontiguousarray(pixels.transpose(3, 0, 1, 2))
    )


def _first(path: Path, *folders: str) -> _Found:
    """The images below the first of some folders that there is, or else below PATH itself."""
    for folder in folders:
        if (path / folder).is_dir():
            return _Found(sorted(f"{folder}/{file}" for file in image_files(path / folder)))
    return _folder(path)


KINDS: dict[str, Callable[[Path], _Found]] = {
    "folder": _folder,
    "tinyimagenet-crop": _tiny_imagenet,
    "tinyimagenet-resize": _tiny_imagenet,
    "lsun-crop": _lsun,
    "lsun-resize": _lsun,
    "isun": _folder,
    "svhn": _svhn,
    "textures": _textures,
}
