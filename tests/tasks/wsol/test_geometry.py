"""Boxes, masks and maps at the network's input."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from eval_suite.tasks.wsol.geometry import (
    EVALUATION_PAPER,
    PAPER,
    Transform,
    boxes_through,
    mask_through,
    score_map,
)


def test_the_two_published_transforms() -> None:
    assert (PAPER.resized, PAPER.corner, PAPER.size) == ((256, 256), (16, 16), (224, 224))
    assert (EVALUATION_PAPER.resized, EVALUATION_PAPER.corner) == ((224, 224), (0, 0))


def test_an_image_is_resized_without_regard_to_its_aspect_and_cropped_in_the_middle() -> None:
    image = Image.fromarray(np.tile(np.arange(200, dtype=np.uint8)[:, None, None], (1, 500, 3)))
    paper = PAPER.of_images.apply(image)
    assert paper.size == (224, 224)
    whole = image.resize((256, 256), Image.Resampling.BILINEAR)
    assert np.array_equal(np.asarray(paper), np.asarray(whole)[16:240, 16:240])
    assert np.array_equal(
        np.asarray(EVALUATION_PAPER.of_images.apply(image)),
        np.asarray(image.resize((224, 224), Image.Resampling.BILINEAR)),
    )
    for transform, edge in ((PAPER, 16), (EVALUATION_PAPER, 0)):
        marked = Image.new("RGB", (transform.resized[1], transform.resized[0]))
        marked.putpixel((edge, edge), (255, 255, 255))
        top, left = transform.corner
        assert transform.of_images.apply(marked).getpixel((edge - left, edge - top)) == (255, 255, 255)
    small = Image.new("RGB", (64, 64), (9, 8, 7))
    assert Transform((64, 64)).of_images.apply(small).tobytes() == small.tobytes()


def test_boxes_are_scaled_and_cut_towards_zero() -> None:
    boxes = np.array([[60.0, 27.0, 385.0, 331.0], [-3.0, 0.0, 500.0, 335.9]])
    scaled = boxes_through(boxes, (500, 336), EVALUATION_PAPER)
    # 60 * 224 / 500 = 26.88, 27 * 224 / 336 = 18, 385 * 224 / 500 = 172.48, 331 * 224 / 336 = 220.67; -1.34 is cut to -1
    assert scaled.tolist() == [[26, 18, 172, 220], [-1, 0, 224, 223]]


def test_a_crop_moves_boxes_and_cuts_them_at_its_edges() -> None:
    boxes = np.array([[0, 0, 99, 99], [50, 50, 60, 70], [0, 0, 5, 99], [97, 0, 99, 99]], np.float64)
    # Of 100 pixels, the crop keeps those that land on 16..239 of 256.
    assert boxes_through(boxes, (100, 100), PAPER).tolist() == [[0, 0, 223, 223], [112, 112, 137, 163]]
    assert boxes_through(boxes[2:], (100, 100), PAPER).shape == (0, 4)
    assert boxes_through(np.zeros((0, 4)), (100, 100), PAPER).shape == (0, 4)


@given(st.tuples(*[st.integers(0, 255)] * 4), st.integers(1, 400), st.integers(1, 400))
def test_a_box_of_the_whole_image_is_the_whole_input(
    corners: tuple[int, ...], width: int, height: int
) -> None:
    whole = np.array([[0, 0, width, height]], np.float64)
    assert boxes_through(whole, (width, height), PAPER).tolist() == [[0, 0, 223, 223]]
    x0, y0, x1, y1 = corners
    inner = np.array([[min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)]], np.float64)
    found = boxes_through(inner, (256, 256), PAPER)
    if len(found):
        assert (found >= 0).all()
        assert (found <= 223).all()
        assert (found[:, 2:] >= found[:, :2]).all()


def test_masks_follow_by_nearest_neighbour() -> None:
    mask = np.random.default_rng(0).integers(0, 2, (50, 70)).astype(np.uint8)
    assert np.array_equal(
        mask_through(mask, EVALUATION_PAPER), cv2.resize(mask, (224, 224), interpolation=cv2.INTER_NEAREST)
    )
    whole = cv2.resize(mask, (256, 256), interpolation=cv2.INTER_NEAREST)
    assert np.array_equal(mask_through(mask, PAPER), whole[16:240, 16:240])


def test_a_score_map_is_upsampled_before_it_is_normalised() -> None:
    raw = np.random.default_rng(0).normal(size=(7, 7)).astype(np.float32)
    found = score_map(raw, (224, 200))
    fine = cv2.resize(raw.astype(np.float64), (200, 224), interpolation=cv2.INTER_CUBIC)
    assert np.array_equal(found, (fine - fine.min()) / (fine - fine.min()).max())
    assert (found.shape, found.min(), found.max()) == ((224, 200), 0, 1)
    # Neither scale nor offset of the raw map matters.
    assert np.allclose(score_map(3 * raw - 5, (224, 200)), found, atol=1e-6)
    normalised = (raw - raw.min()) / (raw.max() - raw.min())
    assert np.allclose(score_map(normalised, (7, 7)), normalised)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, None])
def test_a_map_that_is_constant_or_not_finite_is_empty(value: float | None) -> None:
    raw = np.full((7, 7), 3.0)
    if value is not None:
        raw[:] = np.arange(7)
        raw[2, 3] = value
    found = score_map(raw, (14, 14))
    assert found.shape == (14, 14)
    assert not found.any()
