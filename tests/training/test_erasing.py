"""Random Erasing and GridMask: rectangles and squares counted, the authors' arithmetic in loops."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Generator, Tensor

from eval_suite.training.regularizers import Context, Shard
from eval_suite.training.regularizers.base import Regularizer
from eval_suite.training.regularizers.erasing import GridMask, RandomErasing
from tests.training.mixtures import context


def erased(regularizer: Regularizer, n: int, height: int, width: int, seed: int = 0) -> Tensor:
    """(N, H, W) where white images were erased; the fill and the targets are checked on the way."""
    images, targets = regularizer.apply(torch.ones(n, 3, height, width), torch.eye(n), context(seed))
    assert torch.equal(targets, torch.eye(n))
    hole = images[:, 0] != 1
    assert torch.equal(images, torch.where(hole[:, None], 0.5, 1.0).expand_as(images))
    return hole


def test_random_erasing_erases_one_rectangle_of_the_area_and_shape_that_is_asked_for() -> None:
    holes = erased(RandomErasing(prob=1.0, area=(0.1, 0.3), aspect=0.5), 300, 40, 60)
    for hole in holes:
        rows, columns = hole.any(1).nonzero().flatten(), hole.any(0).nonzero().flatten()
        tall, wide = len(rows), len(columns)
        assert tall * wide == hole.sum()
        # Both sides are rounded, by at most half a pixel each.
        assert (tall - 0.5) * (wide - 0.5) <= 0.3 * 2400
        assert (tall + 0.5) * (wide + 0.5) >= 0.1 * 2400
        assert (tall + 0.5) / (wide - 0.5) >= 0.5
        assert (tall - 0.5) / (wide + 0.5) <= 2
    # Every border is reached, and mirror images are about as likely.
    covered = holes.double().mean(0)
    assert min(covered[0].max(), covered[-1].max(), covered[:, 0].max(), covered[:, -1].max()) > 0
    for axis in (0, 1):
        near, far = covered.chunk(2, axis)
        assert near.mean().item() == pytest.approx(far.mean().item(), abs=5 * 0.2 / math.sqrt(300))


def test_the_share_of_erased_images_is_the_probability() -> None:
    shares = erased(RandomErasing(prob=0.3), 2000, 8, 8).flatten(1).any(1).double().mean()
    assert shares.item() == pytest.approx(0.3, abs=5 * math.sqrt(0.3 * 0.7 / 2000))
    assert not erased(RandomErasing(prob=0.0), 20, 8, 8).any()


def test_a_rectangle_that_never_fits_erases_nothing() -> None:
    assert not erased(RandomErasing(prob=1.0, area=(0.98, 0.99), aspect=0.3), 20, 4, 4).any()


def test_random_colours_differ_by_pixel_and_by_image() -> None:
    before = torch.full((4, 3, 16, 16), 2.0)
    images, _ = RandomErasing(prob=1.0, fill="random").apply(before.clone(), torch.eye(4), context())
    noise = images[images != 2]
    assert len(noise.unique()) > 0.99 * len(noise)
    assert noise.min() >= 0
    assert noise.max() <= 1


def authors_grid(
    height: int, width: int, period: int, keep: float, starts: tuple[int, int]
) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """What the authors' code erases without rotation in mode 1, on its canvas of 1.5 times the image."""
    tall, wide = int(1.5 * height), int(1.5 * width)
    length = int(period * keep + 0.5)
    mask = np.ones((tall, wide), bool)
    for i in range(-1, tall // period + 1):
        mask[
            max(min(period * i + starts[0], tall), 0) : max(min(period * i + starts[0] + length, tall), 0)
        ] = False
    for i in range(-1, wide // period + 1):
        mask[
            :, max(min(period * i + starts[1], wide), 0) : max(min(period * i + starts[1] + length, wide), 0)
        ] = False
    top, left = (tall - height) // 2, (wide - width) // 2
    return mask[top : top + height, left : left + width]


@pytest.mark.parametrize(("height", "width"), [(32, 32), (30, 45)])
def test_gridmask_without_rotation_is_one_of_the_authors_grids(height: int, width: int) -> None:
    period, keep = 7, 0.6
    possible = {
        authors_grid(height, width, period, keep, (down, across)).tobytes()
        for down in range(period)
        for across in range(period)
    }
    holes = erased(
        GridMask(period=(period, period + 1), keep=keep, prob=1.0, ramp=0, rotate=1), 200, height, width
    )
    found = {hole.numpy().tobytes() for hole in holes}
    assert found <= possible
    assert len(found) > 40


def test_rotated_grids_keep_their_share() -> None:
    holes = erased(GridMask(period=(10, 11), keep=0.6, prob=1.0, ramp=0), 400, 64, 64)
    shares = holes.flatten(1).double().mean(1)
    assert shares.mean().item() == pytest.approx(0.16, abs=5 * float(shares.std()) / math.sqrt(400))
    assert len({hole.numpy().tobytes() for hole in holes}) > 350


@pytest.mark.parametrize(("progress", "share"), [(0.0, 0.0), (0.4, 0.4), (0.8, 0.8), (0.95, 0.8)])
def test_the_share_of_masked_images_grows_with_the_training(progress: float, share: float) -> None:
    mixed = GridMask(period=(4, 5)).apply(torch.ones(2000, 3, 8, 8), torch.eye(1), context(0, progress))
    masked = (mixed.images != 1).flatten(1).any(1).double().mean().item()
    assert masked == pytest.approx(share, abs=5 * 0.5 / math.sqrt(2000))


@pytest.mark.parametrize(
    "regularizer", [RandomErasing(prob=1.0), RandomErasing(prob=1.0, fill="random"), GridMask(period=(4, 9))]
)
def test_two_processes_erase_what_one_does(regularizer: Regularizer) -> None:
    images = torch.rand(8, 3, 16, 16, generator=Generator().manual_seed(0))
    whole = regularizer.apply(images.clone(), torch.eye(8), context(3)).images
    halves = [
        regularizer.apply(
            images[rank * 4 : rank * 4 + 4].clone(),
            torch.eye(8)[rank * 4 : rank * 4 + 4],
            Context(Generator().manual_seed(3), torch.full((3,), 0.5), 0.9, Shard(rank, 2)),
        ).images
        for rank in (0, 1)
    ]
    assert torch.equal(torch.cat(halves), whole)


def test_wrong_options_are_refused() -> None:
    for options in ({"area": (0.4, 0.1)}, {"area": (0.0, 0.5)}, {"aspect": 2}, {"fill": "black"}):
        with pytest.raises(ValidationError):
            RandomErasing(**options)  # type: ignore[arg-type]
    for options in ({"period": (8, 8)}, {"keep": 1}, {"rotate": 0}):
        with pytest.raises(ValidationError):
            GridMask(**options)  # type: ignore[arg-type]
