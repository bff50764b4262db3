"""Training crops of images with their masks; what is drawn depends on the seed, the step and the place in the batch alone."""

from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from eval_suite.core.errors import InputError
from eval_suite.core.runtime import derive_seed
from eval_suite.data.decoding import open_item, to_rgb, why_unreadable
from eval_suite.data.masks import IGNORED, MaskIndex

_ORDER, _CROP = 0x5E61, 0x5E62
_SCALES = (0.5, 2.0)
_LONGEST = 4  # times the short side, of the images' longest
_MOST, _TRIES = 0.75, 10  # of a crop's pixels that may be of one class, and how often another is drawn
_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE = 32.0, (0.5, 1.5), (0.5, 1.5), 18


class CropBatch(NamedTuple):
    """``images`` (B, 3, H, W) uint8 and ``labels`` (B, H, W) uint8."""

    images: Tensor
    labels: Tensor


def positions_of(step: int, batch_size: int, items: int, seed: int) -> list[int]:
    """Which of the items a step, counted from 0, sees: one shuffled pass over them after the other.

    Example:
        >>> sorted(positions_of(0, 2, 4, seed=0) + positions_of(1, 2, 4, seed=0))
        [0, 1, 2, 3]
    """
    orders: dict[int, NDArray[np.int64]] = {}
    found = []
    for place in range(step * batch_size, (step + 1) * batch_size):
        epoch, at = divmod(place, items)
        if epoch not in orders:
            orders[epoch] = np.random.default_rng(derive_seed(seed, epoch, _ORDER)).permutation(items)
        found.append(int(orders[epoch][at]))
    return found


def scaled_size(size: tuple[int, int], short_side: float) -> tuple[int, int]:
    """(width, height) of an image brought to a short side, whose long side may be four times that."""
    factor = min(short_side / min(size), _LONGEST * short_side / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


class Crops(Dataset[CropBatch]):
    """The batch of each step: images scaled by half to twice, cropped, flipped, and their colours changed.

    Args:
        index: images with masks.
        window: (height, width) of the crops; what an image is smaller by is the mean colour, and does not count.
        short_side: of an image that is scaled by one.
        batch_size: crops in a step.
        seed: of all draws.
        fill: the mean colour, in [0, 1].
    """

    def __init__(
        self,
        index: MaskIndex,
        *,
        window: tuple[int, int],
        short_side: int,
        batch_size: int,
        seed: int,
        fill: tuple[float, float, float],
    ) -> None:
        self._index, self._images = index, index.images()
        self._window, self._short, self._batch, self._seed = window, short_side, batch_size, seed
        self._fill = np.array([round(255 * value) for value in fill], np.uint8)

    def __getitem__(self, step: int) -> CropBatch:
        """The batch of a step.

        Raises:
            InputError: if an image or a mask cannot be read.
        """
        positions = positions_of(step, self._batch, len(self._index), self._seed)
        crops = [
            self._crop(position, np.random.default_rng(derive_seed(self._seed, step, place, _CROP)))
            for place, position in enumerate(positions)
        ]
        return CropBatch(
            torch.from_numpy(np.stack([image for image, _ in crops])).permute(0, 3, 1, 2),
            torch.from_numpy(np.stack([labels for _, labels in crops])),
        )

    def _crop(self, position: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        try:
            image = to_rgb(open_item(self._images, position))
        except Exception as error:  # noqa: BLE001 - a broken file can make a decoder raise almost anything
            raise InputError(
                expected="an image to learn from",
                where=self._index.paths[position],
                found=why_unreadable(error),
                remedy="replace it, or remove its line",
            ) from None
        size = scaled_size(image.size, self._short * rng.uniform(*_SCALES))
        pixels = np.asarray(image.resize(size, Image.Resampling.BILINEAR))
        mask = Image.fromarray(self._index.labels(position)).resize(size, Image.Resampling.NEAREST)
        labels = np.asarray(mask)
        top, left = self._place(labels, rng)
        height, width = self._window
        pixels, labels = (part[top : top + height, left : left + width] for part in (pixels, labels))
        if rng.random() < 0.5:
            pixels, labels = pixels[:, ::-1], labels[:, ::-1]
        filled = np.full((height, width, 3), self._fill, np.uint8)
        counted = np.full((height, width), IGNORED, np.uint8)
        filled[: pixels.shape[0], : pixels.shape[1]] = recoloured(pixels, rng)
        counted[: labels.shape[0], : labels.shape[1]] = labels
        return filled, counted

    def _place(self, labels: NDArray[np.uint8], rng: np.random.Generator) -> tuple[int, int]:
        """Top and left of a crop that is not all of one class, if one of ten is."""
        height, width = self._window
        room = [max(0, side - length) for side, length in zip(labels.shape, self._window, strict=True)]
        top = left = 0
        for _ in range(_TRIES):
            top, left = (int(rng.integers(0, each + 1)) for each in room)
            counts = np.bincount(labels[top : top + height, left : left + width].ravel(), minlength=256)
            counts[IGNORED] = 0
            if (counts > 0).sum() > 1 and counts.max() / counts.sum() < _MOST:
                break
        return top, left


def recoloured(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """An image (H, W, 3) with brightness, contrast, saturation and hue changed, each in half of the cases.

    Contrast comes before saturation and hue or after them.

    Reference: Liu et al., SSD, ECCV 2016, and its use for segmentation in MMSegmentation's PhotoMetricDistortion.
    """
    late = rng.random() < 0.5

    def contrast(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return _affine(image, rng.uniform(*_CONTRAST), 0.0) if rng.random() < 0.5 else image

    if rng.random() < 0.5:
        pixels = _affine(pixels, 1.0, rng.uniform(-_BRIGHTNESS, _BRIGHTNESS))
    if not late:
        pixels = contrast(pixels)
    saturated, turned = rng.random() < 0.5, rng.random() < 0.5
    if saturated or turned:
        hsv = np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2HSV), np.uint8)
        if saturated:
            hsv[..., 1] = _affine(hsv[..., 1], rng.uniform(*_SATURATION), 0.0)
        if turned:  # OpenCV's hues are half degrees
            hsv[..., 0] = (hsv[..., 0].astype(np.int64) + int(rng.integers(-_HUE, _HUE))) % 180
        pixels = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)
    return contrast(pixels) if late else pixels


def _affine(values: NDArray[np.uint8], factor: float, offset: float) -> NDArray[np.uint8]:
    return np.clip(values * np.float32(factor) + np.float32(offset), 0, 255).astype(np.uint8)
