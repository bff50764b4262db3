"""The pictures: boxes where they belong, mixtures by the regularizers' arithmetic, the same items for every backbone."""

import numpy as np
import pytest
import torch
from PIL import Image

from eval_suite.tasks.wsol.examples import choose_pair, mixed_images, overlay, with_boxes
from eval_suite.training.regularizers.boxes import cutmix_box

RED, GREEN = (230, 20, 20), (30, 220, 60)


def test_boxes_are_drawn_in_their_colours_at_the_tiles_scale() -> None:
    tile = with_boxes(Image.new("RGB", (80, 80)), np.array([[10, 20, 29, 39]]), (40, 50, 69, 79))
    assert tile.size == (160, 160)
    pixels = np.asarray(tile)
    for colour, (x0, y0, x1, y1) in ((RED, (20, 40, 59, 79)), (GREEN, (80, 100, 139, 159))):
        rows, columns = np.nonzero((pixels == colour).all(2))
        assert (columns.min(), rows.min(), columns.max(), rows.max()) == (x0, y0, x1, y1)


def test_an_image_that_is_not_square_keeps_its_shape() -> None:
    assert with_boxes(Image.new("RGB", (40, 20)), np.zeros((0, 4), np.int64), (0, 0, 0, 0)).size == (160, 80)


def test_the_overlay_runs_from_blue_to_red() -> None:
    shown = np.asarray(overlay(Image.new("RGB", (2, 1)), np.array([[0.0, 1.0]]))).astype(int)
    (low, high) = shown[0]
    assert low[2] > low[0]
    assert high[0] > high[2]


@pytest.mark.parametrize(
    ("labels", "pair"),
    [
        ([0, 0, 1, 1], (1, 3)),
        ([0] * 7 + [1], (2, 7)),
        ([2, 1, 2, 2, 2, 2, 2, 2], (2, 1)),
        ([0, 0, 0], None),
        ([], None),
    ],
)
def test_the_pair_has_two_classes(labels: list[int], pair: tuple[int, int] | None) -> None:
    assert choose_pair(np.array(labels, np.int64)) == pair


def test_mixtures_follow_the_regularizers() -> None:
    first, second = torch.full((3, 16, 16), 0.2), torch.full((3, 16, 16), 0.6)
    found = mixed_images(first, second, (0.1, 0.5, 0.9))
    assert torch.allclose(found["mixup"], torch.tensor(0.4))
    box = cutmix_box(16, 16, 0.5, 12, 8)
    assert (found["cutmix"] == 0.6).sum() == 3 * box.area
    assert (found["cutmix"][:, box.y0 : box.y1, box.x0 : box.x1] == 0.6).all()
    hole = found["cutout"][:, 4:12, 4:12]
    assert torch.allclose(hole, torch.tensor([0.1, 0.5, 0.9])[:, None, None])
    assert (found["cutout"] == 0.2).sum() == 3 * (256 - 64)
    assert (first == 0.2).all()


def test_boxes_of_one_pixel_are_drawn_on_images_larger_than_a_tile() -> None:
    tile = with_boxes(Image.new("RGB", (400, 400)), np.array([[100, 20, 100, 39]]), (399, 399, 399, 399))
    assert tile.size == (160, 160)
    assert tile.getpixel((40, 12)) != (0, 0, 0)
