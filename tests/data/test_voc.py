"""Pascal VOC's layout, and everything in it that is refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval_suite.core.errors import InputError
from eval_suite.data.voc import CLASSES, VocIndex, open_voc, voc_splits

BOX = (2, 3, 20, 15)


def annotation(
    *,
    name: str = "dog",
    box: tuple[float, ...] = BOX,
    size: tuple[int, int] = (40, 30),
    head: str = "",
    file: str = "000001.jpg",
    difficult: int = 0,
) -> str:
    sides = "".join(f"<{s}>{v}</{s}>" for s, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return (
        f"{head}<annotation><filename>{file}</filename>"
        f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
        f"<object><name>{name}</name><difficult>{difficult}</difficult>"
        f"<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part><bndbox>{sides}</bndbox></object></annotation>"
    )


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    """One image, one dog, in the test split of 2007."""
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (tmp_path / "VOC2007" / folder).mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(tmp_path / "VOC2007/JPEGImages/000001.jpg")
    (tmp_path / "VOC2007/Annotations/000001.xml").write_text(annotation())
    (tmp_path / "VOC2007/ImageSets/Main/test.txt").write_text("000001\n")
    return tmp_path


def open_with(devkit: Path, text: str | bytes) -> VocIndex:
    content = text.encode() if isinstance(text, str) else text
    (devkit / "VOC2007/Annotations/000001.xml").write_bytes(content)
    return open_voc(f"voc:{devkit}")


class TestReading:
    def test_boxes_count_from_zero_and_keep_both_corners(self, devkit: Path) -> None:
        index = open_voc(f"voc:{devkit}")
        assert (index.ids, index.names, index.split) == (["VOC2007/000001"], ["000001"], "VOC2007/test")
        assert index.classes == list(CLASSES)
        assert index.boxes.tolist() == [[1, 2, 19, 14]]
        assert index.classes[index.labels[0]] == "dog"
        assert index.sizes.tolist() == [[40, 30]]

    def test_fractions_and_difficult_objects(self, devkit: Path) -> None:
        index = open_with(devkit, annotation(box=(1.5, 2, 20.25, 15), difficult=1))
        assert index.boxes[0].tolist() == [0.5, 1, 19.25, 14]
        assert index.difficult.tolist() == [True]

    def test_the_demo_world(self, demo_world: Path) -> None:
        spec = f"voc:{demo_world / 'VOCdevkit'}"
        train, test = open_voc(spec, purpose="train"), open_voc(spec)
        assert (train.split, len(train)) == ("VOC2007/trainval+VOC2012/trainval", 18)
        assert (test.split, len(test)) == ("VOC2007/test", 6)
        assert len(train.classes) == 10
        assert open_voc(f"voc:{demo_world}").sha256() == test.sha256()
        assert voc_splits(spec)[:3] == ["VOC2007/trainval", "VOC2007/train", "VOC2007/val"]
        assert (test.boxes[:, :2] >= 0).all()
        assert (test.boxes[:, 2:] < test.sizes[test.image]).all()

    def test_subsets_take_their_objects_along(self, demo_world: Path) -> None:
        index = open_voc(f"voc:{demo_world}")
        part = index.select(np.array([4, 1]))
        assert part.ids == [index.ids[1], index.ids[4]]
        for place, old in enumerate((1, 4)):
            assert part.boxes[part.image == place].tolist() == index.boxes[index.image == old].tolist()
        assert index.subset(None) is index
        assert len(index.subset(2)) == 2

    def test_a_change_of_any_part_changes_the_hash(self, devkit: Path) -> None:
        hashes = {
            open_with(devkit, annotation(**changes)).sha256()  # type: ignore[arg-type]
            for changes in ({}, {"box": (2, 3, 21, 15)}, {"name": "cat"}, {"difficult": 1})
        }
        assert len(hashes) == 4


class TestRefused:
    @pytest.mark.parametrize(
        "head",
        [
            '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
            '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
            '<!DOCTYPE a SYSTEM "http://localhost/a.dtd">',
        ],
    )
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
    def test_entities_and_other_files(self, devkit: Path, head: str, encoding: str) -> None:
        name = "&b;" if "ENTITY b" in head else "&x;" if "ENTITY x" in head else "dog"
        with pytest.raises(InputError, match=r"refused .*000001\.xml: it holds a document type declaration"):
            open_with(devkit, annotation(head=head, name=name).encode(encoding))

    @pytest.mark.parametrize(
        "box", [(0, 3, 20, 15), (2, 3, 41, 15), (2, 3, 20, 31), (20, 3, 2, 15), (2, 15, 20, 3)]
    )
    def test_boxes_outside_the_image_or_inverted(self, devkit: Path, box: tuple[int, ...]) -> None:
        with pytest.raises(InputError, match=r"expected a box within 1\.\.40 x 1\.\.30"):
            open_with(devkit, annotation(box=box))

    @pytest.mark.parametrize("value", ["nan", "inf", "left", ""])
    def test_boxes_that_are_no_numbers(self, devkit: Path, value: str) -> None:
        with pytest.raises(InputError, match="expected a number as bndbox/xmin"):
            open_with(devkit, annotation(box=(value, 3, 20, 15)))  # type: ignore[arg-type]

    def test_unknown_classes(self, devkit: Path) -> None:
        with pytest.raises(InputError, match=r"unknown class 'hose'\. Did you mean 'horse'"):
            open_with(devkit, annotation(name="hose"))

    def test_a_missing_image(self, devkit: Path) -> None:
        (devkit / "VOC2007/JPEGImages/000001.jpg").unlink()
        with pytest.raises(InputError, match=r"expected the image of .*000001\.xml at .*, found none"):
            open_voc(f"voc:{devkit}")

    def test_a_missing_annotation(self, devkit: Path) -> None:
        (devkit / "VOC2007/Annotations/000001.xml").unlink()
        with pytest.raises(InputError, match="expected an annotation at"):
            open_voc(f"voc:{devkit}")

    @pytest.mark.parametrize("file", ["../../secret.jpg", "/etc/passwd", "..", "a\\b.jpg"])
    def test_file_names_that_leave_the_folder(self, devkit: Path, file: str) -> None:
        with pytest.raises(InputError, match="no plain file name and could leave the data's folder"):
            open_with(devkit, annotation(file=file))

    def test_names_in_a_split_that_leave_the_folder(self, devkit: Path) -> None:
        (devkit / "VOC2007/ImageSets/Main/test.txt").write_text("../../../etc/passwd\n")
        with pytest.raises(InputError, match="no plain file name"):
            open_voc(f"voc:{devkit}")

    def test_an_empty_split_and_one_with_a_name_twice(self, devkit: Path) -> None:
        split = devkit / "VOC2007/ImageSets/Main/test.txt"
        split.write_text("\n")
        with pytest.raises(InputError, match="the split is empty"):
            open_voc(f"voc:{devkit}")
        split.write_text("000001\n000001\n")
        with pytest.raises(InputError, match="found '000001' twice"):
            open_voc(f"voc:{devkit}")

    def test_an_image_of_another_size(self, devkit: Path) -> None:
        with pytest.raises(InputError, match=r"expected an image of 41 x 30 pixels at .*found 40 x 30"):
            open_with(devkit, annotation(size=(41, 30)))

    def test_damaged_xml(self, devkit: Path) -> None:
        with pytest.raises(InputError, match=r"expected XML in .*000001\.xml"):
            open_with(devkit, annotation()[:-5])

    @pytest.mark.parametrize("spec", ["voc:", "folder:x", "voc:/nowhere"])
    def test_no_devkit(self, spec: str) -> None:
        with pytest.raises(InputError, match="expected"):
            open_voc(spec)

    def test_absent_splits(self, devkit: Path) -> None:
        with pytest.raises(InputError, match=r"has no split 'VOC2012/test'; it has: VOC2007/test"):
            open_voc(f"voc:{devkit}", "VOC2012/test")
        with pytest.raises(InputError, match="expected a split trainval"):
            open_voc(f"voc:{devkit}", purpose="train")
