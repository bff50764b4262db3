"""ResizeMix, SaliencyMix and RICAP: counted pixels, and the published arithmetic in loops."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Generator

from eval_suite.training.regularizers._saliency import fine_grained_saliency
from eval_suite.training.regularizers.base import Regularizer
from eval_suite.training.regularizers.boxes import cutmix_box
from eval_suite.training.regularizers.draws import beta, integers, permutation, uniform
from eval_suite.training.regularizers.pasting import RICAP, ResizeMix, SaliencyMix
from tests.training.mixtures import constant_images, context, shares


@pytest.mark.parametrize("mixer", [ResizeMix(), SaliencyMix(), SaliencyMix(per_sample=True), RICAP()])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (9, 20)])
def test_labels_have_the_share_of_pixels(mixer: Regularizer, height: int, width: int) -> None:
    mixed = 0
    for seed in range(20):
        images, targets = mixer.apply(constant_images(5, height, width), torch.eye(5).double(), context(seed))
        torch.testing.assert_close(shares(images), targets, rtol=0, atol=1e-12)
        torch.testing.assert_close(targets.sum(1), torch.ones(5).double(), rtol=0, atol=1e-12)
        mixed += bool((targets != torch.eye(5)).any())
    assert mixed > 12


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_resizemix_pastes_the_whole_partner(interpolation: str) -> None:
    before = torch.rand(4, 3, 20, 30, generator=Generator().manual_seed(0))
    mixer = ResizeMix(scope=(0.5, 0.5), interpolation=interpolation)  # type: ignore[arg-type]
    for seed in range(5):
        images, targets = mixer.apply(before.clone(), torch.eye(4), context(seed))
        generator = Generator().manual_seed(seed)
        uniform(generator), uniform(generator)
        order = permutation(4, generator)
        x, y = int(integers(30, 1, generator)), int(integers(20, 1, generator))
        x0, x1, y0, y1 = max(x - 7, 0), min(x + 7, 30), max(y - 5, 0), min(y + 5, 20)
        expected = before.clone()
        expected[..., y0:y1, x0:x1] = F.interpolate(before[order], (y1 - y0, x1 - x0), mode=interpolation)
        torch.testing.assert_close(images, expected)
        weight = (y1 - y0) * (x1 - x0) / 600
        torch.testing.assert_close(targets, torch.eye(4) * (1 - weight) + torch.eye(4)[order] * weight)


def test_an_image_too_small_to_be_pasted_changes_nothing() -> None:
    images, targets = ResizeMix(scope=(0.1, 0.1)).apply(constant_images(3, 8, 8), torch.eye(3), context())
    assert torch.equal(images, constant_images(3, 8, 8))
    assert torch.equal(targets, torch.eye(3))


def test_ricap_is_the_authors_arithmetic() -> None:
    before = torch.rand(4, 3, 12, 18, generator=Generator().manual_seed(0))
    for seed in range(5):
        images, targets = RICAP().apply(before.clone(), torch.eye(4), context(seed))
        generator = Generator().manual_seed(seed)
        uniform(generator)
        w = int(np.round(18 * beta(0.3, generator)))
        h = int(np.round(12 * beta(0.3, generator)))
        crops, soft = [], torch.zeros(4, 4)
        for h_k, w_k in ((h, w), (h, 18 - w), (12 - h, w), (12 - h, 18 - w)):
            order = permutation(4, generator)
            y, x = int(integers(12 - h_k + 1, 1, generator)), int(integers(18 - w_k + 1, 1, generator))
            crops.append(before[order][:, :, y : y + h_k, x : x + w_k])
            soft += torch.eye(4)[order] * (h_k * w_k / 216)
        expected = torch.cat((torch.cat(crops[:2], 3), torch.cat(crops[2:], 3)), 2)
        torch.testing.assert_close(images, expected)
        torch.testing.assert_close(targets, soft)


def saliency_in_loops(image: NDArray[np.uint8]) -> NDArray[np.int64]:
    """OpenCV's contributed algorithm, pixel by pixel, up to the sum of what is lighter and darker."""
    grey = cv2.GaussianBlur(cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (3, 3), 0), (3, 3), 0)
    height, width = grey.shape
    on, off = np.zeros((height, width), int), np.zeros((height, width), int)
    for half in (12, 24, 48, 28, 56, 112):
        for y in range(height):
            for x in range(width):
                around = grey[max(y - half + 1, 0) : y + half + 1, max(x - half + 1, 0) : x + half + 1]
                mean = (around.sum(dtype=float) - grey[y, x]) / (around.size - 1)
                on[y, x] += int(max(grey[y, x] - mean, 0))
                off[y, x] += int(max(mean - grey[y, x], 0))
    return (255 * on // max(on.max(), 1)) + (255 * off // max(off.max(), 1))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (20, 41)])
def test_saliency_is_opencvs_algorithm(height: int, width: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert np.array_equal(fine_grained_saliency(image), saliency_in_loops(image))


def test_saliency_of_a_plain_image_is_zero() -> None:
    assert not fine_grained_saliency(np.full((8, 8, 3), 90, np.uint8)).any()


@pytest.mark.parametrize("per_sample", [False, True])
def test_saliencymix_lays_its_box_around_the_partners_peak(per_sample: bool) -> None:
    n, side = 6, 32
    pixels = np.random.default_rng(1).integers(0, 256, (n, side, side, 3), dtype=np.uint8)
    before = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    spots = [np.unravel_index(saliency_in_loops(one).argmax(), (side, side)) for one in pixels]
    for seed in range(8):
        images, targets = SaliencyMix(per_sample=per_sample).apply(
            before.clone(), torch.eye(n), context(seed)
        )
        generator = Generator().manual_seed(seed)
        uniform(generator)
        lam = [uniform(generator) for _ in range(n if per_sample else 1)]
        order = permutation(n, generator).tolist()
        for i in range(n):
            y, x = map(int, spots[order[i if per_sample else 0]])
            box = cutmix_box(side, side, lam[i if per_sample else 0], x, y)
            expected = before[i].clone()
            expected[(slice(None), *box.inside)] = before[order[i]][(slice(None), *box.inside)]
            assert torch.equal(images[i], expected)
            assert targets[i, order[i]].item() >= box.area / side**2 - 1e-6


def test_wrong_options_are_refused() -> None:
    for options in ({"scope": (0.8, 0.1)}, {"scope": (0.0, 0.5)}, {"interpolation": "cubic"}):
        with pytest.raises(ValidationError):
            ResizeMix(**options)  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        RICAP(beta=0)
