"""Images that are both learnt from and evaluated."""

import shutil
from pathlib import Path

import numpy as np

from eval_suite.data.images import ImageIndex, open_images
from eval_suite.data.leaks import leak, shared_images


def of_pixels(pixels: np.ndarray) -> ImageIndex:
    ids = [str(i) for i in range(len(pixels))]
    return ImageIndex("x", "x:x", "s", ["a"], ids, np.zeros(len(ids), np.int64), Path(), None, pixels)


def test_the_same_file_and_a_copy_under_another_name(demo_world: Path, tmp_path: Path) -> None:
    shutil.copytree(demo_world / "images", tmp_path / "images")
    spec = f"folder:{tmp_path / 'images'}"
    train, val = open_images(spec, "train"), open_images(spec, "val")
    assert shared_images(train, val) == []
    assert leak(train, val, "it") == []
    name = train.classes[0]
    shutil.copy((train.paths or [])[3], tmp_path / "images" / "val" / name / "zz.jpg")
    val = open_images(spec, "val")
    assert shared_images(train, val) == [f"val/{name}/zz.jpg"]
    (line,) = leak(train, val, "it")
    assert line.startswith(f"1 of {len(val)} images")
    assert shared_images(val, val) == val.ids


def test_files_of_one_size_that_differ_in_one_byte(demo_world: Path, tmp_path: Path) -> None:
    shutil.copytree(demo_world / "images", tmp_path / "images")
    spec = f"folder:{tmp_path / 'images'}"
    train = open_images(spec, "train")
    copy = tmp_path / "images" / "val" / train.classes[0] / "zz.jpg"
    shutil.copy((train.paths or [])[3], copy)
    content = bytearray(copy.read_bytes())
    content[-1] ^= 1
    copy.write_bytes(bytes(content))
    assert shared_images(train, open_images(spec, "val")) == []


def test_pixels_in_memory() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)
    assert shared_images(of_pixels(pixels[:3]), of_pixels(pixels[2:])) == ["0"]
    assert shared_images(of_pixels(pixels[:, :2]), of_pixels(pixels)) == []
