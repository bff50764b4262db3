"""The XML of an image: what is read, what is changed and counted, and every defect."""

from pathlib import Path

import pytest
from PIL import Image

from eval_suite.data.voc_annotations import Annotated, VocObject, class_names, read_annotation
from tests.data.voc_on_disk import annotation, write_devkit

IMAGE, FILE = "VOC2007/JPEGImages/000001.jpg", "VOC2007/Annotations/000001.xml"


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    return write_devkit(tmp_path)


def read(devkit: Path) -> Annotated:
    return read_annotation(devkit / FILE, devkit / IMAGE)


def read_with(devkit: Path, text: str | bytes) -> Annotated:
    (devkit / FILE).write_bytes(text.encode() if isinstance(text, str) else text)
    return read(devkit)


def test_one_image_with_one_object(devkit: Path) -> None:
    assert read(devkit) == ((40, 30), [VocObject((1, 2, 19, 14), "dog", difficult=False)], [], [])
    assert class_names(devkit / FILE) == ["dog"]


@pytest.mark.parametrize(
    ("written", "difficult", "changes"),
    [
        ("1", True, 0),
        ("True", True, 0),
        ("yes", True, 0),
        ("False", False, 0),
        ("", False, 0),
        ("Unspecified", False, 1),
    ],
)
def test_words_for_difficult(devkit: Path, written: str, difficult: bool, changes: int) -> None:
    found = read_with(devkit, annotation().replace("<difficult>0", f"<difficult>{written}"))
    assert found.objects[0].difficult is difficult
    assert len(found.changes) == changes


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        ((0, 0, 20, 15), (0, 0, 19, 14)),
        ((0.5, 3, 20, 15), (0, 2, 19, 14)),
        ((2, 3, 41, 31), (1, 2, 39, 29)),
        ((0, 3, 40.5, 15), (0, 2, 39, 14)),
        ((5, 5, 5, 5), (4, 4, 4, 4)),
    ],
)
def test_boxes_up_to_a_pixel_outside_are_cut_off_and_counted(
    devkit: Path, box: tuple[float, ...], kept: tuple[float, ...]
) -> None:
    found = read_with(devkit, annotation(box=box))
    assert found.objects[0].box == kept
    assert len(found.changes) == (min(box[:2]) < 1) + (box[2] > 40 or box[3] > 30)
    assert not found.defects


@pytest.mark.parametrize(
    "box",
    [(-1, 3, 20, 15), (2, 3, 42, 15), (2, 3, 20, 32), (20, 3, 2, 15), (2, 15, 20, 3), (41, 3, 41, 15)],
)
def test_boxes_outside_the_image_or_inverted(devkit: Path, box: tuple[int, ...]) -> None:
    (defect,) = read_with(devkit, annotation(box=box)).defects
    assert "expected a box within 1..40 x 1..30" in defect


@pytest.mark.parametrize("value", ["nan", "inf", "left", "", "1,5"])
def test_boxes_that_are_no_numbers(devkit: Path, value: str) -> None:
    (defect,) = read_with(devkit, annotation(box=(value, 3, 20, 15))).defects  # type: ignore[arg-type]
    assert "expected a number as bndbox/xmin" in defect


@pytest.mark.parametrize(
    ("before", "twice", "named"),
    [
        ("</object>", "<bndbox><xmin>5</xmin></bndbox></object>", "one bndbox for"),
        ("</object>", "<name>cat</name></object>", "one name for"),
        ("</bndbox></object>", "<ymax>9</ymax></bndbox></object>", "one bndbox/ymax for"),
    ],
)
def test_objects_that_say_something_twice_are_refused(
    devkit: Path, before: str, twice: str, named: str
) -> None:
    found = read_with(devkit, annotation().replace(before, twice))
    assert found.objects == []
    (defect,) = found.defects
    assert named in defect
    assert "found 2" in defect


def test_every_defect_is_told(devkit: Path) -> None:
    two = annotation(box=(20, 3, 2, 15)).replace(
        "</annotation>", "<object><name>cat</name></object></annotation>"
    )
    (devkit / IMAGE).unlink()
    assert len(read_with(devkit, two).defects) == 3


@pytest.mark.parametrize(
    "size", ["", "<size><width>0</width><height>0</height></size>", "<size><width/></size>"]
)
def test_without_a_size_the_image_tells_it(devkit: Path, size: str) -> None:
    text = annotation()
    start, end = text.index("<size>"), text.index("</size>") + len("</size>")
    found = read_with(devkit, text[:start] + size + text[end:])
    assert (found.size, len(found.changes), found.defects) == ((40, 30), 1, [])


def test_an_image_of_another_size(devkit: Path) -> None:
    (defect,) = read_with(devkit, annotation(size=(41, 30))).defects
    assert "expected an image of 41 x 30 pixels" in defect
    assert "found 40 x 30" in defect


def test_a_turned_image_counts_in_stored_pixels(devkit: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (40, 30)).save(devkit / IMAGE, exif=exif)
    assert len(read(devkit).changes) == 1
    (defect,) = read_with(devkit, annotation(size=(30, 40))).defects
    assert "EXIF" in defect


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("000001.jpg", 0),
        ("000001", 0),
        ("000001.PNG", 0),
        ("imgs\\000001.jpg", 0),
        ("000002.jpg", 1),
        ("../../x.jpg", 1),
    ],
)
def test_another_file_name_is_counted_and_never_followed(devkit: Path, file: str, changes: int) -> None:
    found = read_with(devkit, annotation(file=file))
    assert (len(found.changes), len(found.objects), found.defects) == (changes, 1, [])


def test_a_class_that_is_not_in_the_files_encoding(devkit: Path) -> None:
    assert len(read_with(devkit, annotation(name="h\xfcnd").encode("latin-1")).defects) == 1
    assert not read_with(devkit, annotation(file="h\xfcnd").encode("latin-1")).defects


@pytest.mark.parametrize("content", [annotation()[:-5], "", annotation(head="<!DOCTYPE a SYSTEM 'a.dtd'>")])
def test_damaged_and_unsafe_xml(devkit: Path, content: str) -> None:
    found = read_with(devkit, content)
    assert (found.objects, len(found.defects)) == ([], 1)
    assert class_names(devkit / FILE) == []


def test_a_missing_annotation_and_a_broken_image(devkit: Path) -> None:
    (devkit / IMAGE).write_bytes(b"no image")
    assert read(devkit).size == (40, 30)
    (devkit / FILE).unlink()
    assert len(read(devkit).defects) == 1
