"""Out-of-distribution images in one file, and what to do with those that are packed."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from eval_suite.core.errors import InputError
from eval_suite.data.outlier_files import from_file
from eval_suite.data.outliers import open_outliers, parse_outliers

PIXELS = np.arange(5 * 6 * 4 * 3, dtype=np.uint8).reshape(5, 6, 4, 3)


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("a.npy", PIXELS),
        ("a.npy", PIXELS.transpose(0, 3, 1, 2)),
        ("a.npz", PIXELS),
        ("a.mat", PIXELS.transpose(1, 2, 3, 0)),
    ],
)
def test_arrays_of_images(tmp_path: Path, name: str, stored: np.ndarray) -> None:
    file = tmp_path / name
    if name.endswith("npy"):
        np.save(file, stored)
    elif name.endswith("npz"):
        np.savez(file, labels=np.arange(5), images=stored)
    else:
        savemat(file, {"X": stored, "y": np.arange(5)})
    found = from_file(file)
    assert found.pixels is not None
    assert np.array_equal(found.pixels, PIXELS)
    assert found.ids[-1] == f"{name}/00004"
    index = open_outliers(parse_outliers(f"x=folder:{file}")).images
    assert (len(index), index.name) == (5, "x")


@pytest.mark.parametrize(
    "array",
    [np.arange(10), PIXELS.astype(np.float32) / 255, PIXELS[:0], PIXELS[..., :1], np.array([{}], object)],
)
def test_arrays_that_are_no_images(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(InputError, match=r"a\.npy"):
        from_file(tmp_path / "a.npy")


def openood(root: Path) -> Path:
    for name in ("texture/a b/1.jpg", "texture/2.jpg", "places/3.jpg"):
        (root / "images_classic" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(root / "images_classic" / name)
    lists = root / "benchmark_imglist" / "cifar10"
    lists.mkdir(parents=True)
    return lists / "test_texture.txt"


@pytest.mark.parametrize("label", [" -1", " 12", "", "\t-1"])
def test_lists_of_images(tmp_path: Path, label: str) -> None:
    file = openood(tmp_path)
    file.write_text(f"texture/2.jpg{label}\ntexture/a b/1.jpg{label}\n\n")
    index = open_outliers(parse_outliers(f"textures:{file}")).images
    assert index.ids == ["texture/2.jpg", "texture/a b/1.jpg"]
    assert index.paths is not None
    assert all(path.is_file() for path in index.paths)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("texture/2.jpg -1\ntexture/4.jpg -1\n", "1 of 2 missing"),
        ("other/2.jpg -1\n", "no 'other/2.jpg'"),
        ("readme\n", "'readme'"),
        ("", "none"),
        ("../../x.jpg 1\n", r"'\.\.'"),
    ],
)
def test_lists_that_name_no_images(tmp_path: Path, text: str, message: str) -> None:
    file = openood(tmp_path)
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        from_file(file)


@pytest.mark.parametrize("name", ["a.zip", "set.tar.gz", "x.npy"])
def test_a_folder_with_another_form_of_images_tells_the_way(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match="name the file itself"):
        open_outliers(parse_outliers(f"x=folder:{tmp_path}"))


def test_other_files_are_counted(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("")
    index = open_outliers(parse_outliers(f"x=folder:{tmp_path}")).images
    assert (index.ids, len(index.notes)) == (["a.png"], 1)
