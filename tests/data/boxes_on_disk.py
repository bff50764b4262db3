"""Small data sets in the published layouts, for the tests of each."""

from pathlib import Path

import numpy as np
from PIL import Image


def picture(path: Path, size: tuple[int, int] = (40, 30)) -> None:
    """An image of (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((size[1], size[0], 3), np.uint8)).save(path)


def write(path: Path, *lines: str) -> None:
    """A text file of these lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def cub(base: Path) -> Path:
    """CUB-200-2011 with two classes, two images each: one for training, one for testing."""
    names = ["001.Crow/a.jpg", "001.Crow/b.jpg", "002.Wren/c.jpg", "002.Wren/d.jpg"]
    for i, name in enumerate(names):
        picture(base / "images" / name, (40 + i, 30))
    write(base / "images.txt", *(f"{i + 1} {name}" for i, name in enumerate(names)))
    write(base / "classes.txt", "1 001.Crow", "2 002.Wren")
    write(base / "image_class_labels.txt", "1 1", "2 1", "3 2", "4 2")
    write(base / "train_test_split.txt", "1 1", "2 0", "3 1", "4 0")
    write(base / "bounding_boxes.txt", *(f"{i + 1} {i}.0 2.0 20.0 10.5" for i in range(4)))
    return base


def tinyimagenet(base: Path) -> Path:
    """TinyImageNet with two classes."""
    write(base / "wnids.txt", "n02", "n01")
    for wnid in ("n01", "n02"):
        names = [f"{wnid}_{i}.JPEG" for i in range(2)]
        for name in names:
            picture(base / "train" / wnid / "images" / name, (64, 64))
        write(base / "train" / wnid / f"{wnid}_boxes.txt", *(f"{name}\t0\t10\t63\t{50}" for name in names))
    for i in range(3):
        picture(base / "val" / "images" / f"val_{i}.JPEG", (64, 64))
    rows = ("val_0.JPEG\tn02\t0\t32\t44\t62", "val_1.JPEG\tn01\t5\t5\t9\t9", "val_2.JPEG\tn02\t63\t0\t63\t9")
    write(base / "val" / "val_annotations.txt", *rows)
    return base


def wsoleval(metadata: Path, images: Path, *, split: str = "test") -> None:
    """The evaluation paper's text files of one split, with three images of two classes and a box more for the second."""
    names = ["001.Crow/a.jpg", "002.Wren/b.jpg", "002.Wren/c.jpg"]
    for name in names:
        picture(images / name)
    folder = metadata / split
    write(folder / "image_ids.txt", *names)
    write(
        folder / "class_labels.txt",
        *(f"{name},{label}" for name, label in zip(names, (0, 1, 1), strict=True)),
    )
    write(folder / "image_sizes.txt", *(f"{name},40,30" for name in names))
    boxes = [f"{name},1,2,30,20" for name in names]
    write(folder / "localization.txt", *boxes, f"{names[1]},5,5,9,9")


def ilsvrc(root: Path) -> Path:
    """ImageNet's flat validation images, two of class n01 and one of n02, without boxes."""
    for i in range(3):
        picture(root / "val" / f"ILSVRC2012_val_{i + 1:08d}.JPEG", (50, 40))
    for wnid in ("n01", "n02"):
        picture(root / "train" / wnid / f"{wnid}_1.JPEG")
    return root


def ilsvrc_table(path: Path) -> None:
    """The table of labels and boxes of `ilsvrc`; the second image has an object of another class too."""
    write(
        path,
        "ImageId,PredictionString",
        "ILSVRC2012_val_00000001,n01 1 2 30 20 ",
        "ILSVRC2012_val_00000002,n02 3 4 9 9 n01 0 0 5 5 n02 1 1 2 2 ",
        "ILSVRC2012_val_00000003,n01 0 0 49 39 n01 5 5 6 6",
    )
