"""Recipes that train in a fraction of a second: images as small as a network can do with."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval_suite.training.recipe import Recipe


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 images to train on and 30 to judge, of 32 pixels a side, noise about a colour for each of ten classes."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    colours = random.integers(40, 216, (10, 3))
    for split, count in (("train", 60), ("val", 30)):
        for number in range(count):
            pixels = random.normal(colours[number % 10], 40, (32, 32, 3)).clip(0, 255).astype(np.uint8)
            path = folder / split / f"class{number % 10}" / f"{number:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return folder


@pytest.fixture
def tiny_recipe(image_folder: Path, tiny_recipe: Callable[..., Recipe]) -> Callable[..., Recipe]:
    """The recipe of all tests, on these images."""

    def make(**changes: object) -> Recipe:
        return tiny_recipe(**{"data": f"folder:{image_folder}", "input_size": [32, 32], **changes})

    return make
