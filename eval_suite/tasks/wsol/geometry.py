"""Where a box of the original image lies in the network's input, and a class activation map at that size."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from eval_suite.data.sizing import EvaluationTransform


class Transform(NamedTuple):
    """The test transform of localisation: resize to ``resized`` without regard to the aspect ratio, centre crop of ``size``.

    ``size`` is (height, width) of the network's input; ``crop_fraction`` in (0, 1] is the share of a side that the
    crop keeps, 1 for a plain resize.
    """

    size: tuple[int, int]
    crop_fraction: float = 1.0

    @property
    def resized(self) -> tuple[int, int]:
        """(height, width) before the crop."""
        return round(self.size[0] / self.crop_fraction), round(self.size[1] / self.crop_fraction)

    @property
    def corner(self) -> tuple[int, int]:
        """(top, left) of the crop in the resized image."""
        (tall, wide), (height, width) = self.resized, self.size
        return round((tall - height) / 2), round((wide - width) / 2)

    @property
    def of_images(self) -> "EvaluationTransform":
        """What images go through, bilinear with antialiasing; boxes and masks follow it."""
        from eval_suite.data.sizing import EvaluationTransform  # imports torch, which help does not need

        return EvaluationTransform(self.size, self.crop_fraction, stretch=True)


PAPER = Transform((224, 224), 0.875)
"""CutMix, appendix B: resize to 256 x 256, centre crop of 224 x 224."""

EVALUATION_PAPER = Transform((224, 224))
"""Choe et al., CVPR 2020: resize to 224 x 224."""


def boxes_through(
    boxes: NDArray[np.floating], image_size: tuple[int, int], transform: Transform
) -> NDArray[np.int64]:
    """Boxes of an image as they lie in the network's input.

    Args:
        boxes: (k, 4) x0 y0 x1 y1 in pixels of the original image.
        image_size: its (width, height).
        transform: how it becomes the input.

    Returns:
        (j, 4) whole pixels, scaled and cut towards zero as the evaluation paper's code does. A crop cuts the boxes at
        its edges and leaves out those that lie outside, so j can be less than k.
    """
    tall, wide = transform.resized
    width, height = image_size
    exact = np.asarray(boxes, np.float64).reshape(-1, 4)
    scaled = np.trunc(exact * [wide, tall, wide, tall] / [width, height, width, height]).astype(np.int64)
    if transform.resized == transform.size:
        return scaled
    top, left = transform.corner
    high, across = transform.size
    moved = scaled - [left, top, left, top]
    seen = (moved[:, 2] >= 0) & (moved[:, 3] >= 0) & (moved[:, 0] < across) & (moved[:, 1] < high)
    return moved[seen].clip(0, [across - 1, high - 1, across - 1, high - 1])


def mask_through(mask: NDArray[np.uint8], transform: Transform) -> NDArray[np.uint8]:
    """A mask (h, w) as it lies in the network's input, by nearest neighbour."""
    import cv2

    tall, wide = transform.resized
    top, left = transform.corner
    resized: NDArray[np.uint8] = cv2.resize(mask, (wide, tall), interpolation=cv2.INTER_NEAREST)  # type: ignore[assignment]
    return resized[top : top + transform.size[0], left : left + transform.size[1]]


def score_map(raw: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.float64]:
    """A class activation map at the input's size with values in [0, 1]: cubic upsampling, then min-max per map.

    Args:
        raw: (h, w).
        size: (H, W).

    Returns:
        (H, W); zeros where the map is constant or holds NaN or infinity.

    Reference: Choe et al., CVPR 2020 (their code's inference).
    """
    import cv2

    exact = np.asarray(raw, np.float64)
    if not np.isfinite(exact).all() or exact.min() == exact.max():
        return np.zeros(size)
    if exact.shape != size:
        exact = np.asarray(cv2.resize(exact, (size[1], size[0]), interpolation=cv2.INTER_CUBIC), np.float64)
    shifted = exact - exact.min()
    return shifted / shifted.max()
