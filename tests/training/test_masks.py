"""Mixing through masks: FMix against its authors' arithmetic in numpy, GridMix and SmoothMix against counted pixels."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Generator

from eval_suite.training.regularizers.draws import beta, permutation, uniform
from eval_suite.training.regularizers.masks import FMix, GridMix, MaskMix, SmoothMix
from tests.training.mixtures import constant_images, context, shares


def authors_low_frequency_image(
    noise: NDArray[np.float64], height: int, width: int, decay: float
) -> NDArray[np.float64]:
    """The image of the authors' code for the two rows of noise (2, frequencies, 2) that it uses."""
    across = np.fft.fftfreq(width)[: width // 2 + (2 if width % 2 else 1)]
    rows = []
    for row, frequency in enumerate(np.fft.fftfreq(height)[:2]):
        amplitude = 1 / np.maximum(np.sqrt(across**2 + frequency**2), 1 / max(height, width)) ** decay
        rows.append(amplitude[:, None] * noise[row])
    spectrum = np.stack([rows[0] + 1j * rows[1]])
    return np.real(np.fft.irfftn(spectrum, (height, width), axes=(1, 2)))[0]


@pytest.mark.parametrize(("height", "width"), [(32, 32), (9, 17), (8, 40), (40, 8), (15, 15)])
def test_fmix_keeps_what_the_authors_code_keeps_of_the_same_noise(height: int, width: int) -> None:
    for seed in range(5):
        mask = FMix(alpha=1.0).mask(height, width, Generator().manual_seed(seed))
        generator = Generator().manual_seed(seed)
        lam = beta(1.0, generator)
        frequencies = width // 2 + (2 if width % 2 else 1)
        noise = torch.randn(2, frequencies, 2, generator=generator, dtype=torch.float64).numpy()
        image = authors_low_frequency_image(noise, height, width, 3.0).ravel()
        pixels = height * width
        count = math.ceil(lam * pixels) if uniform(generator) > 0.5 else math.floor(lam * pixels)
        expected = np.zeros(pixels)
        expected[np.argsort(image)[::-1][:count]] = 1
        assert mask.weight == lam
        assert np.array_equal(mask.keep.numpy().ravel(), expected)


def test_fmix_of_the_paper_uses_noise_in_all_frequencies() -> None:
    generator = Generator().manual_seed(3)
    mask = FMix(spectrum="paper", decay=2.0).mask(12, 10, generator)
    generator.manual_seed(3)
    lam = beta(1.0, generator)
    noise = torch.randn(12, 6, 2, generator=generator, dtype=torch.float64).numpy()
    frequency = np.hypot(np.fft.fftfreq(12)[:, None], np.fft.rfftfreq(10)[None, :])
    spectrum = (noise[..., 0] + 1j * noise[..., 1]) / np.maximum(frequency, 1 / 12) ** 2
    largest = np.argsort(np.fft.irfft2(spectrum, (12, 10)).ravel())[::-1]
    count = int(mask.keep.sum())
    assert count in (math.floor(lam * 120), math.ceil(lam * 120))
    assert set(np.flatnonzero(mask.keep.numpy())) == set(largest[:count])


@pytest.mark.parametrize("mixer", [FMix(), FMix(per_sample=True)])
def test_fmix_weighs_labels_by_lambda_within_a_pixel_of_the_area(mixer: FMix) -> None:
    masks = set()
    for seed in range(20):
        images, targets = mixer.apply(constant_images(6, 16, 24), torch.eye(6).double(), context(seed))
        assert (shares(images) - targets).abs().max() <= 1 / (16 * 24)
        masks |= {tuple((images[i, 0] == i + 1).flatten().tolist()) for i in range(6)}
    assert len(masks) > (60 if mixer.per_sample else 15)


@pytest.mark.parametrize(("height", "width", "grid"), [(16, 16, 4), (10, 7, 3), (32, 32, 1)])
def test_gridmix_takes_whole_cells_and_weighs_labels_by_their_pixels(
    height: int, width: int, grid: int
) -> None:
    for seed in range(10):
        images, targets = GridMix(grid=grid).apply(
            constant_images(4, height, width), torch.eye(4).double(), context(seed)
        )
        torch.testing.assert_close(shares(images), targets, rtol=0, atol=1e-12)
        rows, columns = (np.arange(side) * grid // side for side in (height, width))
        for row in range(grid):
            for column in range(grid):
                cell = images[:, 0][:, rows == row][:, :, columns == column].flatten(1)
                assert (cell == cell[:, :1]).all()


def test_gridmix_keeps_lambda_of_the_cells_on_average() -> None:
    generator = Generator().manual_seed(0)
    kept = np.mean([GridMix(alpha=1.0).mask(8, 8, generator).weight for _ in range(2000)])
    # A share of uniform mean: sd of a draw at most 0.35.
    assert kept == pytest.approx(0.5, abs=5 * 0.35 / math.sqrt(2000))


def test_smoothmix_is_its_formula() -> None:
    before = torch.rand(5, 3, 8, 12, dtype=torch.float64, generator=Generator().manual_seed(1))
    images, targets = SmoothMix(sigma=(0.3, 0.3)).apply(before.clone(), torch.eye(5).double(), context(4))
    generator = Generator().manual_seed(4)
    uniform(generator), uniform(generator)
    y, x = int(uniform(generator) * 8), int(uniform(generator) * 12)
    order = permutation(5, generator)
    pasted = torch.tensor(
        [
            [math.exp(-(((i - y) / 8) ** 2 + ((j - x) / 12) ** 2) / (2 * 0.3**2)) for j in range(12)]
            for i in range(8)
        ],
        dtype=torch.float64,
    )
    torch.testing.assert_close(images, before * (1 - pasted) + before[order] * pasted)
    weight = pasted.mean()
    labels = torch.eye(5).double()
    torch.testing.assert_close(targets, labels * (1 - weight) + labels[order] * weight)


@pytest.mark.parametrize("mixer", [FMix, GridMix, SmoothMix])
def test_probability_zero_changes_nothing_and_a_batch_of_one_stays(mixer: type[MaskMix]) -> None:
    images = torch.rand(1, 3, 8, 8)
    for one in (mixer(prob=0.0), mixer()):
        mixed = one.apply(images.clone(), torch.ones(1, 1), context())
        torch.testing.assert_close(mixed.images, images)
        torch.testing.assert_close(mixed.targets, torch.ones(1, 1))


def test_wrong_options_are_refused() -> None:
    for options in ({"decay": -1}, {"spectrum": "both"}, {"alpha": 0}):
        with pytest.raises(ValidationError):
            FMix(**options)  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        SmoothMix(sigma=(0.0, 0.5))
    with pytest.raises(ValidationError):
        SmoothMix(sigma=(0.5, 0.2))
