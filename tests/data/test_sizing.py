"""An image brought to the network's size: torchvision's transforms and Pillow's pixels, to the bit."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, Resize
from torchvision.transforms.functional import InterpolationMode, pil_to_tensor

from eval_suite.core.runtime import derive_seed
from eval_suite.data.augment import random_resized_crop_box
from eval_suite.data.decoding import jpeg_pixels, open_item
from eval_suite.data.sizing import _GEOMETRY, INTERPOLATIONS, EvaluationTransform, ResizedCrop
from tests.data.test_loading import folder, noise, smooth


@pytest.mark.parametrize("fraction", [0.875, 1.0, 0.95])
@pytest.mark.parametrize("size", [32, 15])
@pytest.mark.parametrize(
    ("name", "mode"), [("bilinear", InterpolationMode.BILINEAR), ("bicubic", InterpolationMode.BICUBIC)]
)
def test_the_transform_is_torchvisions(
    fraction: float, size: int, name: str, mode: InterpolationMode
) -> None:
    for height, width in [(37, 53), (53, 37), (61, 61), (20, 97), (33, 32), (11, 11), (36, 37)]:
        image = noise(height, height, width)
        short = round(size / fraction)
        reference = Compose([Resize(short, mode, antialias=True), CenterCrop(size)])
        expected = reference(image)
        found = EvaluationTransform((size, size), fraction, name).apply(image)
        assert found.size == (size, size)
        assert torch.equal(pil_to_tensor(found), pil_to_tensor(expected)), (height, width)


def test_a_wanted_size_that_is_not_square_is_covered_without_distortion() -> None:
    for height, width in [(40, 40), (30, 90), (90, 30), (16, 24)]:
        found = EvaluationTransform((16, 24), 0.8).apply(smooth(0, height, width))
        assert found.size == (24, 16)
    assert EvaluationTransform((16, 24)).apply(image := noise(1, 16, 24)) is image


@pytest.mark.parametrize(("share", "resized"), [(0.875, 256), (1.0, 224)])
def test_stretching_is_torchvisions_resize_to_both_sides(share: float, resized: int) -> None:
    for height, width in [(90, 300), (224, 224), (256, 300)]:
        image = noise(0, height, width)
        found = EvaluationTransform((224, 224), share, stretch=True).apply(image)
        expected = Compose([Resize((resized, resized)), CenterCrop(224)])(image)
        assert torch.equal(pil_to_tensor(found), pil_to_tensor(expected))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_resized_crops_of_jpegs_are_pillows_to_the_bit(tmp_path: Path, mode: str, interpolation: str) -> None:
    index = folder(tmp_path, [(40, 61), (90, 70), (33, 120), (64, 64)], ".jpg")
    assert index.paths is not None
    for path in index.paths:
        with Image.open(path) as image:
            image.convert(mode).save(path)
    size, seed, epoch = (24, 32), 5, 2
    crop, slow = (
        ResizedCrop(size, seed, epoch, interpolation, reader) for reader in ("torchvision", "pillow")
    )
    for position, path in enumerate(index.paths):
        item = open_item(index, position)
        assert jpeg_pixels(item) is not None
        found = crop(item, position)
        with Image.open(path) as image:
            whole = image.convert("RGB")
        drawn = torch.Generator().manual_seed(derive_seed(seed, epoch, position, _GEOMETRY))
        top, left, height, width = random_resized_crop_box((whole.height, whole.width), drawn)
        part = whole.crop((left, top, left + width, top + height))
        expected = part.resize(size[::-1], INTERPOLATIONS[interpolation])
        assert np.array_equal(found.transpose(1, 2, 0), np.asarray(expected))
        assert np.array_equal(slow(open_item(index, position), position), found)
