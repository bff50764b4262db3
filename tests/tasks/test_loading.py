"""One network by every way in: what neither it nor the user says is decided alike, and told."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import eval_suite as es

WAYS = ("source", "loaded", "wrapped")
HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}


def net() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 8, 5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)
    )


def write(folder: Path, sizes: list[tuple[int, int]]) -> None:
    rng = np.random.default_rng(0)
    for number, (height, width) in enumerate(sizes):
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)


def evaluated(way: str, folder: Path, **settings: Any) -> es.Record:
    (folder / "net.py").write_text("from tests.tasks.test_loading import net as make\n")
    source = f"{folder / 'net.py'}:make"
    given: Any = source
    if way == "loaded":
        given = es.load_backbone(source, **settings)
    elif way == "wrapped":
        given = es.Backbone.wrap(net(), **settings)
    more = {"settings": settings} if way == "source" else {}
    data = f"folder:{folder / 'images'}"
    return es.evaluate(given, "classify", data=data, device="cpu", workers=0, **more)


@pytest.mark.parametrize("way", WAYS)
def test_an_input_size_that_nobody_says_is_that_of_the_datas_images(way: str, tmp_path: Path) -> None:
    write(tmp_path / "images", [(20, 28)] * 6)
    card = evaluated(way, tmp_path, **HALF).backbone
    assert (card.input_size, card.assumed) == ((20, 28), ["input_size"])
    assert card.multiply_adds == 16 * 24 * 8 * 75 + 8 * 2
    assert (len([n for n in card.load.notes if "20x28" in n]), card.load.warnings) == (1, [])


def test_it_is_one_number_by_every_way(tmp_path: Path) -> None:
    write(tmp_path / "images", [(20, 28)] * 6)
    records = [evaluated(way, tmp_path, **HALF) for way in WAYS]
    said = evaluated("wrapped", tmp_path, **HALF, input_size=(20, 28))
    for record in records:
        assert [(m.id, m.value) for m in record.metrics] == [(m.id, m.value) for m in said.metrics]


@pytest.mark.parametrize("way", WAYS)
def test_images_of_several_sizes_leave_it_assumed_with_a_warning(way: str, tmp_path: Path) -> None:
    write(tmp_path / "images", [(20, 28), (24, 24), (20, 28)])
    card = evaluated(way, tmp_path, **HALF).backbone
    assert card.input_size == (224, 224)
    (warning,) = card.load.warnings
    assert "224x224" in warning


@pytest.mark.parametrize("way", WAYS)
def test_a_size_that_is_said_stays(way: str, tmp_path: Path) -> None:
    write(tmp_path / "images", [(20, 28)] * 3)
    card = evaluated(way, tmp_path, **HALF, input_size=(32, 32)).backbone
    assert (card.input_size, card.assumed, card.load.warnings) == ((32, 32), [], [])


@pytest.mark.parametrize("way", WAYS)
def test_an_assumed_normalisation_is_a_warning(way: str, tmp_path: Path) -> None:
    write(tmp_path / "images", [(20, 28)] * 3)
    card = evaluated(way, tmp_path, mean=(0.5, 0.5, 0.5), input_size=(20, 28)).backbone
    assert card.assumed == ["std"]
    (warning,) = card.load.warnings
    assert warning.startswith("std of the input")
    assert "--std" in warning
