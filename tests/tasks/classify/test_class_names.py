"""Outputs and class folders in different orders and numbers, from images to record."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from eval_suite.backbones.spec import BackboneOptions
from eval_suite.core.errors import InputError
from eval_suite.core.records import Record
from tests.tasks.classify.test_task import COLOURS, FACTORY
from tests.tasks.classify.test_task import classify as evaluated

FOLDERS = {"blue": "C_1", "green": "c_2", "red": "c_10"}  # the outputs' order is that of the natural names


def classify(tmp_path: Path, folders: dict[str, str], factory: str = "colours", **options: Any) -> Record:
    """Ten pictures of each colour in folders of these names, all of which the network gets right."""
    for colour, folder in folders.items():
        (tmp_path / "world" / "val" / folder).mkdir(parents=True)
        for i in range(10):
            Image.new("RGB", (32, 32), COLOURS[colour]).save(tmp_path / "world/val" / folder / f"{i}.png")
    (tmp_path / "model.py").write_text(FACTORY)
    given = BackboneOptions(mean=(0, 0, 0), std=(1, 1, 1), **options)
    return evaluated(tmp_path, factory=factory, backbone_options=given).result


def test_natural_order_where_it_is_asked_for(tmp_path: Path) -> None:
    record = classify(tmp_path, FOLDERS, class_order="natural")
    assert record["top1_error"].value == 0
    assert record.backbone.classes == ["C_1", "c_2", "c_10"]
    assert record.warnings == []


def test_the_assumed_order_is_recorded_and_doubted(tmp_path: Path) -> None:
    record = classify(tmp_path, FOLDERS)
    assert record["top1_error"].value == pytest.approx(2 / 3)
    assert record.backbone.classes_from is not None
    assert record.backbone.classes_from.startswith("assumed: ")
    assert any("--class-order natural gives 0.0%" in line for line in record.warnings)


def test_two_of_four_named_outputs(tmp_path: Path) -> None:
    """Outputs 0 and 2 stand for the data's classes; output 3 is always 0, below the right one and above none."""
    (tmp_path / "names.json").write_text('["blue", "green", "red", "other"]')
    folders = {"blue": "red", "red": "blue"}  # each picture lies in the wrong folder
    record = classify(tmp_path, folders, "four", classes=tmp_path / "names.json")
    among_two, among_all = (metric for metric in record.metrics if metric.key == "top1_error")
    assert (among_two.params, among_all.params) == ({"outputs": 2}, {"outputs": 4})
    assert (among_two.value, among_all.value) == (1, 1)
    assert among_two.n == 20


def test_a_subset_is_scored_among_its_outputs_and_among_all(tmp_path: Path) -> None:
    """Green pictures in the folder blue: among blue and red they are a tie, among all a mistake."""
    (tmp_path / "names.txt").write_text("blue\ngreen\nred\n")
    (tmp_path / "world/val/blue").mkdir(parents=True)
    Image.new("RGB", (32, 32), (0, 255, 10)).save(tmp_path / "world/val/blue/tinged.png")
    (tmp_path / "world/val/red").mkdir()
    for i in range(3):
        Image.new("RGB", (32, 32), COLOURS["red"]).save(tmp_path / "world/val/red" / f"{i}.png")
    record = classify(tmp_path, {}, classes=tmp_path / "names.txt")
    values = {
        metric.params["outputs"]: metric.value for metric in record.metrics if metric.key == "top1_error"
    }
    assert values == {2: 0, 3: 0.25}


def test_a_network_of_more_outputs_without_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        classify(tmp_path, FOLDERS, "four")
    assert "--classes" in refused.value.remedy
