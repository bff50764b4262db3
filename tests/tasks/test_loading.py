"""One network by every way in: what neither it nor the user says is decided alike, and told."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
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
    return by_way(way, f"{folder / 'net.py'}:make", net(), folder, **settings)


def by_way(way: str, source: str, own: nn.Module, folder: Path, **settings: Any) -> es.Record:
    given: Any = source
    if way == "loaded":
        given = es.load_backbone(source, **settings)
    elif way == "wrapped":
        given = es.Backbone.wrap(own, **settings)
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


def test_one_number_is_a_square_in_memory_too(tmp_path: Path) -> None:
    assert es.Backbone.wrap(net(), **HALF, input_size=24).card.input_size == (24, 24)


@pytest.mark.parametrize("way", WAYS)
def test_an_assumed_normalisation_is_a_warning(way: str, tmp_path: Path) -> None:
    write(tmp_path / "images", [(20, 28)] * 3)
    card = evaluated(way, tmp_path, mean=(0.5, 0.5, 0.5), input_size=(20, 28)).backbone
    assert card.assumed == ["std"]
    (warning,) = card.load.warnings
    assert warning.startswith("std of the input")
    assert "--std" in warning


def timms(way: str, folder: Path, **settings: Any) -> es.Record:
    """A small network of timm's with weights of one's own, by every way in."""
    own = timm.create_model("test_resnet", num_classes=2)
    torch.save(own.state_dict(), folder / "own.pth")
    return by_way(way, f"timm:test_resnet@{folder / 'own.pth'}", own, folder, **settings)


@pytest.mark.parametrize("way", WAYS)
def test_images_are_not_enlarged_to_a_librarys_default_without_a_word(way: str, tmp_path: Path) -> None:
    write(tmp_path / "images", [(32, 32)] * 6)
    card = timms(way, tmp_path).backbone
    assert (card.assumed, card.library_defaults) == ([], ["input_size", "mean", "std"])
    assert card.input_size == (160, 160)
    assert [line for line in card.load.warnings if "32x32" in line and "160x160" in line]
    assert [line for line in card.load.notes if "--input-size, --mean, --std" in line]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sizes", [[(192, 192)] * 3, [(32, 32), (40, 32), (32, 32)]])
def test_larger_images_and_those_of_several_sizes_are_what_a_library_has_in_mind(
    way: str, sizes: list[tuple[int, int]], tmp_path: Path
) -> None:
    write(tmp_path / "images", sizes)
    assert not [line for line in timms(way, tmp_path).backbone.load.warnings if "enlarged" in line]


@pytest.mark.parametrize("way", WAYS)
def test_what_is_said_is_no_librarys_default(way: str, tmp_path: Path) -> None:
    write(tmp_path / "images", [(32, 32)] * 6)
    card = timms(way, tmp_path, **HALF, input_size=(32, 32)).backbone
    assert (card.input_size, card.library_defaults) == ((32, 32), [])
    assert not [line for line in card.load.warnings if "enlarged" in line]


def test_settings_for_a_loaded_network_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "images", [(20, 28)] * 6)
    with pytest.raises(es.InputError, match="mean, std"):
        es.evaluate(
            es.Backbone.wrap(net(), **HALF), "classify", data=f"folder:{tmp_path / 'images'}", settings=HALF
        )


def test_autocast_and_no_grad_of_the_caller_change_nothing(tmp_path: Path) -> None:
    write(tmp_path / "images", [(20, 28)] * 6)
    own = net()
    plain = by_way("wrapped", "", own, tmp_path, **HALF)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        inside = by_way("wrapped", "", own, tmp_path, **HALF)
    assert inside.backbone.behaviour == plain.backbone.behaviour
    assert inside.backbone.load.warnings == plain.backbone.load.warnings
    assert [metric.value for metric in inside.metrics] == [metric.value for metric in plain.metrics]
