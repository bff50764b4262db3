"""Detections of other tools: dialects of COCO's results, and VOC's text files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval_suite.core.errors import InputError
from eval_suite.data.objects import ObjectIndex
from eval_suite.tasks.detect.predictions import write_detections
from eval_suite.tasks.detect.results import Results, read_coco_results, read_voc_results


def make_index(*, coco: bool) -> ObjectIndex:
    """Four images of 100 x 80 pixels with a dog each; of COCO, ids and classes have numbers of their own."""
    names = [f"{i:06d}" for i in range(1, 5)]
    boxes = np.array([[10, 10, 29, 29], [60, 50, 89, 69], [0, 0, 99, 79], [70, 60, 94, 74]], float)
    return ObjectIndex(
        name="x",
        spec="coco:x" if coco else "voc:x",
        split="val" if coco else "VOC2007/test",
        classes=["cat", "dog", "big_cat"],
        ids=[f"val/{name}.jpg" if coco else f"VOC2007/{name}" for name in names],
        paths=[Path(f"x/{name}.jpg") for name in names],
        sizes=np.array([[100, 80]] * 4),
        image=np.arange(4),
        boxes=boxes,
        labels=np.ones(4, np.int64),
        difficult=np.zeros(4, bool),
        crowd=np.zeros(4, bool),
        category_ids=[17, 18, 99] if coco else [1, 2, 3],
        image_keys=[4, 3, 2, 1] if coco else None,
        widths_are_edges=coco,
    )


WIDTHS = [[10, 10, 20, 20], [60, 50, 30, 20], [0, 0, 100, 80], [70, 60, 25, 15]]


def entries(index: ObjectIndex, boxes: list[list[float]] = WIDTHS) -> list[dict[str, Any]]:
    keys = index.image_keys or [1, 2, 3, 4]
    number = index.category_ids[1]
    return [
        {"image_id": key, "category_id": number, "bbox": box, "score": 0.5}
        for key, box in zip(keys, boxes, strict=True)
    ]


def read(tmp_path: Path, content: Any, index: ObjectIndex) -> Results:
    path = tmp_path / "results.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_coco_results(path, index)


def test_cocos_boxes_are_the_grounds_truth_to_the_bit(tmp_path: Path) -> None:
    index = make_index(coco=True)
    found = read(tmp_path, entries(index), index)
    assert found.notes == []
    assert found.detections.boxes.tolist() == index.boxes.tolist()
    assert found.detections.image.tolist() == [0, 1, 2, 3]
    write_detections(tmp_path / "again.json", index, found.detections)
    assert json.loads((tmp_path / "again.json").read_text()) == entries(index)


@pytest.mark.parametrize(
    "name",
    [lambda i: f"{i:06d}.jpg", lambda i: f"val/{i:06d}.jpg", lambda i: f"{i:06d}", lambda i: str(5 - i)],
)
def test_images_by_name(tmp_path: Path, name: Any) -> None:
    index = make_index(coco=True)
    named = [{**entry, "image_id": name(i)} for i, entry in enumerate(entries(index), start=1)]
    assert read(tmp_path, named, index).detections.image.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("coco", [False, True])
def test_corners_are_read_as_such_and_told(tmp_path: Path, coco: bool) -> None:
    index = make_index(coco=coco)
    corners = [[x, y, x + w, y + h] for x, y, w, h in WIDTHS]
    found = read(tmp_path, entries(index, corners), index)
    assert len(found.notes) == 1
    assert found.detections.boxes.tolist() == read(tmp_path, entries(index), index).detections.boxes.tolist()
    path = tmp_path / "results.json"
    path.write_text(json.dumps(entries(index, corners)))
    assert read_coco_results(path, index, own=True).notes == []


def test_corners_of_which_some_are_not_clipped_inverted_or_contradict(tmp_path: Path) -> None:
    index = make_index(coco=True)
    corners = [[x, y, x + w, y + h] for x, y, w, h in WIDTHS] * 10
    many = [{**entry, "bbox": box} for entry, box in zip(entries(index) * 10, corners, strict=True)]
    many[0]["bbox"] = [60, 50, 140, 90]
    found = read(tmp_path, many, index)
    assert len(found.notes) == 1
    assert found.detections.boxes[:2].tolist() == [[60, 50, 139, 89], index.boxes[1].tolist()]
    for wrong, at in ([60, 50, 20, 60], [0]), ([60, 50, 20, 20], range(0, 40, 4)):
        with pytest.raises(InputError):
            read(tmp_path, [{**e, "bbox": wrong} if i in at else e for i, e in enumerate(many)], index)


def test_widths_that_may_be_corners_are_read_with_a_note(tmp_path: Path) -> None:
    index = make_index(coco=True)
    boxes = [WIDTHS[1], WIDTHS[3], [60, 50, 90, 70], WIDTHS[0]]
    found = read(tmp_path, entries(index, boxes), index)
    assert len(found.notes) == 1
    assert found.detections.boxes[2].tolist() == [60, 50, 149, 119]


@pytest.mark.parametrize(
    "boxes",
    [
        [[x / 100, y / 80, w / 100, h / 80] for x, y, w, h in WIDTHS],
        [[x + 1000, y, w, h] for x, y, w, h in WIDTHS],
    ],
)
def test_shares_and_boxes_outside_are_told(tmp_path: Path, boxes: list[list[float]]) -> None:
    index = make_index(coco=True)
    assert len(read(tmp_path, entries(index, boxes), index).notes) == 1


def test_classes_by_name_and_in_an_order_of_their_own(tmp_path: Path) -> None:
    index = make_index(coco=True)
    named = [{**entry, "category_id": "big_cat"} for entry in entries(index)]
    assert read(tmp_path, named, index).detections.labels.tolist() == [2] * 4
    ours = {
        "categories": [{"id": 0, "name": "dog"}, {"id": 1, "name": "cat"}],
        "annotations": [{**entry, "category_id": i % 2} for i, entry in enumerate(entries(index))],
    }
    assert read(tmp_path, ours, index).detections.labels.tolist() == [1, 0, 1, 0]
    with pytest.raises(InputError, match="17, 18, 99"):
        read(tmp_path, [{**entries(index)[0], "category_id": 1}], index)


def test_an_object_on_each_line(tmp_path: Path) -> None:
    index = make_index(coco=False)
    text = "\n".join(json.dumps(entry) for entry in entries(index))
    assert len(read(tmp_path, text, index).detections.scores) == 4


@pytest.mark.parametrize("form", ["comp4_det_test_{}.txt", "comp3_det_val_{}.txt", "{}.txt"])
def test_vocs_result_files(tmp_path: Path, form: str) -> None:
    index = make_index(coco=False)
    (tmp_path / form.format("dog")).write_text("000001 0.9 11 11 30 30\n\n000003 0.25 1.5 1 100 80\n")
    (tmp_path / form.format("big_cat")).write_text("000004 0.5 71 61 95 75\n")
    found, notes = read_voc_results(tmp_path, index)
    order = np.argsort(-found.scores)
    ranked = found.select(order)
    assert (ranked.image.tolist(), ranked.labels.tolist()) == ([0, 3, 2], [1, 2, 1])
    assert ranked.boxes.tolist() == [[10, 10, 29, 29], [70, 60, 94, 74], [0.5, 0, 99, 79]]
    assert ranked.scores.tolist() == [0.9, 0.5, 0.25]
    assert "cat" in notes[0]


@pytest.mark.parametrize(
    "line", ["000001 0.9 11 11 30", "000001 x 11 11 30 30", "000009 0.9 1 1 3 3", "000001 nan 1 1 3 3"]
)
def test_wrong_lines_of_vocs_files(tmp_path: Path, line: str) -> None:
    (tmp_path / "dog.txt").write_text(f"000001 0.9 11 11 30 30\n{line}\n")
    with pytest.raises(InputError, match=r"line 2 of .*dog\.txt"):
        read_voc_results(tmp_path, make_index(coco=False))


def test_a_folder_without_results(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("none")
    with pytest.raises(InputError, match="comp4_det"):
        read_voc_results(tmp_path, make_index(coco=False))
