"""OpenOOD's in-distribution lists: splits, labels, names of classes, and lists that are wrong."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval_suite.core.errors import InputError
from eval_suite.data.images import open_images, splits_of


def write(
    root: Path, name: str, lists: dict[str, list[tuple[str, int]]], folder: str = "images_classic"
) -> Path:
    """Lists as OpenOOD has them, and the images that they name."""
    into = root / "benchmark_imglist" / name
    into.mkdir(parents=True, exist_ok=True)
    for split, lines in lists.items():
        for file, _ in lines:
            image = root / folder / file
            image.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (len(file) % 256, 0, 0)).save(image)
        (into / f"{split}_{name}.txt").write_text("".join(f"{file} {label}\n" for file, label in lines))
    return into


CIFAR = {
    "train": [(f"cifar10/train/{name}/{i}.png", k) for k, name in enumerate("ab") for i in range(3)],
    "val": [("cifar10/test/a/1.png", 0), ("cifar10/test/b/1.png", 1)],
    "test": [("cifar10/test/b/2.png", 1), ("cifar10/test/a/2.png", 0)],
}


def test_splits_labels_and_names(tmp_path: Path) -> None:
    spec = f"openood:{write(tmp_path, 'cifar10', CIFAR)}"
    assert splits_of(spec) == ["train", "val", "test"]
    found = open_images(spec)
    assert (found.split, found.classes) == ("test", ["a", "b"])
    assert found.ids == ["cifar10/test/b/2.png", "cifar10/test/a/2.png"]
    assert found.labels.tolist() == [1, 0]
    assert found.paths is not None
    assert all(path.is_file() for path in found.paths)
    assert open_images(spec, purpose="train").labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_folders_of_several_classes_name_none(tmp_path: Path) -> None:
    lists = {"test": [(f"imagenet_1k/val/v{k}.JPEG", k) for k in range(3)]}
    spec = f"openood:{write(tmp_path, 'imagenet200', lists, 'images_largescale')}"
    assert open_images(spec).classes == ["0", "1", "2"]
    lists["train"] = [(f"imagenet_1k/train/n{k}/1.JPEG", k) for k in range(3)]
    write(tmp_path, "imagenet200", lists, "images_largescale")
    assert open_images(spec).classes == ["n0", "n1", "n2"]


def test_a_thousand_classes_are_imagenets(tmp_path: Path) -> None:
    lists = {"test": [("imagenet_1k/val/v0.JPEG", 0), ("imagenet_1k/val/v999.JPEG", 999)]}
    found = open_images(f"openood:{write(tmp_path, 'imagenet', lists, 'images_largescale')}")
    assert (len(found.classes), found.classes[0], found.classes[999]) == (1000, "n01440764", "n15075141")
    np.testing.assert_array_equal(found.labels, [0, 999])


def test_wrong_lists_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, "cifar10", CIFAR)
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match="test_other"):
        open_images(f"openood:{tmp_path / 'other'}")
    (tmp_path / "images_classic/cifar10/test/a/2.png").unlink()
    with pytest.raises(InputError) as caught:
        open_images(f"openood:{folder}", "test")
    assert caught.value.found.startswith("1 of 2 missing")
    assert "cifar10/test/a/2.png" in caught.value.found
    assert open_images(f"openood:{folder}", "val").ids == ["cifar10/test/a/1.png", "cifar10/test/b/1.png"]
    shutil.copy(folder / "val_cifar10.txt", folder / "test_cifar10.txt")
    (folder / "test_cifar10.txt").write_text("cifar10/test/b/2.png -1\n")
    with pytest.raises(InputError, match="--outliers"):
        open_images(f"openood:{folder}", "test")
    (folder / "test_cifar10.txt").write_text("cifar10/test/b/2.png\n")
    with pytest.raises(InputError, match="a label"):
        open_images(f"openood:{folder}", "test")
