"""Occlusion: a centre square is covered, or everything around it."""

from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Kind = Literal["centre", "boundary"]
KINDS: tuple[Kind, ...] = ("centre", "boundary")


class Hole(NamedTuple):
    """A centred rectangle: rows from ``top`` to before ``bottom``, columns from ``left`` to before ``right``."""

    top: int
    left: int
    bottom: int
    right: int


def hole_sides(side: int, count: int) -> NDArray[np.int64]:
    """At most ``count`` different hole sides in pixels, evenly spaced from 0 to the image's side, both included."""
    return np.unique((np.linspace(0, side, count) + 0.5).astype(np.int64)) if count else np.zeros(0, np.int64)


def centre_hole(size: tuple[int, int], share: float) -> Hole:
    """The centred rectangle that takes ``share`` of each side of an image of (height, width).

    Sides are rounded to whole pixels; an odd remainder goes below and to the right.
    """
    height, width = (int(share * full + 0.5) for full in size)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return Hole(top, left, top + height, left + width)


def occlude(images: Tensor, share: float, kind: Kind, fill: Tensor) -> Tensor:
    """Cover the centre of each image, or all but the centre.

    Args:
        images: (B, 3, H, W).
        share: side of the centre square as a share of the image's side, from 0 to 1.
        kind: 'centre' covers the square, 'boundary' what lies around it.
        fill: (1, 3, 1, 1) colour of covered pixels.

    Returns:
        (B, 3, H, W), a copy.

    Reference: Yun et al., ICCV 2019, sec. 4.4 and Figure 5a.
    """
    top, left, bottom, right = centre_hole((images.shape[2], images.shape[3]), share)
    if kind == "centre":
        covered = images.clone()
        covered[:, :, top:bottom, left:right] = fill
        return covered
    covered = torch.empty_like(images).copy_(fill)
    covered[:, :, top:bottom, left:right] = images[:, :, top:bottom, left:right]
    return covered
