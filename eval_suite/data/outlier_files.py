"""Out-of-distribution images in one file: arrays of pixels, MATLAB's files, and lists of images."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError, first_line
from eval_suite.core.files import require_regular
from eval_suite.data.layouts.image_lists import read_image_list

_ARRAYS = ("X", "images", "data", "x")


class OutlierFiles(NamedTuple):
    """Images as files below ``root``, None for the set's own folder, or as ``pixels`` (n, H, W, 3) with an id each."""

    ids: list[str]
    pixels: NDArray[np.uint8] | None = None
    root: Path | None = None


def from_file(path: Path) -> OutlierFiles:
    """The images of an ``.npy`` array, an array in a ``.mat`` or ``.npz`` file, or a list of files, one a line.

    Raises:
        InputError: if it is none of these, or holds no images.
    """
    suffix = path.suffix.lower()
    if suffix == ".txt":
        listed = read_image_list(path)
        return OutlierFiles(listed.names, root=listed.root)
    if suffix in (".npy", ".npz", ".mat"):
        return _from_array(path)
    raise InputError(
        expected="a folder of images, a .tar, .tar.gz or .zip of them, images in a .npy, .npz or .mat file, or a list of "
        "them in a .txt",
        where=path,
        found=f"a file '{path.name}'",
        remedy=exporting(path),
    )


def exporting(file: Path) -> str:
    """What to do with a table or database of images; empty for any other file."""
    if file.suffix.lower() in (".parquet", ".arrow", ".mdb", ".lmdb", ".tfrecord"):
        return f"export the images of {file.name} as files"
    return ""


def _from_array(path: Path) -> OutlierFiles:
    try:
        pixels = _pixels(path)
    except Exception as error:  # noqa: BLE001 - numpy and scipy raise anything from KeyError to zlib.error on a broken file
        raise InputError(
            expected="images (n, height, width, 3) of 0 to 255, or (32, 32, 3, n) as in SVHN's X",
            where=path,
            found=first_line(error),
            remedy="fetch the file again, or store it so",
        ) from None
    ids = [f"{path.name}/{i:05d}" for i in range(len(pixels))]
    return OutlierFiles(ids, np.ascontiguousarray(pixels))


def _pixels(path: Path) -> NDArray[np.uint8]:
    """The images (n, H, W, 3) of a file; whatever is wrong with it is raised."""
    require_regular(path)
    if path.suffix.lower() == ".mat":
        from scipy.io import loadmat  # slow to import, and help does not need it

        held: Any = {name: value for name, value in loadmat(path).items() if not name.startswith("__")}
    else:
        held = np.load(path, allow_pickle=False)
    array = held
    if not isinstance(held, np.ndarray):
        images = [name for name in held if name in _ARRAYS] or [name for name in held if held[name].ndim == 4]
        if not images:
            raise ValueError(f"arrays {', '.join(held) or 'none'}")
        array = held[images[0]]
    array = np.asarray(array)
    if array.ndim == 4 and array.shape[3] != 3 and array.shape[1] == 3:
        array = array.transpose(0, 2, 3, 1)  # channels first, as torch stores images
    elif array.ndim == 4 and array.shape[3] != 3 and array.shape[2] == 3:
        array = array.transpose(3, 0, 1, 2)  # MATLAB's order
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3 or not len(array):
        raise ValueError(f"{array.dtype} of shape {array.shape}")
    return array
