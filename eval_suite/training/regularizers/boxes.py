"""Boxes of pixels that are cut out or pasted."""

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Box(NamedTuple):
    """A pixel box; the corners (x1, y1) are exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def area(self) -> int:
        """Pixels inside."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)

    @property
    def inside(self) -> tuple[slice, slice]:
        """Rows and columns of the box, to index an image with."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)


def cutmix_box(height: int, width: int, lam: float, centre_x: int, centre_y: int) -> Box:
    """The box to paste, cut to sqrt(1 - lam) of each side around a centre and clipped at the borders.

    Args:
        height: image height in pixels.
        width: image width in pixels.
        lam: share of the image to keep, in [0, 1].
        centre_x: centre column in [0, width).
        centre_y: centre row in [0, height).

    Reference: Yun et al., ICCV 2019, eq. 2, with the integer arithmetic of the authors' code: the side is
    truncated and halved in whole pixels, so that odd sides lose one.
    """
    ratio = math.sqrt(1.0 - lam)
    return clipped_box(height, width, int(width * ratio) // 2, int(height * ratio) // 2, centre_x, centre_y)


def inside_boxes(boxes: list[Box], images: "Tensor") -> "Tensor":
    """(N, 1, H, W) bool: the pixels of each image's own box."""
    import torch

    x0, y0, x1, y1 = torch.tensor(boxes).to(images.device, non_blocking=True).t()[..., None]
    rows, columns = (torch.arange(side, device=images.device) for side in images.shape[-2:])
    inside = ((rows >= y0) & (rows < y1))[:, :, None] & ((columns >= x0) & (columns < x1))[:, None, :]
    return inside.unsqueeze(1)


def clipped_box(
    height: int, width: int, half_width: int, half_height: int, centre_x: int, centre_y: int
) -> Box:
    """The box of twice the half sides around a centre, clipped at the borders."""
    return Box(
        max(centre_x - half_width, 0),
        max(centre_y - half_height, 0),
        min(centre_x + half_width, width),
        min(centre_y + half_height, height),
    )
