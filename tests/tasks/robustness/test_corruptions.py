"""Corruptions through the library: every one works, is seeded, and grows with severity."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import imagecorruptions
import numpy as np
import pytest
import torch
from PIL import Image

from eval_suite.core.errors import EvalSuiteError, InputError
from eval_suite.data.images import ImageIndex, open_images
from eval_suite.data.loading import Share
from eval_suite.data.sizing import EvaluationTransform
from eval_suite.tasks.robustness.corruptions import CorruptedImages, corrupt, require_large_enough, seed_of
from eval_suite.tasks.robustness.options import COMMON, CORRUPTIONS, GROUPS, expand_corruptions


def picture(side: int = 64) -> np.ndarray:
    """A smooth ramp with a bright square, so that blurs and noises both show."""
    y, x = np.mgrid[:side, :side] * 200 // side
    image = np.stack([x, y, (x + y) // 2], axis=-1).astype(np.uint8)
    image[side // 4 : side // 2, side // 4 : side // 2] = 250
    return image


def test_the_names_are_the_librarys() -> None:
    assert list(CORRUPTIONS) == imagecorruptions.get_corruption_names("all")
    assert list(COMMON) == imagecorruptions.get_corruption_names("common")
    for group in ("noise", "blur", "weather", "digital"):
        assert list(GROUPS[group]) == imagecorruptions.get_corruption_names(group)
    assert list(GROUPS["extra"]) == imagecorruptions.get_corruption_names("validation")


def test_groups_and_names_are_expanded_in_order_once() -> None:
    assert expand_corruptions(["fog", "noise", "fog", "shot_noise"]) == [
        "gaussian_noise",
        "shot_noise",
        "impulse_noise",
        "fog",
    ]
    assert expand_corruptions([]) == []
    with pytest.raises(InputError, match="unknown corruption 'frgo'"):
        expand_corruptions(["frgo"])


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_corruption_is_repeatable_and_does_harm(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    image = picture()
    np.random.seed(3)
    state = np.random.get_state()[1]
    weak, strong = corrupt(image, name, 1, 5), corrupt(image, name, 5, 5)
    assert (corrupt(image, name, 5, 5) == strong).all()
    assert (np.random.get_state()[1] == state).all()
    assert (image == picture()).all()
    assert strong.shape == image.shape
    assert strong.dtype == np.uint8

    def damage(made: np.ndarray) -> float:
        return float(np.abs(made.astype(float) - image).mean())

    assert damage(weak) > 0
    # Nearest neighbours of a ramp do not get worse with larger blocks.
    assert damage(strong) > damage(weak) or name == "pixelate"
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    "name", ["gaussian_noise", "impulse_noise", "glass_blur", "frost", "fog", "motion_blur"]
)
def test_random_corruptions_differ_between_seeds(name: str) -> None:
    assert (corrupt(picture(), name, 3, 1) != corrupt(picture(), name, 3, 2)).any()


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_smallest_size_works(name: str) -> None:
    assert corrupt(picture(32), name, 5, 0).shape == (32, 32, 3)


def test_gaussian_noise_is_the_published_one() -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    noise = corrupt(grey, "gaussian_noise", 1, 0).astype(float) / 255 - 128 / 255
    assert noise.std() == pytest.approx(0.08, rel=0.03)


def test_too_small_an_input_is_refused() -> None:
    require_large_enough((32, 40))
    with pytest.raises(
        InputError, match=r"at least 32 x 32 pixels, found an input of 28 x 28; leave them out"
    ):
        require_large_enough((28, 28))


def test_seeds_tell_items_and_corruptions_apart() -> None:
    seeds = {seed_of(item, name) for item in ("a", "b", "ü\udcff") for name in CORRUPTIONS}
    assert len(seeds) == 3 * len(CORRUPTIONS)
    assert all(0 <= seed < 2**32 for seed in seeds)


VERSIONS = [("gaussian_noise", 2), ("contrast", 5)]


def made(index: ImageIndex, positions: list[int], batch_size: int, workers: int = 0) -> torch.Tensor:
    batches = CorruptedImages(
        index,
        np.array(positions),
        VERSIONS,
        EvaluationTransform((48, 48)),
        batch_size=batch_size,
        device=torch.device("cpu"),
        workers=workers,
        share=Share(0, 1),
    )
    parts = list(batches)
    assert len(parts) == len(batches)
    assert torch.cat([part.rows for part in parts]).tolist() == list(range(len(positions)))
    return torch.cat([part.images for part in parts])


def test_images_come_resized_in_every_version_whatever_the_batch(demo_world: Path) -> None:
    index = open_images(f"folder:{demo_world / 'images'}", "val")
    found = made(index, [4, 0, 9], batch_size=100)
    assert found.shape == (3, 2, 3, 48, 48)
    assert torch.equal(made(index, [4, 0, 9], batch_size=1), found)
    assert torch.equal(made(index, [9], batch_size=1)[0], found[2])
    assert torch.equal(made(index, [4, 0, 9], batch_size=2, workers=1), found)
    assert index.paths is not None
    image = EvaluationTransform((48, 48)).apply(Image.open(index.paths[0]))
    by_hand = corrupt(np.asarray(image), "contrast", 5, seed_of(index.ids[0], "contrast"))
    assert torch.equal(
        (found[1, 1] * 255).round().to(torch.uint8).permute(1, 2, 0), torch.from_numpy(by_hand)
    )


def test_workers_start_beside_a_parent_whose_opencv_runs_threads(demo_world: Path) -> None:
    script = """
import sys

import cv2
import numpy as np

from eval_suite.data.images import open_images
from tests.tasks.robustness.test_corruptions import made

if __name__ == "__main__":
    cv2.setNumThreads(2)
    cv2.resize(np.zeros((1000, 1000), np.float32), (3000, 3000))
    print(made(open_images(sys.argv[1], "val"), [4, 0, 9], batch_size=2, workers=1).shape)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, f"folder:{demo_world / 'images'}"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == "torch.Size([3, 2, 3, 48, 48])\n", done.stderr


def test_an_image_that_has_gone_is_named(demo_world: Path) -> None:
    index = open_images(f"folder:{demo_world / 'images'}", "val")
    assert index.paths is not None
    paths = [*index.paths]
    paths[1] = Path("/nowhere.png")
    index = replace(index, paths=paths)
    with pytest.raises(EvalSuiteError, match=f"cannot read {index.ids[1]}: FileNotFoundError"):
        made(index, [0, 1], batch_size=100)
