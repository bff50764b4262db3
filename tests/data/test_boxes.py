"""Boxes of a split: the same items as the images, sound boxes, and what is said of others."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval_suite.core.errors import InputError
from eval_suite.data.boxes import open_localisation, with_boxes
from eval_suite.data.images import open_images
from tests.data.boxes_on_disk import (
    cub,
    ilsvrc,
    ilsvrc_table,
    picture,
    tinyimagenet,
    write,
    wsoleval,
)


def lines_of(spec: str, split: str | None = None) -> list[str]:
    said: list[str] = []
    open_localisation(spec, split, warn=said.append)
    return said


def test_kinds_without_boxes_say_which_have_some(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        picture(tmp_path / "val" / name / "a.png")
    with pytest.raises(InputError, match="'folder' sets have no boxes; expected one of cub, ilsvrc"):
        open_localisation(f"folder:{tmp_path}")
    assert set(with_boxes()) == {"cub", "ilsvrc", "tinyimagenet", "wsoleval"}


def test_a_folder_that_has_boxes_as_another_kind_is_told_so(tmp_path: Path) -> None:
    cub(tmp_path)
    for name in ("001.Crow", "002.Wren"):
        picture(tmp_path / "plain" / "val" / name / "a.png")
    with pytest.raises(InputError, match=r"as KIND:PATH$"):
        open_localisation(f"folder:{tmp_path / 'plain'}")
    picture(tmp_path / "001.Crow" / "a.jpg")
    with pytest.raises(InputError, match=r"as KIND:PATH; did you mean cub:.*\?$"):
        open_localisation(f"folder:{tmp_path}")


def test_items_are_those_of_the_images_and_a_subset_keeps_them_together(demo_world: Path) -> None:
    spec = f"cub:{demo_world / 'images'}"
    truth, images = open_localisation(spec), open_images(spec)
    assert truth.images.ids == images.ids
    assert truth.images.sha256() == images.sha256()
    assert (truth.sizes == 64).all()
    part = truth.subset(4)
    assert part.images.ids == images.subset(4).ids
    for name, box in zip(part.images.ids, part.boxes, strict=True):
        assert np.array_equal(box, truth.boxes[images.ids.index(name)])
    assert (len(part), part.sizes.shape) == (4, (4, 2))
    assert truth.subset(None) is truth
    assert truth.subset(10_000) is truth


def test_an_image_without_a_box_is_named(tmp_path: Path) -> None:
    cub(tmp_path)
    write(tmp_path / "bounding_boxes.txt", "1 0 0 5 5", "4 0 0 5 5")
    message = r"expected a box for every image of 'test' in .*found none for 1, first '001\.Crow/b\.jpg'"
    with pytest.raises(InputError, match=message):
        open_localisation(f"cub:{tmp_path}")


def test_a_box_that_reaches_outside_its_image_is_kept_and_said(tmp_path: Path) -> None:
    cub(tmp_path)
    write(tmp_path / "bounding_boxes.txt", *(f"{i} -3 2 60 10" for i in (1, 2, 3, 4)))
    said: list[str] = []
    truth = open_localisation(f"cub:{tmp_path}", warn=said.append)
    assert truth.boxes[0].tolist() == [[-3, 2, 57, 12]]
    assert said == [
        f"2 boxes of {tmp_path / 'bounding_boxes.txt'} reach outside their image and are kept as they are, "
        "first that of '001.Crow/b.jpg'"
    ]


def test_boxes_without_area_or_outside_their_image_are_left_out_and_said(tmp_path: Path) -> None:
    wsoleval(tmp_path, tmp_path / "images")
    names = ["001.Crow/a.jpg", "002.Wren/b.jpg", "002.Wren/c.jpg"]
    sound = [f"{name},1,2,30,20" for name in names]
    table = tmp_path / "test" / "localization.txt"
    write(table, *sound, f"{names[1]},9,9,5,12", f"{names[2]},40,2,45,9", f"{names[2]},3,3,3,8")
    said: list[str] = []
    truth = open_localisation(f"wsoleval:{tmp_path}", warn=said.append)
    # Both corners belong to a box: one with x0 = x1 is a column of pixels.
    assert [box.tolist() for box in truth.boxes] == [
        [[1, 2, 30, 20]],
        [[1, 2, 30, 20]],
        [[1, 2, 30, 20], [3, 3, 3, 8]],
    ]
    assert said == [
        f"1 boxes of {table} have no area and are left out, first that of '002.Wren/b.jpg'",
        f"1 boxes of {table} lie outside their image and are left out, first that of '002.Wren/c.jpg'",
    ]
    write(table, *sound[:2], f"{names[2]},9,9,5,12")
    with pytest.raises(InputError, match=r"found none for 1, first '002\.Wren/c\.jpg'"):
        open_localisation(f"wsoleval:{tmp_path}", warn=said.append)


def test_a_box_without_area_in_the_other_layouts_of_corners(tmp_path: Path) -> None:
    root = ilsvrc(tmp_path / "ilsvrc")
    table = root / "LOC_val_solution.csv"
    ilsvrc_table(table)
    table.write_text(table.read_text().replace("n01 5 5 6 6", "n01 5 5 4 6"))
    said = lines_of(f"ilsvrc:{root}", "val")
    assert said == [
        f"1 boxes of {table} have no area and are left out, first that of 'val/ILSVRC2012_val_00000003.JPEG'"
    ]
    # One box an image: without it the image has none.
    base = tinyimagenet(tmp_path / "tiny")
    annotations = base / "val" / "val_annotations.txt"
    annotations.write_text(annotations.read_text().replace("5\t5\t9\t9", "5\t5\t9\t4"))
    with pytest.raises(InputError, match=r"found none for 1, first 'val/images/val_1\.JPEG'"):
        lines_of(f"tinyimagenet:{base}")


def test_sound_boxes_are_not_spoken_of(tmp_path: Path) -> None:
    assert lines_of(f"cub:{cub(tmp_path)}") == []


def test_an_image_that_cannot_be_read_has_no_size(tmp_path: Path) -> None:
    cub(tmp_path)
    (tmp_path / "images" / "002.Wren" / "d.jpg").write_bytes(b"no image")
    truth = open_localisation(f"cub:{tmp_path}")
    assert truth.sizes.tolist() == [[41, 30], [0, 0]]


def test_images_alone_need_no_boxes(tmp_path: Path) -> None:
    cub(tmp_path)
    (tmp_path / "bounding_boxes.txt").unlink()
    assert len(open_images(f"cub:{tmp_path}")) == 2
    with pytest.raises(InputError, match=r"expected a file .*bounding_boxes\.txt with lines of"):
        open_localisation(f"cub:{tmp_path}")


def test_a_size_is_read_from_the_header_as_stored(tmp_path: Path) -> None:
    cub(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter, which no reader of the suite applies
    Image.new("RGB", (41, 30)).save(tmp_path / "images" / "001.Crow" / "b.jpg", exif=exif)
    assert open_localisation(f"cub:{tmp_path}").sizes[0].tolist() == [41, 30]
