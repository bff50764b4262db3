"""Scores of COCO's data: widths between edges, crowds, and further overlaps."""

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from eval_suite.data.coco_objects import open_coco
from eval_suite.data.objects import ObjectIndex
from eval_suite.tasks.detect.coco import coco_precision
from eval_suite.tasks.detect.matching import Detections
from eval_suite.tasks.detect.results import read_coco_results
from eval_suite.tasks.detect.score import score_detector
from tests.tasks.detect.test_results import make_index


def shifted(index: ObjectIndex, by: list[float]) -> Detections:
    """A detection of each object, moved to the right."""
    boxes = index.boxes + np.array(by)[:, None] * [1, 0, 1, 0]
    return Detections(index.image, index.labels, boxes, np.array([0.9, 0.8, 0.7, 0.6]))


def values(
    index: ObjectIndex, detections: Detections, ious: tuple[float, ...] = ()
) -> dict[str, float | None]:
    found = score_detector(detections, index, ious=ious).metrics
    return {each.name: each.value for each in found if each.subset is None}


def test_the_headline_is_cocos_and_widths_are_from_edge_to_edge() -> None:
    index = make_index(coco=True)
    found = values(index, shifted(index, [0, 0, 0, 0]))
    assert next(iter(found)).startswith("COCO AP (")
    assert all(value == pytest.approx(1) for value in found.values())
    assert not [name for name in found if ", +1" in name]


def test_an_overlap_of_three_fifths_counts_up_to_there() -> None:
    index = make_index(coco=True)
    # 20 pixels wide and 5 to the right: 15 shared of 25, an overlap of exactly 0.6.
    detections = shifted(index, [5, 0, 0, 0])
    found = values(index, detections, ious=(0.6, 0.61))
    assert found["mAP (area, no +1)"] == pytest.approx(1)
    assert found["mAP (area, no +1, IoU 0.6)"] == pytest.approx(1)
    # The first of the ranking misses: precision 1/2, 2/3, 3/4 at the others, each with 3/4 as the highest from there on.
    assert found["mAP (area, no +1, IoU 0.61)"] == pytest.approx(0.75 * 3 / 4)


def test_vocs_widths_have_the_pixel_more_or_not() -> None:
    index = make_index(coco=False)
    found = values(index, shifted(index, [5, 0, 0, 0]), ious=(0.6,))
    # From 10 to 29 is 20 wide with the pixel, and 19 without, of which 14 in 24 are shared.
    assert found["mAP (area, +1, IoU 0.6)"] == pytest.approx(1)
    plain = make_index(coco=True)
    assert values(plain, shifted(plain, [5, 0, 0, 0]))["COCO AP50"] == pytest.approx(found["COCO AP50"])


def test_crowds_are_those_of_pycocotools() -> None:
    index = replace(make_index(coco=True), crowd=np.array([False, False, True, False]))
    # Within the crowd, which is the whole image, any number of detections harm nothing.
    detections = shifted(index, [0, 12, 30, 0])
    truth, found = COCO(), COCO()
    frame = {"images": [{"id": i} for i in range(4)], "categories": [{"id": i} for i in range(3)]}

    def row(number: int, image: int, label: int, box: list[float]) -> dict[str, object]:
        width, height = box[2] - box[0] + 1, box[3] - box[1] + 1
        return {
            "id": number + 1,
            "image_id": image,
            "category_id": label,
            "bbox": [box[0], box[1], width, height],
            "area": width * height,
            "iscrowd": int(index.crowd[number]),
        }

    objects = zip(index.image.tolist(), index.labels.tolist(), index.boxes.tolist(), strict=True)
    truth.dataset = {**frame, "annotations": [row(k, *each) for k, each in enumerate(objects)]}
    given = zip(detections.image.tolist(), detections.labels.tolist(), detections.boxes.tolist(), strict=True)
    found.dataset = {
        **frame,
        "annotations": [
            {**row(k, *each), "score": float(detections.scores[k])} for k, each in enumerate(given)
        ],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        found.createIndex()
        theirs = COCOeval(truth, found, "bbox")
        theirs.evaluate()
        theirs.accumulate()
        theirs.summarize()
    ours = values(index, detections)
    names = ("COCO AP (IoU 0.50:0.95)", "COCO AP50", "COCO AP75")
    assert [ours[name] for name in names] == pytest.approx(theirs.stats[:3].tolist(), abs=1e-12)
    assert 0 < theirs.stats[0] < 1


def test_tied_scores_of_images_in_any_order_are_those_of_pycocotools(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ids = rng.permutation(12).tolist()
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 100, "height": 80} for i in ids]
    truth = [
        {"id": n, "image_id": i, "category_id": 1 + n % 2, "bbox": [5, 5, 30, 30], "area": 900, "iscrowd": 0}
        for n, i in enumerate(ids * 2, start=1)
    ]
    results = [
        {
            "image_id": each["image_id"],
            "category_id": each["category_id"],
            "bbox": [5 + float(rng.integers(0, 40)), 5, 30, 30],
            "score": float(rng.integers(1, 3)) / 4,
        }
        for each in truth * 3
    ]
    categories = [{"id": 2, "name": "dog"}, {"id": 1, "name": "cat"}]
    file, given = tmp_path / "instances_val.json", tmp_path / "given.json"
    file.write_text(json.dumps({"images": images, "annotations": truth, "categories": categories}))
    given.write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        annotated = COCO(str(file))
        theirs = COCOeval(annotated, annotated.loadRes(str(given)), "bbox")
        theirs.evaluate()
        theirs.accumulate()
        theirs.summarize()
    index = open_coco(f"coco:{file}")
    ours = coco_precision(read_coco_results(given, index).detections, index)
    assert ours == tuple(theirs.stats[:3])
    assert 0 < theirs.stats[0] < 1
