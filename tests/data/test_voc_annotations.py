"""The XML of an image, and everything in it that is refused."""

from pathlib import Path

import pytest

from eval_suite.core.errors import InputError
from eval_suite.data.voc_annotations import Annotated, VocObject, read_annotation
from tests.data.voc_on_disk import annotation, write_devkit

NUMBER = {"cat": 0, "dog": 1, "horse": 2}


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    return write_devkit(tmp_path)


def read_with(devkit: Path, text: str | bytes) -> Annotated:
    content = text.encode() if isinstance(text, str) else text
    (devkit / "VOC2007/Annotations/000001.xml").write_bytes(content)
    return read_annotation(devkit, "VOC2007", "000001", NUMBER)


def test_one_image_with_one_object(devkit: Path) -> None:
    image = devkit / "VOC2007/JPEGImages/000001.jpg"
    found = read_annotation(devkit, "VOC2007", "000001", NUMBER)
    assert found == ("VOC2007/000001", image, (40, 30), [VocObject((1, 2, 19, 14), 1, difficult=False)])
    assert read_with(devkit, annotation(difficult=1)).objects[0].difficult


@pytest.mark.parametrize(
    "head",
    [
        '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE a SYSTEM "http://localhost/a.dtd">',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_and_other_files(devkit: Path, head: str, encoding: str) -> None:
    name = "&b;" if "ENTITY b" in head else "&x;" if "ENTITY x" in head else "dog"
    with pytest.raises(InputError, match=r"refused .*000001\.xml: it holds a document type declaration"):
        read_with(devkit, annotation(head=head, name=name).encode(encoding))


@pytest.mark.parametrize(
    "box", [(0, 3, 20, 15), (2, 3, 41, 15), (2, 3, 20, 31), (20, 3, 2, 15), (2, 15, 20, 3)]
)
def test_boxes_outside_the_image_or_inverted(devkit: Path, box: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"expected a box within 1\.\.40 x 1\.\.30"):
        read_with(devkit, annotation(box=box))


@pytest.mark.parametrize("value", ["nan", "inf", "left", ""])
def test_boxes_that_are_no_numbers(devkit: Path, value: str) -> None:
    with pytest.raises(InputError, match="expected a number as bndbox/xmin"):
        read_with(devkit, annotation(box=(value, 3, 20, 15)))  # type: ignore[arg-type]


def test_unknown_classes(devkit: Path) -> None:
    with pytest.raises(InputError, match=r"unknown class 'hose'\. Did you mean 'horse'"):
        read_with(devkit, annotation(name="hose"))


def test_a_missing_image(devkit: Path) -> None:
    (devkit / "VOC2007/JPEGImages/000001.jpg").unlink()
    with pytest.raises(InputError, match=r"expected the image of .*000001\.xml at .*, found none"):
        read_annotation(devkit, "VOC2007", "000001", NUMBER)


def test_a_missing_annotation(devkit: Path) -> None:
    (devkit / "VOC2007/Annotations/000001.xml").unlink()
    with pytest.raises(InputError, match="expected an annotation at"):
        read_annotation(devkit, "VOC2007", "000001", NUMBER)


@pytest.mark.parametrize("file", ["../../secret.jpg", "/etc/passwd", "..", "a\\b.jpg"])
def test_file_names_that_leave_the_folder(devkit: Path, file: str) -> None:
    with pytest.raises(InputError, match="no plain file name and could leave the data's folder"):
        read_with(devkit, annotation(file=file))


def test_an_image_of_another_size(devkit: Path) -> None:
    with pytest.raises(InputError, match=r"expected an image of 41 x 30 pixels at .*found 40 x 30"):
        read_with(devkit, annotation(size=(41, 30)))


def test_damaged_xml(devkit: Path) -> None:
    with pytest.raises(InputError, match=r"expected XML in .*000001\.xml"):
        read_with(devkit, annotation()[:-5])
