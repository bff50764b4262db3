"""COCO results on disk, and the ways in which a file made elsewhere can be wrong."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval_suite.core.errors import InputError
from eval_suite.data.objects import ObjectIndex
from eval_suite.data.voc import open_voc
from eval_suite.tasks.detect.matching import Detections
from eval_suite.tasks.detect.predictions import (
    read_run,
    write_detections,
    write_run,
)
from eval_suite.tasks.detect.results import read_coco_results


def read_detections(path: Path, index: ObjectIndex) -> Detections:
    return read_coco_results(path, index).detections


GOOD = {"image_id": 13, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}


@pytest.fixture
def index(demo_world: Path) -> ObjectIndex:
    return open_voc(f"voc:{demo_world}")


def write(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "found.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_what_is_written_is_read_again(index: ObjectIndex, tmp_path: Path) -> None:
    detections = Detections(
        np.array([0, 0, 3]),
        np.array([1, 9, 4]),
        np.array([[0, 0, 5.25, 6], [1, 2, 3, 4], [7, 8, 9, 9.5]]),
        np.array([0.25, 0.5, 1.0]),
    )
    write_detections(tmp_path / "a.json", index, detections)
    again = read_detections(tmp_path / "a.json", index)
    assert all(np.array_equal(a, b) for a, b in zip(detections, again, strict=True))
    first = json.loads((tmp_path / "a.json").read_text())[0]
    assert first == {
        "image_id": int(index.names[0]),
        "category_id": 2,
        "bbox": [0, 0, 5.25, 6],
        "score": 0.25,
    }


@pytest.mark.parametrize("key", [13, "000013", "VOC2007/000013"])
def test_images_are_known_by_number_name_and_path(index: ObjectIndex, tmp_path: Path, key: Any) -> None:
    found = read_detections(write(tmp_path, [{**GOOD, "image_id": key}]), index)
    assert index.names[found.image[0]] == "000013"
    assert found.boxes.tolist() == [[1, 2, 4, 6]]


def test_nothing_found(index: ObjectIndex, tmp_path: Path) -> None:
    assert read_detections(write(tmp_path, []), index).boxes.shape == (0, 4)


def test_names_of_two_years_that_are_one_number_need_their_paths(demo_world: Path, tmp_path: Path) -> None:
    both = open_voc(f"voc:{demo_world}", "VOC2007/trainval+VOC2012/trainval")
    assert read_detections(write(tmp_path, [{**GOOD, "image_id": "2012_000001"}]), both).image.tolist() == [
        12
    ]
    assert read_detections(write(tmp_path, [{**GOOD, "image_id": 2012000001}]), both).image.tolist() == [12]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 999}, "expected every 'image_id' .* found 1 unknown: 999"),
        ({"image_id": None}, "unknown: None"),
        ({"image_id": [1]}, "unknown"),
        ({"category_id": 0}, r"expected every 'category_id' .*1\.\.10"),
        ({"category_id": 11}, "found 1 unknown: 11"),
        ({"category_id": "cat"}, "unknown: 'cat'"),
        ({"bbox": [1, 2, 3]}, "expected 4 finite numbers as 'bbox'"),
        ({"bbox": [1, 2, -3, 4]}, "found a negative side in entry 0"),
        ({"bbox": "1 2 3 4"}, "expected 4 finite numbers"),
        ({"score": None}, "expected a finite number as 'score'"),
        ({"score": "high"}, "expected a finite number as 'score'"),
    ],
)
def test_wrong_entries(index: ObjectIndex, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_detections(write(tmp_path, [{**GOOD, **change}]), index)


@pytest.mark.parametrize("content", ['{"a": 1}', "[1, 2]", "no json", '[{"score": NaN}]'])
def test_wrong_files(index: ObjectIndex, tmp_path: Path, content: str) -> None:
    with pytest.raises(InputError, match="expected"):
        read_detections(write(tmp_path, content), index)
    with pytest.raises(InputError, match="cannot read"):
        read_detections(tmp_path / "nothing.json", index)


def test_nan_is_no_score(index: ObjectIndex, tmp_path: Path) -> None:
    text = json.dumps([GOOD]).replace("0.5", "NaN")
    with pytest.raises(InputError, match="finite number as 'score'"):
        read_detections(write(tmp_path, text), index)


def test_the_images_of_a_run(index: ObjectIndex, tmp_path: Path) -> None:
    part = index.subset(3)
    write_run(tmp_path, index.about(part, [part.ids[1]]), part, [part.ids[1]])
    run = read_run(tmp_path)
    assert run.ids == [part.ids[0], part.ids[2]]
    assert (run.about.n_available, run.about.failed) == (6, [part.ids[1]])
    (tmp_path / "images.json").write_text("{}")
    with pytest.raises(InputError, match="found no 'info'"):
        read_run(tmp_path)
