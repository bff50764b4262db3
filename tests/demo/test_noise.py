"""Noise over a demo world: the same bytes from the same seed, and nothing left of an image at 1."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval_suite.core.errors import InputError
from eval_suite.demo.noise import add_noise


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image, np.float64) / 255


def test_noise_is_of_the_wanted_strength_and_each_image_has_its_own(demo_world: Path, tmp_path: Path) -> None:
    noisy = add_noise(demo_world, tmp_path / "noisy", 0.1)
    names = sorted(path.relative_to(demo_world) for path in (demo_world / "images" / "val").rglob("*.jpg"))
    differences = [pixels(noisy / name) - pixels(demo_world / name) for name in names]
    # JPEG takes some of the noise away again, and what would leave [0, 1] is cut off.
    assert 0.06 < np.std(differences) < 0.11
    assert not np.array_equal(differences[0], differences[1])
    for part in ("images/images.txt", "images/bounding_boxes.txt"):
        assert (noisy / part).read_bytes() == (demo_world / part).read_bytes()


def test_the_same_noise_is_made_once_and_another_replaces_it(demo_world: Path, tmp_path: Path) -> None:
    noisy = add_noise(demo_world, tmp_path / "noisy", 0.1)
    (picture,) = sorted(noisy.rglob("*.jpg"))[:1]
    first, time = picture.read_bytes(), picture.stat().st_mtime_ns
    assert add_noise(demo_world, noisy, 0.1) == noisy
    assert picture.stat().st_mtime_ns == time
    add_noise(demo_world, noisy, 0.2)
    assert picture.read_bytes() != first
    add_noise(demo_world, noisy, 0.1)
    assert picture.read_bytes() == first
    assert not list(tmp_path.glob(".noisy*"))


def test_other_content_is_not_replaced(demo_world: Path, tmp_path: Path) -> None:
    (tmp_path / "noisy").mkdir()
    (tmp_path / "noisy" / "thesis.txt").write_text("")
    with pytest.raises(InputError):
        add_noise(demo_world, tmp_path / "noisy", 0.1)
    assert (tmp_path / "noisy" / "thesis.txt").exists()
