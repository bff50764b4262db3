"""The evaluation paper's text files."""

from pathlib import Path

import pytest

from eval_suite.core.errors import InputError
from eval_suite.data.boxes import open_localisation
from eval_suite.data.images import open_images, splits_of
from tests.data.boxes_on_disk import picture, write, wsoleval


@pytest.mark.parametrize(
    ("metadata", "images", "path"),
    [
        ("metadata", "images", "."),
        ("metadata", "dataset", "."),
        ("metadata", ".", "."),
        (".", "images", "."),
        ("metadata/CUB", "dataset/CUB", "metadata/CUB"),
    ],
)
def test_places(tmp_path: Path, metadata: str, images: str, path: str) -> None:
    wsoleval(tmp_path / metadata, tmp_path / images)
    truth = open_localisation(f"wsoleval:{tmp_path / path}")
    index = truth.images
    assert index.ids == ["001.Crow/a.jpg", "002.Wren/b.jpg", "002.Wren/c.jpg"]
    assert index.paths is not None
    assert [file.resolve() for file in index.paths] == [
        (tmp_path / images / name).resolve() for name in index.ids
    ]
    assert index.labels.tolist() == [0, 1, 1]
    assert truth.sizes.tolist() == [[40, 30]] * 3
    assert [b.tolist() for b in truth.boxes] == [
        [[1, 2, 30, 20]],
        [[1, 2, 30, 20], [5, 5, 9, 9]],
        [[1, 2, 30, 20]],
    ]


def test_splits_by_either_name(tmp_path: Path) -> None:
    for split in ("train-weaksup", "train-fullsup", "test"):
        wsoleval(tmp_path / "metadata", tmp_path / "images", split=split)
    spec = f"wsoleval:{tmp_path}"
    assert splits_of(spec) == ["train", "val", "test"]
    assert open_images(spec).split == "test"
    assert open_images(spec, purpose="train").split == "train"


def test_classes_are_named_by_their_folders_where_each_has_its_own(tmp_path: Path) -> None:
    wsoleval(tmp_path, tmp_path / "images")
    assert open_images(f"wsoleval:{tmp_path}").classes == ["001.Crow", "002.Wren"]
    names = ["001.Crow/a.jpg", "002.Wren/b.jpg", "002.Wren/c.jpg"]
    write(tmp_path / "test" / "class_labels.txt", *(f"{name},{3 * i}" for i, name in enumerate(names)))
    index = open_images(f"wsoleval:{tmp_path}")
    assert index.classes == ["0", "1", "2", "3", "4", "5", "6"]
    assert index.labels.tolist() == [0, 3, 6]


def test_masks(tmp_path: Path) -> None:
    wsoleval(tmp_path, tmp_path / "images")
    for name in ("a1", "a2", "a_ignore", "b1", "c1"):
        picture(tmp_path / "images" / "masks" / f"{name}.png")
    table = tmp_path / "test" / "localization.txt"
    rows = [
        "001.Crow/a.jpg,masks/a1.png,masks/a_ignore.png",
        "001.Crow/a.jpg,masks/a2.png,",
        "002.Wren/b.jpg,masks/b1.png,",
        "002.Wren/c.jpg,masks/c1.png,",
    ]
    write(table, *rows)
    truth = open_localisation(f"wsoleval:{tmp_path}")
    assert truth.masks is not None
    folder = tmp_path / "images" / "masks"
    assert truth.masks[0].instances == [folder / "a1.png", folder / "a2.png"]
    assert truth.masks[0].ignore == folder / "a_ignore.png"
    assert truth.masks[1].ignore is None
    part = truth.subset(2)
    assert part.masks == [truth.masks[0], truth.masks[2]]
    write(table, *rows[:3])
    with pytest.raises(InputError, match=r"expected a line for '002\.Wren/c\.jpg' in .*localization\.txt"):
        open_localisation(f"wsoleval:{tmp_path}")
    write(table, *rows[:3], "002.Wren/c.jpg,../../c.png,")
    with pytest.raises(InputError, match="expected paths inside the data folder"):
        open_localisation(f"wsoleval:{tmp_path}")
    write(table, *rows[:3], "002.Wren/c.jpg,masks/gone.png,")
    with pytest.raises(InputError, match=r"1 are missing, first 'masks/gone\.png'"):
        open_localisation(f"wsoleval:{tmp_path}")


@pytest.mark.parametrize(
    ("file", "lines", "message"),
    [
        ("image_ids.txt", [], "expected each image once in .*found none"),
        ("image_ids.txt", ["001.Crow/a.jpg"] * 2, "found one twice"),
        ("image_ids.txt", ["/etc/passwd"], "expected paths inside the data folder"),
        (
            "image_ids.txt",
            ["001.Crow/a.jpg", "001.Crow/x.jpg"],
            r"expected a line for '001\.Crow/x\.jpg' in .*class_labels",
        ),
        (
            "class_labels.txt",
            ["001.Crow/a.jpg,crow"],
            "expected a whole number as class in line 1 .*found 'crow'",
        ),
        ("class_labels.txt", ["001.Crow/a.jpg"], "expected 'path,class' in line 1"),
        (
            "image_sizes.txt",
            ["001.Crow/a.jpg,40,30"],
            "expected a line for '002.Wren/b.jpg' in .*image_sizes",
        ),
        ("image_sizes.txt", ["001.Crow/a.jpg,40,x"], "expected numbers in line 1 of .*image_sizes"),
        ("localization.txt", ["001.Crow/a.jpg,1,2,3,4"], "expected a box for every image of 'test'"),
        (
            "localization.txt",
            ["001.Crow/a.jpg,1,2,3,4", "002.Wren/b.jpg,1,2,3"],
            "expected 'path,x0,y0,x1,y1' in line 2",
        ),
        ("localization.txt", ["001.Crow/a.jpg,1,2,3,four"], "expected numbers in line 1"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, file: str, lines: list[str], message: str) -> None:
    wsoleval(tmp_path, tmp_path / "images")
    write(tmp_path / "test" / file, *lines)
    with pytest.raises(InputError, match=message):
        open_localisation(f"wsoleval:{tmp_path}")


def test_sizes_of_nothing_are_refused(tmp_path: Path) -> None:
    wsoleval(tmp_path, tmp_path / "images")
    names = ["001.Crow/a.jpg", "002.Wren/b.jpg", "002.Wren/c.jpg"]
    write(tmp_path / "test" / "image_sizes.txt", *(f"{name},0,30" for name in names))
    with pytest.raises(InputError, match=r"expected sizes of at least one pixel in .*'001\.Crow/a\.jpg'"):
        open_localisation(f"wsoleval:{tmp_path}")


def test_missing_images_are_counted(tmp_path: Path) -> None:
    wsoleval(tmp_path, tmp_path / "images")
    (tmp_path / "images" / "002.Wren" / "c.jpg").unlink()
    with pytest.raises(InputError, match=r"names 3 files .*of which 1 are missing, first '002\.Wren/c\.jpg'"):
        open_images(f"wsoleval:{tmp_path}")


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    picture(tmp_path / "val" / "cat" / "a.png")
    with pytest.raises(
        InputError, match=r"expected metadata/<split>/image_ids\.txt or <split>/image_ids\.txt"
    ):
        open_images(f"wsoleval:{tmp_path}")
