"""ILSVRC's boxes, from the table or from XML."""

from pathlib import Path

import pytest

from eval_suite.core.errors import InputError
from eval_suite.data.boxes import open_localisation
from eval_suite.data.images import open_images
from tests.data.boxes_on_disk import ilsvrc, ilsvrc_table, picture, write


def annotation(path: Path, *boxes: tuple[str, int, int, int, int], head: str = "") -> None:
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
        for name, a, b, c, d in boxes
    )
    write(path, f"{head}<annotation>{objects}</annotation>")


@pytest.mark.parametrize(
    ("images", "table"),
    [
        ("set", "set/LOC_val_solution.csv"),
        ("set", "set/val/LOC_val_solution.csv"),
        ("ILSVRC/Data/CLS-LOC", "LOC_val_solution.csv"),
    ],
)
def test_boxes_of_the_table_are_those_of_the_images_class(tmp_path: Path, images: str, table: str) -> None:
    root = ilsvrc(tmp_path / images)
    ilsvrc_table(tmp_path / table)
    truth = open_localisation(f"ilsvrc:{root}")
    assert truth.images.ids == open_images(f"imagenet:{root}").ids
    assert truth.images.labels.tolist() == [0, 1, 0]
    assert truth.sizes.tolist() == [[50, 40]] * 3
    assert [b.tolist() for b in truth.boxes] == [
        [[1, 2, 30, 20]],
        [[3, 4, 9, 9], [1, 1, 2, 2]],
        [[0, 0, 49, 39], [5, 5, 6, 6]],
    ]


@pytest.mark.parametrize("boxes", ["n01 1 2 3", "n01 1 2 3 x", "n01 1 2 3 nan"])
def test_a_wrong_row_of_the_table_is_named(tmp_path: Path, boxes: str) -> None:
    root = ilsvrc(tmp_path / "set")
    rows = [f"ILSVRC2012_val_0000000{i},{boxes}" for i in (1, 2, 3)]
    write(root / "LOC_val_solution.csv", "ImageId,PredictionString", *rows)
    with pytest.raises(
        InputError, match="expected 'wnid x0 y0 x1 y1' for each object of ILSVRC2012_val_00000001"
    ):
        open_localisation(f"ilsvrc:{root}")


@pytest.mark.parametrize(
    ("images", "folder"),
    [
        ("set", "set/Annotations/CLS-LOC/val"),
        ("set", "set/Annotations/val"),
        ("set", "set/bbox/val"),
        ("ILSVRC/Data/CLS-LOC", "ILSVRC/Annotations/CLS-LOC/val"),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_boxes_of_xml(tmp_path: Path, images: str, folder: str, nested: bool) -> None:
    root = tmp_path / images
    for wnid in ("n01", "n02"):
        picture(root / "val" / wnid / f"{wnid}_7.JPEG", (50, 40))
        below = tmp_path / folder / (wnid if nested else "")
        annotation(below / f"{wnid}_7.xml", ("n01", 1, 2, 3, 4), ("n02", 5, 6, 7, 8), ("n02", 0, 0, 9, 9))
    truth = open_localisation(f"ilsvrc:{root}")
    assert [b.tolist() for b in truth.boxes] == [[[1, 2, 3, 4]], [[5, 6, 7, 8], [0, 0, 9, 9]]]


_BOX = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"


def nested_set(tmp_path: Path) -> Path:
    picture(tmp_path / "val" / "n01" / "a.JPEG")
    return tmp_path / "Annotations" / "val" / "a.xml"


def test_an_image_without_xml_or_without_an_object_of_its_class_is_named(tmp_path: Path) -> None:
    annotation(nested_set(tmp_path), ("n09", 1, 2, 3, 4))
    with pytest.raises(InputError, match=r"found none for 1, first 'val/n01/a\.JPEG'"):
        open_localisation(f"ilsvrc:{tmp_path}")
    nested_set(tmp_path).rename(tmp_path / "Annotations" / "val" / "b.xml")
    with pytest.raises(InputError, match="expected a box for every image"):
        open_localisation(f"ilsvrc:{tmp_path}")


@pytest.mark.parametrize(
    "content",
    [
        '<!DOCTYPE a [<!ENTITY b "bbbb">]><annotation><object><name>&b;</name></object></annotation>',
        '<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>',
        "<annotation><object><name>n01</name></object></annotation>",
        "<annotation><object><name>n01</name><bndbox><xmin>x</xmin></bndbox></object></annotation>",
        "<annotation><object><name>n01</name><bndbox/><bndbox/></object></annotation>",
        f"<annotation><object><name>n01</name>{2 * _BOX}</object></annotation>",
        f"<annotation><object><name>n01</name><name>n02</name>{_BOX}</object></annotation>",
        "<annotation>",
        "",
        "<annotation>" + " " * 1_000_001 + "</annotation>",
    ],
)
def test_xml_that_is_broken_or_could_do_harm_is_refused(tmp_path: Path, content: str) -> None:
    write(nested_set(tmp_path), content)
    with pytest.raises(InputError, match=r"a\.xml"):
        open_localisation(f"ilsvrc:{tmp_path}")


def test_a_declaration_in_another_encoding_is_refused_too(tmp_path: Path) -> None:
    file = nested_set(tmp_path)
    file.parent.mkdir(parents=True)
    text = '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>'
    file.write_bytes(text.encode("utf-16"))
    with pytest.raises(InputError, match="document type declaration"):
        open_localisation(f"ilsvrc:{tmp_path}")


def test_without_any_boxes_both_places_are_named(tmp_path: Path) -> None:
    picture(tmp_path / "val" / "n01" / "a.JPEG")
    assert len(open_images(f"ilsvrc:{tmp_path}")) == 1
    with pytest.raises(InputError, match=r"expected LOC_val_solution\.csv or Annotations/CLS-LOC/val/"):
        open_localisation(f"ilsvrc:{tmp_path}")
