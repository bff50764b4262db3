"""Pascal VOC's layout, and everything in it that is refused."""

from pathlib import Path

import numpy as np
import pytest

from eval_suite.core.errors import InputError
from eval_suite.data.check import check_data
from eval_suite.data.detection import open_objects
from eval_suite.data.objects import ObjectIndex
from eval_suite.data.voc import CLASSES, open_voc, voc_splits
from tests.data.voc_on_disk import annotation, write_devkit


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    return write_devkit(tmp_path)


def open_with(devkit: Path, text: str | bytes) -> ObjectIndex:
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

    def test_a_list_of_classes_gives_their_order(self, devkit: Path) -> None:
        index = open_voc(f"voc:{devkit}", class_list=["cat", "dog"])
        assert (index.classes, index.labels.tolist()) == (["cat", "dog"], [1])
        with pytest.raises(InputError, match="unknown class 'dog'"):
            open_voc(f"voc:{devkit}", class_list=["cat"])

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
    def test_names_in_a_split_that_leave_the_folder(self, devkit: Path) -> None:
        (devkit / "VOC2007/ImageSets/Main/test.txt").write_text("../../../etc/passwd\n")
        with pytest.raises(InputError, match=r"expected an annotation at .*Annotations/passwd\.xml"):
            open_voc(f"voc:{devkit}")

    def test_an_empty_split_and_one_with_a_name_twice(self, devkit: Path) -> None:
        split = devkit / "VOC2007/ImageSets/Main/test.txt"
        split.write_text("\n")
        with pytest.raises(InputError, match="the split is empty"):
            open_voc(f"voc:{devkit}")
        split.write_text("000001\n000001\n")
        with pytest.raises(InputError, match="found 'VOC2007/000001' twice"):
            open_voc(f"voc:{devkit}")

    @pytest.mark.parametrize("spec", ["voc:", "folder:x", "voc:/nowhere"])
    def test_no_devkit(self, spec: str) -> None:
        with pytest.raises(InputError, match="expected"):
            open_voc(spec)

    def test_absent_splits(self, devkit: Path) -> None:
        with pytest.raises(InputError, match=r"has no split 'VOC2012/test'; it has: VOC2007/test"):
            open_voc(f"voc:{devkit}", "VOC2012/test")
        with pytest.raises(InputError, match="expected a split trainval"):
            open_voc(f"voc:{devkit}", purpose="train")


def test_objects_that_are_there_twice_count_and_are_noted(devkit: Path) -> None:
    one = annotation()
    objects = one[one.index("<object>") : one.index("</annotation>")]
    cat = objects.replace("<name>dog", "<name>cat")
    (devkit / "VOC2007/Annotations/000001.xml").write_text(
        one.replace("</annotation>", f"{objects}{cat}{objects}</annotation>")
    )
    index = open_objects(f"voc:{devkit}")
    assert len(index.labels) == 4
    (note,) = index.notes
    assert note.startswith("2 objects have the class and the box of another")
    assert note.endswith("first: VOC2007/000001")
    assert index.about(index, []).info(1).notes == [note]
    assert f"  note: {note}" in check_data(f"voc:{devkit}").lines
