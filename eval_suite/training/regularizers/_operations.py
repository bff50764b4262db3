"""The operations of AugMix: Pillow images, a level between 0 and 10, and a sign for those that have a direction.

Reference: Hendrycks et al., "AugMix", ICLR 2020, and its code; none of them is a corruption of ImageNet-C.
"""

from collections.abc import Callable

from PIL import ImageOps
from PIL.Image import Image, Resampling, Transform

Operation = Callable[[Image, float, int], Image]


def autocontrast(image: Image, _level: float, _sign: int) -> Image:
    """Stretch each channel to its full range."""
    return ImageOps.autocontrast(image)


def equalize(image: Image, _level: float, _sign: int) -> Image:
    """Equalise each channel's histogram."""
    return ImageOps.equalize(image)


def posterize(image: Image, level: float, _sign: int) -> Image:
    """Keep 4 bits of each channel, down to none."""
    return ImageOps.posterize(image, 4 - int(level * 4 / 10))


def rotate(image: Image, level: float, sign: int) -> Image:
    """Rotate by up to 30 degrees."""
    return image.rotate(sign * int(level * 30 / 10), resample=Resampling.BILINEAR)


def solarize(image: Image, level: float, _sign: int) -> Image:
    """Invert what is lighter than a threshold."""
    return ImageOps.solarize(image, 256 - int(level * 256 / 10))


def shear_x(image: Image, level: float, sign: int) -> Image:
    """Shear along the width by up to 0.3."""
    return _affine(image, (1, sign * level * 0.3 / 10, 0, 0, 1, 0))


def shear_y(image: Image, level: float, sign: int) -> Image:
    """Shear along the height by up to 0.3."""
    return _affine(image, (1, 0, 0, sign * level * 0.3 / 10, 1, 0))


def translate_x(image: Image, level: float, sign: int) -> Image:
    """Shift along the width by up to a third."""
    return _affine(image, (1, 0, sign * int(level * image.width / 3 / 10), 0, 1, 0))


def translate_y(image: Image, level: float, sign: int) -> Image:
    """Shift along the height by up to a third."""
    return _affine(image, (1, 0, 0, 0, 1, sign * int(level * image.height / 3 / 10)))


OPERATIONS: tuple[Operation, ...] = (
    autocontrast,
    equalize,
    posterize,
    rotate,
    solarize,
    shear_x,
    shear_y,
    translate_x,
    translate_y,
)


def _affine(image: Image, inverse: tuple[float, ...]) -> Image:
    return image.transform(image.size, Transform.AFFINE, inverse, resample=Resampling.BILINEAR)
