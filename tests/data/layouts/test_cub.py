"""CUB-200-2011 as published, and the demo world in the same files."""

from pathlib import Path

import pytest

from eval_suite.core.errors import InputError
from eval_suite.data.boxes import open_localisation
from eval_suite.data.images import open_images, splits_of
from tests.data.boxes_on_disk import cub, write


@pytest.mark.parametrize("folder", ["", "CUB_200_2011"])
def test_the_published_layout(tmp_path: Path, folder: str) -> None:
    base = cub(tmp_path / folder)
    spec = f"cub:{tmp_path}"
    assert splits_of(spec) == ["train", "test"]
    truth = open_localisation(spec)
    images = truth.images
    assert (images.split, images.ids) == ("test", ["001.Crow/b.jpg", "002.Wren/d.jpg"])
    assert images.classes == ["001.Crow", "002.Wren"]
    assert images.labels.tolist() == [0, 1]
    assert images.paths is not None
    assert list(images.paths) == [base / "images" / name for name in images.ids]
    assert truth.sizes.tolist() == [[41, 30], [43, 30]]
    assert [box.tolist() for box in truth.boxes] == [[[1, 2, 21, 12.5]], [[3, 2, 23, 12.5]]]
    assert open_images(spec, purpose="train").ids == ["001.Crow/a.jpg", "002.Wren/c.jpg"]


def test_classes_are_those_of_the_class_folders(tmp_path: Path) -> None:
    cub(tmp_path)
    write(tmp_path / "classes.txt", "1 002.Wren", "2 001.Crow")
    index = open_images(f"cub:{tmp_path}")
    assert index.classes == open_images(f"folder:{tmp_path / 'images'}").classes
    assert index.labels.tolist() == [1, 0]


@pytest.mark.parametrize(("split", "folder"), [("train", "train"), ("test", "val")])
def test_the_demo_world_is_the_one_of_its_class_folders(demo_world: Path, split: str, folder: str) -> None:
    one = open_images(f"cub:{demo_world / 'images'}", split)
    other = open_images(f"folder:{demo_world / 'images'}", folder)
    assert one.paths is not None
    assert other.paths is not None
    assert (one.ids, one.classes, [*one.paths]) == (other.ids, other.classes, [*other.paths])
    assert one.labels.tolist() == other.labels.tolist()
    assert one.sha256() == other.sha256()


@pytest.mark.parametrize(
    ("file", "lines", "message"),
    [
        ("images.txt", ["1"], "expected 'id path' in line 1 of .*images.txt, found '1'"),
        ("images.txt", ["1 a.jpg", "1 b.jpg"], "expected each id once in .*found '1' again in line 2"),
        (
            "images.txt",
            ["2 ../../etc/passwd"],
            r"expected paths inside the data folder in .*'\.\./\.\./etc/passwd'",
        ),
        ("images.txt", ["2 /etc/passwd"], "expected paths inside the data folder"),
        (
            "images.txt",
            ["2 001.Crow/b.jpg", "4 001.Crow/gone.jpg"],
            r"images\.txt names 2 files below .*, of which 1 are missing, first 'images/001\.Crow/gone\.jpg'",
        ),
        ("images.txt", ["9 001.Crow/b.jpg"], r"expected a line for image 9 .* in .*image_class_labels\.txt"),
        ("train_test_split.txt", ["1 1"], "expected a line for image 2 .* in .*train_test_split"),
        (
            "train_test_split.txt",
            [f"{i} 1" for i in range(1, 5)],
            "expected images of 'test' in .*found none",
        ),
        ("image_class_labels.txt", [f"{i} 7" for i in range(1, 5)], "expected the classes of .*found '7'"),
        ("bounding_boxes.txt", ["2 1 2 x 4"], "expected numbers in line 1 of .*found '1 2 x 4'"),
        ("bounding_boxes.txt", ["2 1 2 nan 4"], "expected numbers in line 1"),
        (
            "bounding_boxes.txt",
            ["2 1 2 0 4"],
            "expected a width and height above 0 in line 1 of .*found 0 and 4",
        ),
        ("bounding_boxes.txt", ["2 1 2 3"], "expected 'id x y width height' in line 1"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, file: str, lines: list[str], message: str) -> None:
    write(cub(tmp_path) / file, *lines)
    with pytest.raises(InputError, match=message):
        open_localisation(f"cub:{tmp_path}")


@pytest.mark.parametrize("file", ["classes.txt", "image_class_labels.txt", "train_test_split.txt"])
def test_a_missing_file_is_named(tmp_path: Path, file: str) -> None:
    (cub(tmp_path) / file).unlink()
    with pytest.raises(InputError, match=f"expected a file .*{file}"):
        open_images(f"cub:{tmp_path}")


def test_bytes_that_are_no_text_and_a_folder_of_something_else(tmp_path: Path) -> None:
    (cub(tmp_path) / "classes.txt").write_bytes(b"1 \xff\xfe")
    with pytest.raises(InputError, match=r"expected text \(UTF-8\) in .*classes\.txt"):
        open_images(f"cub:{tmp_path}")
    with pytest.raises(InputError, match=r"expected images\.txt and the other text files of CUB-200-2011"):
        open_images(f"cub:{tmp_path / 'images'}")


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = cub(tmp_path) / "images.txt"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert open_images(f"cub:{tmp_path}").ids == ["001.Crow/b.jpg", "002.Wren/d.jpg"]
