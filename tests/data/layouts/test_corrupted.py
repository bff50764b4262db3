"""CIFAR-10-C, CIFAR-10.1 and ImageNet-C as published."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval_suite.core.errors import InputError
from eval_suite.data.images import open_images, splits_of

LABELS = np.array([3, 0, 9, 3], np.uint8)


def cifar_c(folder: Path) -> np.ndarray:
    """Four images a severity, whose grey is 10 severity + place."""
    folder.mkdir(parents=True)
    greys = np.array([10 * severity + place for severity in range(1, 6) for place in range(4)], np.uint8)
    pixels = np.broadcast_to(greys[:, None, None, None], (20, 32, 32, 3))
    np.save(folder / "fog.npy", pixels)
    np.save(folder / "labels.npy", np.tile(LABELS, 5))
    return greys


@pytest.mark.parametrize("inside", ["", "CIFAR-10-C"])
def test_a_severity_is_a_fifth_of_a_file(inside: str, tmp_path: Path) -> None:
    greys = cifar_c(tmp_path / "c" / inside)
    spec = f"cifar10c:{tmp_path / 'c'}"
    assert splits_of(spec) == [f"fog-{severity}" for severity in range(1, 6)]
    index = open_images(spec, "fog-3")
    assert index.labels.tolist() == LABELS.tolist()
    assert index.pixels is not None
    assert index.pixels[:, 5, 7, 1].tolist() == greys[8:12].tolist()
    assert index.ids == [f"test_batch/{i:05d}" for i in range(4)]
    assert index.classes == [str(i) for i in range(10)]
    with pytest.raises(InputError, match="name one with --split"):
        open_images(spec)


def test_arrays_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    cifar_c(tmp_path / "c")
    spec = f"cifar10c:{tmp_path / 'c'}"
    for name, array in (
        ("fog", np.zeros((19, 32, 32, 3), np.uint8)),
        ("fog", np.zeros((20, 32, 32, 3))),
        ("labels", np.full(20, 10)),
        ("labels", np.zeros(18, int)),
        ("labels", np.zeros((20, 1), int)),
    ):
        kept = (tmp_path / "c" / f"{name}.npy").read_bytes()
        np.save(tmp_path / "c" / f"{name}.npy", array)
        with pytest.raises(InputError) as refused:
            open_images(spec, "fog-1")
        assert refused.value.where.startswith(str(tmp_path / "c"))
        (tmp_path / "c" / f"{name}.npy").write_bytes(kept)
    (tmp_path / "c" / "fog.npy").write_bytes(b"no array")
    with pytest.raises(InputError):
        open_images(spec, "fog-1")
    with pytest.raises(InputError):
        splits_of(f"cifar10c:{tmp_path}")


def test_cifar_10_1_evaluates_version_6(tmp_path: Path) -> None:
    for version, count in (("v4", 3), ("v6", 4)):
        np.save(tmp_path / f"cifar10.1_{version}_data.npy", np.zeros((count, 32, 32, 3), np.uint8))
        np.save(tmp_path / f"cifar10.1_{version}_labels.npy", LABELS[:count].astype(np.int32))
    spec = f"cifar10.1:{tmp_path}"
    assert splits_of(spec) == ["v6", "v4"]
    assert (open_images(spec).split, len(open_images(spec)), len(open_images(spec, "v4"))) == ("v6", 4, 3)


@pytest.mark.parametrize("group", ["", "weather"])
def test_imagenet_c_goes_by_the_names_of_the_clean_images(group: str, tmp_path: Path) -> None:
    for severity in (1, 3):
        folder = tmp_path / group / "fog" / str(severity) / "n01440764"
        folder.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(folder / "ILSVRC2012_val_00000293.JPEG")
    spec = f"imagenetc:{tmp_path}"
    assert splits_of(spec) == ["fog-1", "fog-3"]
    index = open_images(spec, "fog-3")
    assert index.ids == ["val/n01440764/ILSVRC2012_val_00000293.JPEG"]
    assert index.paths is not None
    assert index.paths[0].is_file()
    assert index.paths[0].parts[-3] == "3"
