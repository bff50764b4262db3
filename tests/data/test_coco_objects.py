"""Boxes in COCO's format, in the folders of COCO and of annotation tools."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eval_suite.core.errors import InputError
from eval_suite.data.check import check_data
from eval_suite.data.coco_objects import default_split, open_coco
from eval_suite.data.detection import object_splits, open_objects
from eval_suite.data.objects import DefectsError

IMAGES = [
    {"id": 9, "file_name": "b.jpg", "width": 40, "height": 30},
    {"id": 4, "file_name": "a.jpg", "width": 40, "height": 30},
]
CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}]
ONE = {"id": 1, "image_id": 4, "category_id": 18, "bbox": [1.5, 2, 10.25, 5]}
TWO = {"id": 2, "image_id": 9, "category_id": 3, "bbox": [0, 0, 40, 30], "iscrowd": 1}


def write(file: Path, folder: Path | None = None, **changes: Any) -> Path:
    content = {"images": IMAGES, "categories": CATEGORIES, "annotations": [ONE, TWO], **changes}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    for image in content["images"] if folder else ():
        (folder / image["file_name"]).parent.mkdir(parents=True, exist_ok=True)  # type: ignore[operator]
        Image.new("RGB", (40, 30)).save(folder / image["file_name"])  # type: ignore[operator]
    return file


def test_boxes_classes_and_ids(tmp_path: Path) -> None:
    write(tmp_path / "annotations/instances_val2017.json", tmp_path / "val2017")
    index = open_coco(f"coco:{tmp_path}")
    assert (index.split, index.ids) == ("val2017", ["val2017/b.jpg", "val2017/a.jpg"])
    assert (index.classes, index.category_ids, index.image_keys) == (["car", "dog"], [3, 18], [9, 4])
    assert index.image.tolist() == [0, 1]
    assert index.labels.tolist() == [0, 1]
    assert index.boxes.tolist() == [[0, 0, 39, 29], [1.5, 2, 10.75, 6]]
    assert index.boxes.dtype == np.float64
    assert index.crowd.tolist() == [True, False]
    assert index.select(np.array([1])).image_keys == [4]
    assert all(path.is_file() for path in index.paths)


@pytest.mark.parametrize(
    ("file", "images", "split"),
    [
        ("annotations/instances_train2014.json", "images/train2014", "train2014"),
        ("annotations/instances_default.json", "images", "default"),
        ("annotations/val.json", "val", "val"),
        ("instances_minival.json", "", "minival"),
        ("valid/_annotations.coco.json", "valid", "valid"),
    ],
)
def test_folders(tmp_path: Path, file: str, images: str, split: str) -> None:
    write(tmp_path / file, tmp_path / images)
    assert object_splits(f"coco:{tmp_path}") == [split]
    assert open_coco(f"coco:{tmp_path}", split).paths == [
        tmp_path / images / name for name in ("b.jpg", "a.jpg")
    ]
    for spec in (f"coco:{tmp_path / file}", str(tmp_path / file)):
        assert len(open_objects(spec)) == 2


def test_default_splits(tmp_path: Path) -> None:
    for split in ("train2014", "val2014", "train2017", "val2017"):
        write(tmp_path / f"annotations/instances_{split}.json")
    spec = f"coco:{tmp_path}"
    assert (default_split(spec, "evaluate"), default_split(spec, "train")) == ("val2017", "train2017")
    assert default_split(spec, "train", "val2014") == "train2014"
    write(tmp_path / "own/train/_annotations.coco.json")
    with pytest.raises(InputError, match="--split"):
        default_split(f"coco:{tmp_path / 'own'}", "evaluate")


def test_ids_that_are_texts_and_sizes_that_are_missing(tmp_path: Path) -> None:
    images = [{"id": "x", "file_name": "sub/a.jpg"}, {"id": 7, "file_name": "b.jpg"}]
    ours = [{**ONE, "image_id": "x"}, {**TWO, "image_id": "7"}]
    write(tmp_path / "annotations/val.json", tmp_path / "val", images=images, annotations=ours)
    index = open_coco(f"coco:{tmp_path}")
    assert index.sizes.tolist() == [[40, 30]] * 2
    assert index.image.tolist() == [0, 1]


def test_every_defect_is_listed(tmp_path: Path) -> None:
    bad = [
        {**ONE, "image_id": 5},
        {**ONE, "category_id": 1},
        {**ONE, "bbox": [1, 2, 3]},
        {**ONE, "bbox": [1, 2, -3, 4]},
        {**ONE, "bbox": [1, 2, None, 4]},
        {"id": 6, "image_id": 4, "category_id": 18},
    ]
    write(tmp_path / "annotations/instances_val.json", tmp_path / "val", annotations=bad)
    with pytest.raises(DefectsError) as caught:
        open_coco(f"coco:{tmp_path}")
    assert len(caught.value.defects) == len(bad)
    report = check_data(f"coco:{tmp_path}")
    assert (len(report.lines), report.ok) == (len(bad), False)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1]], "shares"),
        ([[30, 20, 39, 29], [10, 5, 38, 30]], "x0, y0, x1, y1"),
        ([[30, 20, 39, 29], [10, 5, 38, 30], [30, 20, 52, 29]], "x0, y0, x1, y1"),
    ],
)
def test_boxes_that_are_no_widths_in_pixels(tmp_path: Path, boxes: list[list[float]], message: str) -> None:
    ours = [{**ONE, "bbox": box} for box in boxes]
    write(tmp_path / "annotations/val.json", annotations=ours)
    with pytest.raises(InputError, match=message):
        open_coco(f"coco:{tmp_path}")


def test_boxes_that_may_be_corners_are_kept_and_noted(tmp_path: Path) -> None:
    ours = [{**ONE, "bbox": box} for box in [[30, 20, 39, 29], [30, 20, 5, 5], [30, 20, 6, 5], ONE["bbox"]]]
    write(tmp_path / "annotations/val.json", annotations=ours)
    index = open_coco(f"coco:{tmp_path}")
    assert (len(index.labels), len(index.notes)) == (4, 1)


def test_a_file_of_boxes_is_not_checked_for_captions(tmp_path: Path) -> None:
    file = write(tmp_path / "annotations/instances_val2017.json", tmp_path / "val2017")
    assert check_data(f"coco:{file}").ok
    captions = write(
        tmp_path / "captions_x.json", tmp_path / "x", annotations=[{"image_id": 4, "caption": "a dog"}]
    )
    assert check_data(f"coco:{captions}").ok
    write(file, annotations=[])
    assert not check_data(f"coco:{file}").ok


def test_boxes_without_area_or_outside_are_kept_and_told(tmp_path: Path) -> None:
    ours = [{**ONE, "bbox": [3, 3, 0, 4]}, {**ONE, "bbox": [50, 3, 2, 4]}, ONE]
    write(tmp_path / "annotations/val.json", annotations=ours)
    index = open_coco(f"coco:{tmp_path}")
    assert (len(index.labels), len(index.notes)) == (3, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": []}, "images and categories"),
        ({"categories": None}, "categories"),
        ({"images": [IMAGES[0], IMAGES[0]]}, "each id"),
        ({"images": [{**IMAGES[0], "file_name": "../x.jpg"}]}, "paths inside the data folder"),
        ({"categories": [CATEGORIES[0]] * 2}, "each id"),
        ({"categories": [CATEGORIES[0], {"id": 4, "name": "dog"}]}, "'dog' again"),
    ],
)
def test_files_that_are_none(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write(tmp_path / "annotations/val.json", **changes)
    with pytest.raises(InputError, match=message):
        open_coco(f"coco:{tmp_path}")


def test_boxes_and_captions_of_one_folder_are_both_looked_at(tmp_path: Path) -> None:
    write(tmp_path / "annotations/instances_val2017.json", tmp_path / "val2017")
    captions = {"images": IMAGES, "annotations": [{"id": 1, "image_id": 4, "caption": "a dog"}]}
    (tmp_path / "annotations/captions_val2017.json").write_text(json.dumps(captions))
    lines = check_data(f"coco:{tmp_path}").lines
    assert [line for line in lines if line.startswith("val2017")] == [
        "val2017: 1 images, 1 captions, 1 to 1 an image",
        "val2017: 2 images, 2 objects (1 crowds) in 2 classes, 1 a class",
    ]


@pytest.mark.parametrize("spec", ["coco:nowhere", "cooc:x", "voc", "coco:"])
def test_no_boxes(spec: str) -> None:
    with pytest.raises(InputError):
        open_objects(spec)


def test_annotations_that_are_there_twice_are_noted(tmp_path: Path) -> None:
    file = write(tmp_path / "instances_val.json", annotations=[ONE, TWO, {**ONE, "id": 7}])
    index = open_objects(f"coco:{file}")
    assert len(index.labels) == 3
    (note,) = index.notes
    assert (note.split()[0], note.rsplit(" ", 1)[1]) == ("1", "val/a.jpg")
