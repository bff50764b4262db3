"""Occlusion by hand: which pixels are covered, and with what."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eval_suite.tasks.robustness.occlusion import centre_hole, hole_sides, occlude

FILL = torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1)


def test_the_sides_are_the_papers_every_16_pixels_at_224() -> None:
    assert hole_sides(224, 15).tolist() == list(range(0, 225, 16))


@pytest.mark.parametrize(
    ("side", "count", "expected"),
    [(32, 5, [0, 8, 16, 24, 32]), (4, 15, [0, 1, 2, 3, 4]), (10, 2, [0, 10]), (7, 3, [0, 4, 7]), (32, 0, [])],
)
def test_sides_by_hand(side: int, count: int, expected: list[int]) -> None:
    assert hole_sides(side, count).tolist() == expected


@pytest.mark.parametrize(
    ("size", "share", "hole"),
    [
        ((4, 4), 0.5, (1, 1, 3, 3)),
        ((5, 5), 0.4, (1, 1, 3, 3)),
        ((4, 8), 0.5, (1, 2, 3, 6)),
        ((6, 6), 0.0, (3, 3, 3, 3)),
        ((6, 6), 1.0, (0, 0, 6, 6)),
    ],
)
def test_holes_by_hand(size: tuple[int, int], share: float, hole: tuple[int, ...]) -> None:
    assert centre_hole(size, share) == hole


def test_centre_and_boundary_by_hand() -> None:
    image = torch.arange(16.0).view(1, 1, 4, 4).expand(2, 3, 4, 4).contiguous() / 16
    before = image.clone()
    centre, boundary = occlude(image, 0.5, "centre", FILL), occlude(image, 0.5, "boundary", FILL)
    assert torch.equal(image, before)
    inside = torch.zeros(4, 4, dtype=torch.bool)
    inside[1:3, 1:3] = True
    fill = FILL.expand(2, 3, 4, 4)
    assert torch.equal(centre, torch.where(inside, fill, image))
    assert torch.equal(boundary, torch.where(inside, image, fill))


def test_the_ends_of_the_sweep() -> None:
    image = torch.rand(1, 3, 8, 8)
    blank = FILL.expand_as(image)
    assert torch.equal(occlude(image, 0.0, "centre", FILL), image)
    assert torch.equal(occlude(image, 1.0, "centre", FILL), blank)
    assert torch.equal(occlude(image, 0.0, "boundary", FILL), blank)
    assert torch.equal(occlude(image, 1.0, "boundary", FILL), image)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(2, 20))
def test_every_side_keeps_its_pixels_and_holes_grow(height: int, width: int, count: int) -> None:
    holes = [centre_hole((height, width), side / height) for side in hole_sides(height, count)]
    sides = [hole.bottom - hole.top for hole in holes]
    assert sides == hole_sides(height, count).tolist()
    for small, large in itertools.pairwise(holes):
        assert large.top <= small.top
        assert large.bottom >= small.bottom
        assert 0 <= large.left <= small.left
        assert small.right <= large.right <= width


def test_the_mean_fill_is_zero_after_normalisation() -> None:
    mean, std = torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1), 0.25
    covered = occlude(torch.rand(2, 3, 8, 8), 1.0, "centre", mean)
    assert np.all(((covered - mean) / std).numpy() == 0)
