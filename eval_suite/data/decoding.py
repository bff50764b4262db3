"""From image files to RGB pixels: one image at a time, or a whole set of small ones into memory."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from eval_suite.core.errors import first_line
from eval_suite.core.files import read_file, require_regular
from eval_suite.core.machine import machine_error
from eval_suite.data.images import ImageIndex

IN_MEMORY_SIDE = 96
IN_MEMORY_BYTES = 4 * 2**30
_CHUNK = 256

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000")
"""Those of Pillow's formats that are read: none hands a file to another program, as EPS does to Ghostscript."""


Resize = Callable[[Image.Image, int], NDArray[np.uint8]]
"""Brings an image, not yet decoded, at a position of its set to pixels (3, H, W), always in the same way."""


class DecodedSet(NamedTuple):
    """A set in memory: pixels (n, 3, H, W), zeros where an image is in ``unreadable`` (position: reason)."""

    pixels: NDArray[np.uint8]
    unreadable: dict[int, str]


def open_item(index: ImageIndex, position: int) -> Image.Image:
    """One image of a set, its header read and its pixels not yet decoded.

    Raises:
        Exception: whatever reading a broken file raises; `why_unreadable` words it.
    """
    if index.pixels is not None:
        return Image.fromarray(index.pixels[position])
    assert index.paths is not None
    # Read whole, so that no decoder error can leave a file handle open.
    content = read_file(index.paths[position])
    if not content:
        raise ValueError("empty file")
    return Image.open(BytesIO(content), formats=FORMATS)


def size_of_item(index: ImageIndex, position: int) -> tuple[int, int]:
    """(width, height) of one image of a set, from its header.

    Raises:
        Exception: whatever reading a broken file raises; `why_unreadable` words it.
    """
    if index.pixels is not None:
        return index.pixels.shape[2], index.pixels.shape[1]
    assert index.paths is not None
    return size_of_file(index.paths[position])


def size_of_file(path: Path) -> tuple[int, int]:
    """(width, height) of an image file, from its header.

    Raises:
        Exception: whatever reading a broken file raises; `why_unreadable` words it.
    """
    with Image.open(require_regular(path), formats=FORMATS) as image:
        return image.size


def to_rgb(image: Image.Image) -> Image.Image:
    """Decode, and bring any colour mode to 8-bit RGB.

    Transparency is dropped and the stored orientation kept, as torchvision does; 16-bit grey keeps its upper byte.

    Raises:
        Exception: whatever reading a broken file raises; floating-point pixels, too.
    """
    image.load()
    if image.mode == "RGB":
        return image
    if image.mode == "F":
        raise ValueError("floating-point pixels, whose range no file tells")
    if image.mode.startswith("I"):
        deep = np.asarray(image).clip(0, 65535).astype(np.uint16)
        return Image.fromarray((deep >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "P":
        image = image.convert("RGBA")
    return image.convert("RGB")


@cache
def torchvision_decodes() -> bool:
    """Whether torchvision was built with a JPEG decoder; it is not on every platform."""
    import torch
    import torchvision.io  # noqa: F401 - loads the operators

    return hasattr(torch.ops.image, "decode_jpeg")


def jpeg_pixels(image: Image.Image) -> NDArray[np.uint8] | None:
    """RGB pixels (H, W, 3) of a JPEG whose header was read, decoded by torchvision in two thirds of Pillow's time.

    Both call libjpeg-turbo in the same way, so that the pixels are equal. None for every other format, for colour modes
    that need more than a decoder, such as CMYK, and for what torchvision refuses: whether that can be read, and why not,
    Pillow says.
    """
    source = getattr(image, "fp", None)
    if image.format != "JPEG" or image.mode not in ("RGB", "L") or not isinstance(source, BytesIO):
        return None
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg

    try:
        encoded = torch.frombuffer(source.getbuffer(), dtype=torch.uint8)
        decoded: NDArray[np.uint8] = decode_jpeg(encoded, mode=ImageReadMode.RGB).permute(1, 2, 0).numpy()
    except RuntimeError:
        return None
    return decoded if decoded.shape[:2] == (image.height, image.width) else None


def why_unreadable(error: Exception) -> str:
    """A decoding error in a few words, without the file's path.

    Raises:
        EvalSuiteError: if the machine is at fault and not the file: an image that memory was short for is not left out.
    """
    at_fault = machine_error(error)
    if at_fault is not None and not isinstance(error, PermissionError):
        raise at_fault from None
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return first_line(error)


def first_size(index: ImageIndex) -> tuple[int, int] | None:
    """(height, width) of the first image whose header can be read, None where there is none."""
    if index.pixels is not None:
        return index.pixels.shape[1], index.pixels.shape[2]
    for position in range(len(index)):
        try:
            width, height = open_item(index, position).size
        except Exception:  # noqa: BLE001 - counted and worded when the image is decoded
            continue
        return height, width
    return None


def fits_in_memory(index: ImageIndex, size: tuple[int, int], resized: bool) -> bool:
    """Whether a set is small enough to keep decoded.

    Args:
        index: the set.
        size: (height, width) that its images will have.
        resized: whether images may have another size in their files; else the first image must have this one.
    """
    height, width = size
    if max(size) > IN_MEMORY_SIDE or len(index) * 3 * height * width > IN_MEMORY_BYTES:
        return False
    return resized or first_size(index) in (size, None)


def decode_set(index: ImageIndex, size: tuple[int, int], resize: Resize | None = None) -> DecodedSet | None:
    """Decode every image of a set, and bring it to ``size`` (height, width) where there is a way to.

    Without one, None as soon as an image has another size.
    """
    if index.pixels is not None and index.pixels.shape[1:3] == size:
        return DecodedSet(np.ascontiguousarray(index.pixels.transpose(0, 3, 1, 2)), {})
    pixels = np.zeros((len(index), 3, *size), dtype=np.uint8)
    unreadable: dict[int, str] = {}

    def decode(chunk: range) -> bool:
        for position in chunk:
            try:
                image = open_item(index, position)
                if resize is None and image.size != (size[1], size[0]):
                    return False
                pixels[position] = pixel_array(image) if resize is None else resize(image, position)
            except Exception as error:  # noqa: BLE001 - a broken file can make a decoder raise almost anything
                unreadable[position] = why_unreadable(error)
        return True

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        results = pool.map(decode, _chunks(len(index)))
        for of_one_size in results:
            if not of_one_size:
                pool.shutdown(cancel_futures=True)
                return None
    return DecodedSet(pixels, dict(sorted(unreadable.items())))


def pixel_array(image: Image.Image) -> NDArray[np.uint8]:
    """RGB pixels (3, H, W) of an image."""
    return np.asarray(to_rgb(image)).transpose(2, 0, 1)


def _chunks(count: int) -> Iterator[range]:
    return (range(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK))
