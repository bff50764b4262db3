"""Patches of an image: some are dropped, or all change places."""

from collections.abc import Sequence

import torch
from torch import Tensor

from eval_suite.core.errors import InputError
from eval_suite.tasks.robustness.attacks import item_seeds

_ORDER = 0xD209


def patch_orders(patches: int, names: Sequence[str], seed: int) -> Tensor:
    """A random order of the patches of each image: (n, patches) places, drawn on the CPU from the image's name and a seed.

    Example:
        >>> patch_orders(4, ["cat.png"], 0).sort().values.tolist()
        [[0, 1, 2, 3]]
    """
    generator = torch.Generator()
    seeds = item_seeds(names, seed, patches, _ORDER)
    return torch.stack([torch.randperm(patches, generator=generator.manual_seed(each)) for each in seeds])


def drop_patches(images: Tensor, orders: Tensor, share: float, side: int, fill: Tensor) -> Tensor:
    """Cover a share of the square patches of each image: the first of its order.

    What is dropped at one share is dropped at every larger one too.

    Args:
        images: (B, 3, H, W), H and W multiples of ``side``.
        orders: (B, patches) of `patch_orders`; patches are counted row by row.
        share: of the patches, from 0 to 1, rounded to whole ones.
        side: of a patch in pixels.
        fill: (1, 3, 1, 1) colour of covered pixels.

    Returns:
        (B, 3, H, W), a copy.

    Reference: Naseer et al., NeurIPS 2021, sec. 3.1 (random PatchDrop).
    """
    rows, columns = images.shape[2] // side, images.shape[3] // side
    dropped = torch.zeros(len(images), rows * columns, dtype=torch.bool, device=images.device)
    dropped.scatter_(1, orders[:, : round(share * rows * columns)].to(images.device), value=True)
    mask = dropped.view(-1, 1, rows, columns)
    return torch.where(mask.repeat_interleave(side, 2).repeat_interleave(side, 3), fill, images)


def shuffle_patches(images: Tensor, orders: Tensor, grid: int) -> Tensor:
    """Cut each image into ``grid`` x ``grid`` parts and put them together in its order.

    Args:
        images: (B, 3, H, W), H and W multiples of ``grid``.
        orders: (B, grid²) of `patch_orders`: the part that comes to each place, row by row.
        grid: parts along each side.

    Returns:
        (B, 3, H, W), a copy.

    Reference: Naseer et al., NeurIPS 2021, sec. 3.3 (shuffled patches).
    """
    count, channels, height, width = images.shape
    high, wide = height // grid, width // grid
    parts = images.reshape(count, channels, grid, high, grid, wide).permute(0, 2, 4, 1, 3, 5)
    parts = parts.reshape(count, grid * grid, channels, high, wide)
    moved = parts[torch.arange(count, device=images.device)[:, None], orders.to(images.device)]
    moved = moved.reshape(count, grid, grid, channels, high, wide).permute(0, 3, 1, 4, 2, 5)
    return moved.reshape(images.shape)


def require_whole_patches(size: tuple[int, int], side: int | None, grids: Sequence[int]) -> None:
    """Check that images of (height, width) fall into whole patches.

    Args:
        size: of the network's input.
        side: of the patches to drop; None where none are.
        grids: parts along each side of the images to shuffle.

    Raises:
        InputError: if they do not.
    """
    height, width = size
    if side is not None and (height % side or width % side):
        raise InputError(
            expected=f"patches that fill an input of {height} x {width} pixels",
            found=f"a side of {side}",
            remedy="choose another with --patch-size, or leave the part out with --patch-drop-shares without values",
        )
    for grid in grids:
        if height % grid or width % grid:
            raise InputError(
                expected=f"grids that cut an input of {height} x {width} pixels into equal parts",
                found=f"{grid} x {grid}",
                remedy="choose others with --patch-shuffle-grids",
            )
