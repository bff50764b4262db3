"""Dropped and shuffled patches by hand."""

import itertools

import pytest
import torch

from eval_suite.core.errors import InputError
from eval_suite.tasks.robustness.patches import (
    drop_patches,
    patch_orders,
    require_whole_patches,
    shuffle_patches,
)

FILL = torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1)


def numbered(count: int = 1, height: int = 4, width: int = 6) -> torch.Tensor:
    """Images whose pixels count row by row, from another start in each image and channel."""
    pixels = torch.arange(float(height * width)).view(1, 1, height, width)
    return (
        pixels
        + 100 * torch.arange(3.0).view(1, 3, 1, 1)
        + 1000 * torch.arange(float(count)).view(-1, 1, 1, 1)
    )


def test_the_first_patches_of_the_order_are_covered() -> None:
    """Of the 2 x 3 patches of side 2, half is three: places 5, 0 and 1, that is all but the first row's last and two more."""
    images = numbered()
    before = images.clone()
    orders = torch.tensor([[5, 0, 1, 2, 3, 4]])
    dropped = drop_patches(images, orders, 0.5, 2, FILL)
    assert torch.equal(images, before)
    covered = torch.zeros(4, 6, dtype=torch.bool)
    covered[:2, :4] = True
    covered[2:, 4:] = True
    assert torch.equal(dropped, torch.where(covered, FILL, images))
    assert torch.equal(drop_patches(images, orders, 0.0, 2, FILL), images)
    assert torch.equal(drop_patches(images, orders, 1.0, 2, FILL), FILL.expand_as(images))


def test_each_image_has_its_own_order_and_larger_shares_cover_more() -> None:
    images = numbered(3)
    orders = patch_orders(6, ["a", "b", "c"], 0)
    covered = [(drop_patches(images, orders, share / 6, 2, FILL) == FILL).all(1) for share in range(7)]
    assert [int(mask[0].sum()) for mask in covered] == [4 * patches for patches in range(7)]
    for less, more in itertools.pairwise(covered):
        assert not (less & ~more).any()
    assert not torch.equal(covered[3][0], covered[3][1])


def test_parts_change_places_and_keep_their_pixels() -> None:
    images = numbered()
    # Left to right, top to bottom there come the parts 3, 0, 2 and 1.
    moved = shuffle_patches(images, torch.tensor([[3, 0, 2, 1]]), 2)
    first, second, third, fourth = (
        images[:, :, rows, columns]
        for rows in (slice(0, 2), slice(2, 4))
        for columns in (slice(0, 3), slice(3, 6))
    )
    top, bottom = torch.cat([fourth, first], dim=3), torch.cat([third, second], dim=3)
    assert torch.equal(moved, torch.cat([top, bottom], dim=2))
    assert torch.equal(shuffle_patches(images, torch.tensor([[0, 1, 2, 3]]), 2), images)
    assert torch.equal(shuffle_patches(images, torch.tensor([[0]]), 1), images)


def test_a_shuffle_and_its_inverse_are_the_image() -> None:
    images = numbered(2, 6, 6)
    orders = patch_orders(9, ["a", "b"], 4)
    assert torch.equal(shuffle_patches(shuffle_patches(images, orders, 3), orders.argsort(1), 3), images)


def test_an_order_belongs_to_its_name_and_seed() -> None:
    orders = patch_orders(196, ["a", "b", "c"], 0)
    assert torch.equal(patch_orders(196, ["c", "a"], 0), orders[[2, 0]])
    assert not torch.equal(patch_orders(196, ["a"], 1)[0], orders[0])
    assert torch.equal(orders.sort(1).values, torch.arange(196).expand(3, -1))


@pytest.mark.parametrize(("side", "grids"), [(16, []), (None, [3]), (5, [2]), (64, [])])
def test_parts_of_patches_are_refused(side: int | None, grids: list[int]) -> None:
    with pytest.raises(InputError) as refused:
        require_whole_patches((32, 40), side, grids)
    assert "--patch" in refused.value.remedy
    require_whole_patches((32, 48), 16, [1, 2, 4, 8, 16])
