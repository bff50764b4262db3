"""Images of any size for networks that take some: what is padded, what is tiled, and how it is found out."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from eval_suite.backbones.structure.sizes import Sizing, find_sizing


def test_images_are_padded_with_zeros_below_and_to_the_right() -> None:
    images = torch.randn(2, 3, 30, 49)
    padded = Sizing((16, 16)).pad(images)
    assert padded.shape == (2, 3, 32, 64)
    assert torch.equal(padded[..., :30, :49], images)
    assert padded[..., 30:, :].abs().sum() + padded[..., 49:].abs().sum() == 0
    # 49 pixels have four cells of 16, which five patches of 14 cover.
    assert Sizing((14, 14)).pad(images, stride=16).shape == (2, 3, 42, 70)
    assert Sizing((1, 1)).pad(images) is images


def test_tiles_joined_are_the_image() -> None:
    images = torch.randn(2, 3, 24, 40)
    sizing = Sizing((8, 10), tiled=True)
    tiles = sizing.cut(images)
    assert tiles.shape == (2 * 3 * 4, 3, 8, 10)
    assert torch.equal(tiles[5], images[0, :, 8:16, 10:20])
    assert torch.equal(sizing.join(tiles, images), images)
    pooled = sizing.join(F.avg_pool2d(tiles, 2), images)
    assert torch.equal(pooled, F.avg_pool2d(images, 2))


def pooled(images: Tensor) -> list[Tensor]:
    return [F.avg_pool2d(images, 8, ceil_mode=True), F.avg_pool2d(images, 16, ceil_mode=True)]


@pytest.mark.parametrize("unit", [1, 14, 32, 96])
def test_the_smallest_unit_is_found(unit: int) -> None:
    def run(images: Tensor) -> list[Tensor]:
        if images.shape[2] % unit or images.shape[3] % unit:
            raise RuntimeError("of another size")
        return pooled(images)

    own = 112 if unit == 14 else 96
    assert find_sizing(run, (own, own)) == Sizing((unit, unit))


def test_a_network_of_one_size_has_no_unit() -> None:
    def run(images: Tensor) -> list[Tensor]:
        if images.shape[2:] != (96, 96):
            raise RuntimeError("of another size")
        return pooled(images)

    assert find_sizing(run, (96, 96)) is None


def test_a_network_that_shrinks_every_image_has_no_unit() -> None:
    assert find_sizing(lambda images: pooled(F.interpolate(images, (96, 96))), (96, 96)) is None


def test_a_table_of_positions_that_ends_at_its_own_size_is_noticed() -> None:
    def run(images: Tensor) -> list[Tensor]:
        torch.zeros(224)[max(images.shape[2:]) - 1]
        return pooled(images)

    assert find_sizing(run, (224, 224)) is None


def test_convolutions_without_padding_take_any_size() -> None:
    kernel = torch.ones(3, 3, 3, 3)

    def run(images: Tensor) -> list[Tensor]:
        for stride in (2, 1, 2, 1, 2, 2, 1, 2):
            images = F.conv2d(images, kernel, stride=stride)
        return [images]

    assert find_sizing(run, (256, 256)) == Sizing((1, 1))


def test_one_pair_of_sizes_that_suits_by_chance_does_not_count() -> None:
    asked: list[tuple[int, ...]] = []

    def run(images: Tensor) -> list[Tensor]:
        asked.append(tuple(images.shape[2:]))
        if asked[-1] != asked[min(1, len(asked) - 1)] and images.shape[2] % 32:
            raise RuntimeError("of another size")
        return pooled(images)

    assert find_sizing(run, (96, 96)) == Sizing((32, 32))
