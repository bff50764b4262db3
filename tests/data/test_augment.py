"""Batched augmentations against one image at a time, and what must hold for any draw."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor
from torchvision.transforms import RandomResizedCrop

from eval_suite.data.augment import (
    AUGMENTATIONS,
    Augmentation,
    random_resized_crop_box,
    to_unit_range,
)

GREY = torch.tensor([0.299, 0.587, 0.114])


def seeded(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int, height: int = 32, width: int = 32, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=seeded(seed))


def augmented(augmentation: Augmentation, images: Tensor, seed: int = 0) -> Tensor:
    """The images after an augmentation, in the numbers that they came in."""
    drawn = augmentation.draw(len(images), seeded(seed))
    return augmentation.apply(images, drawn).mul(255).round().to(images.dtype)


def crop_flip_one_by_one(images: Tensor, padding: int, offsets: Tensor, flip: Tensor) -> Tensor:
    results = []
    _, channels, height, width = images.shape
    for image, (top, left), mirrored in zip(images, offsets.tolist(), flip.tolist(), strict=True):
        padded = torch.zeros(channels, height + 2 * padding, width + 2 * padding, dtype=images.dtype)
        padded[:, padding : padding + height, padding : padding + width] = image
        part = padded[:, top : top + height, left : left + width]
        results.append(part.flip(2) if mirrored else part)
    return torch.stack(results)


@pytest.mark.parametrize(("height", "width", "padding"), [(32, 32, 4), (7, 5, 3), (5, 9, 1)])
def test_crop_and_flip_equal_the_loop_over_images(height: int, width: int, padding: int) -> None:
    images = pictures(50, height, width)
    augmentation = Augmentation("exact", padding=padding)
    drawn = augmentation.draw(50, seeded(3))
    result = augmentation.apply(images, drawn)
    assert drawn.offsets is not None
    assert drawn.flip is not None
    assert drawn.offsets.unique().tolist() == list(range(2 * padding + 1))
    expected = crop_flip_one_by_one(images, padding, drawn.offsets, drawn.flip)
    assert torch.equal(result, to_unit_range(expected))


@given(
    seed=st.integers(0, 2**31),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    padding=st.integers(0, 4),
    count=st.integers(1, 6),
)
@settings(deadline=None, max_examples=60)
def test_a_crop_shows_the_image_or_the_black_border(
    seed: int, height: int, width: int, padding: int, count: int
) -> None:
    numbered = torch.arange(1, count * height * width + 1).view(count, 1, height, width)
    result = augmented(Augmentation("exact", padding=padding), numbered, seed)
    assert result.shape == numbered.shape
    for before, after in zip(numbered, result, strict=True):
        shown = after[after > 0]
        assert torch.isin(shown, before).all()
        assert len(shown.unique()) == len(shown)
        assert len(shown) >= max(0, height - padding) * max(0, width - padding)


def test_a_crop_of_a_share_equals_the_loop_over_images() -> None:
    augmentation = AUGMENTATIONS["resize-crop"]
    assert augmentation.source_size((224, 224)) == (256, 256)
    assert augmentation.source_size((64, 32)) == (73, 37)
    drawn = augmentation.draw(400, seeded(1))
    assert drawn.place is not None
    assert drawn.flip is not None
    images = pictures(400, 16, 8)
    result = augmentation.apply(images, drawn)
    corners = set()
    for image, place, flip, found in zip(images, drawn.place, drawn.flip, result, strict=True):
        top, left = int(place[0] * 3), int(place[1] * 2)
        corners.add((top, left))
        part = image[:, top : top + 14, left : left + 7]
        assert torch.equal(found, to_unit_range(part.flip(2) if flip else part))
    assert corners == {(top, left) for top in range(3) for left in range(2)}


def test_images_of_which_few_are_worked_on_at_a_time_equal_the_loop_over_images() -> None:
    images = pictures(7, 300, 260)
    drawn = AUGMENTATIONS["flip"].draw(7, seeded())
    assert drawn.flip is not None
    assert {bool(flip) for flip in drawn.flip} == {True, False}
    for image, flip, found in zip(
        images, drawn.flip, AUGMENTATIONS["flip"].apply(images, drawn), strict=True
    ):
        assert torch.equal(found, to_unit_range(image.flip(2) if flip else image))


@given(side=st.integers(8, 600))
@settings(deadline=None)
def test_the_source_is_cropped_to_the_size_that_was_asked_for(side: int) -> None:
    augmentation = AUGMENTATIONS["resize-crop"]
    tall, _ = augmentation.source_size((side, side))
    images = torch.zeros(1, 1, tall, tall, dtype=torch.uint8)
    assert augmentation.apply(images, augmentation.draw(1, seeded())).shape == (1, 1, side, side)


def test_the_input_is_left_alone() -> None:
    images = pictures(8)
    before = images.clone()
    for augmentation in AUGMENTATIONS.values():
        augmentation.apply(images, augmentation.draw(8, seeded()))
    assert torch.equal(images, before)


@given(seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=20)
def test_flipping_twice_gives_the_image_back(seed: int) -> None:
    images = pictures(9, 4, 6)
    once = augmented(AUGMENTATIONS["flip"], images, seed)
    assert torch.equal(augmented(AUGMENTATIONS["flip"], once, seed), images)


def test_half_of_the_images_are_flipped_and_offsets_are_uniform() -> None:
    drawn = AUGMENTATIONS["cifar"].draw(20_000, seeded())
    assert drawn.flip is not None
    assert drawn.offsets is not None
    assert abs(drawn.flip.float().mean().item() - 0.5) < 4 * 0.5 / 20_000**0.5
    for side in drawn.offsets.T:
        counts = side.bincount(minlength=9)
        assert len(counts) == 9
        assert (counts - 20_000 / 9).abs().max() < 4 * (20_000 / 9) ** 0.5


def test_the_result_is_the_exact_quotient_in_the_unit_range() -> None:
    every = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(to_unit_range(every), every.float().div(255))


def jitter_one_by_one(images: Tensor, strengths: Tensor, order: Tensor) -> Tensor:
    results = []
    for image, alphas, kinds in zip(images.double(), strengths.double(), order.tolist(), strict=True):
        for kind in kinds:
            grey = (image * GREY.double()[:, None, None]).sum(0, keepdim=True).expand_as(image)
            target = (torch.zeros_like(image), torch.full_like(image, grey.mean().item()), grey)[kind]
            image = image.lerp(target, alphas[kind])
        results.append(image)
    return torch.stack(results)


def test_jitter_equals_the_loop_over_images() -> None:
    images = pictures(40, 9, 7)
    augmentation = Augmentation("fit", flip=False, jitter=0.4)
    drawn = augmentation.draw(40, seeded(5))
    assert drawn.jitter is not None
    assert drawn.order is not None
    assert len({tuple(kinds) for kinds in drawn.order.tolist()}) == 6
    assert drawn.jitter.abs().max() <= 0.4
    expected = jitter_one_by_one(to_unit_range(images), drawn.jitter, drawn.order)
    torch.testing.assert_close(augmentation.apply(images, drawn).double(), expected, atol=2e-6, rtol=0)


def test_no_strength_no_change() -> None:
    images = pictures(4)
    augmentation = Augmentation("fit", flip=False, jitter=0.4, lighting=0.1)
    none = augmentation.draw(4, seeded())._replace(jitter=torch.zeros(4, 3), lighting=torch.zeros(4, 3))
    assert torch.equal(augmentation.apply(images, none), to_unit_range(images))


def test_lighting_adds_one_colour_per_image() -> None:
    images = pictures(30, 5, 5)
    augmentation = Augmentation("fit", flip=False, lighting=0.1)
    drawn = augmentation.draw(30, seeded(2))
    assert drawn.lighting is not None
    values = torch.tensor([0.2175, 0.0188, 0.0045])
    vectors = torch.tensor(
        [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
    )
    result = augmentation.apply(images, drawn)
    for image, after, weights in zip(to_unit_range(images), result, drawn.lighting, strict=True):
        rgb = (vectors * weights * values).sum(1)
        torch.testing.assert_close(after, image + rgb[:, None, None], atol=1e-6, rtol=0)


def test_lighting_weights_have_the_asked_spread() -> None:
    drawn = AUGMENTATIONS["imagenet-jitter"].draw(20_000, seeded())
    assert drawn.lighting is not None
    assert abs(drawn.lighting.std().item() - 0.1) < 0.002
    assert abs(drawn.lighting.mean().item()) < 0.002


def test_the_whole_preset_is_flip_then_jitter_then_lighting() -> None:
    images = pictures(12, 6, 6)
    preset = AUGMENTATIONS["imagenet-jitter"]
    drawn = preset.draw(12, seeded(9))
    assert drawn.flip is not None
    assert drawn.jitter is not None
    assert drawn.order is not None
    assert drawn.lighting is not None
    flipped = torch.where(drawn.flip[:, None, None, None], images.flip(3), images)
    expected = jitter_one_by_one(to_unit_range(flipped), drawn.jitter, drawn.order)
    shift = preset.apply(torch.zeros_like(images), drawn)
    torch.testing.assert_close(preset.apply(images, drawn).double(), expected + shift, atol=2e-6, rtol=0)


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_decisions_of_a_part_are_a_part_of_the_decisions(name: str) -> None:
    images = pictures(10)
    preset = AUGMENTATIONS[name]
    drawn = preset.draw(10, seeded(1))
    whole = preset.apply(images, drawn)
    assert whole.dtype == torch.float32
    assert torch.equal(preset.apply(images[3:7], drawn.select(slice(3, 7))), whole[3:7])
    chosen = torch.tensor([True, False] * 5)
    assert torch.equal(preset.apply(images[chosen], drawn.select(chosen)), whole[chosen])


@pytest.mark.parametrize("size", [(375, 500), (500, 375), (32, 32), (10, 400), (400, 10), (1, 1), (3, 2)])
def test_the_crop_box_is_torchvisions(size: tuple[int, int]) -> None:
    image = torch.empty(3, *size)
    for seed in range(200):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            expected = RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3])
        # The range of the ratio's logarithm is rounded to float32 there, so the last bit of a side may differ.
        found = random_resized_crop_box(size, seeded(seed))
        assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) <= 1


@given(seed=st.integers(0, 2**31), height=st.integers(1, 300), width=st.integers(1, 300))
@settings(deadline=None, max_examples=100)
def test_the_crop_box_lies_in_the_image(seed: int, height: int, width: int) -> None:
    box = random_resized_crop_box((height, width), seeded(seed))
    assert box.height >= 1
    assert box.width >= 1
    assert 0 <= box.top <= height - box.height
    assert 0 <= box.left <= width - box.width
