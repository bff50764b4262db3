"""Every set of data that an evaluation reads is held to its hash: none changes unnoticed under a record."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import eval_suite as es
from eval_suite.core.cards import BackboneCard
from eval_suite.core.errors import InputError
from eval_suite.core.store import read_card
from eval_suite.data.images import open_images
from eval_suite.report.collate import collate
from eval_suite.report.compare import TaskComparison
from eval_suite.tasks.evaluate import task_named
from tests.report.fake_suite import TOP1, TOP5, FakeSuite, id_of

NETWORK = """
import torch
from torch import nn
def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))
"""


@pytest.fixture
def world(demo_world: Path, tmp_path: Path) -> Path:
    shutil.copytree(demo_world, tmp_path / "world")
    shutil.copytree(demo_world / "images" / "val", tmp_path / "world" / "c" / "fog" / "1")
    return tmp_path / "world"


def first(folder: Path) -> Path:
    return sorted(path for path in folder.rglob("*") if path.is_file())[0]


def longer(path: Path) -> None:
    """Another content, still readable."""
    path.write_bytes(path.read_bytes() + b"\0")


def moved_box(path: Path) -> None:
    """A number in the last line is another one."""
    lines = path.read_text().splitlines()
    number, x, *rest = lines[-1].split()
    path.write_text("\n".join([*lines[:-1], " ".join([number, str(float(x) + 1), *rest])]) + "\n")


def other_words(path: Path) -> None:
    content = json.loads(path.read_text())
    content["annotations"][0]["caption"] = "something else"
    path.write_text(json.dumps(content))


def moved_object(path: Path) -> None:
    text = path.read_text()
    head, _, tail = text.partition("<xmin>")
    number, _, rest = tail.partition("<")
    path.write_text(f"{head}<xmin>{float(number) + 1:g}<{rest}")


IMAGES: dict[str, Any] = {"data": "folder:{images}"}
OOD: dict[str, Any] = {**IMAGES, "outliers": ["folder:{ood}/textures", "uniform"]}
CASES: list[tuple[str, dict[str, Any], str, str, Callable[[Path], None]]] = [
    ("classify", IMAGES, "images/val", "data", longer),
    ("classify", {**IMAGES, "calibration_split": "train"}, "images/train", "calibration_split", longer),
    ("probe", IMAGES, "images/val", "data", longer),
    ("probe", IMAGES, "images/train", "train_split", longer),
    ("ood", OOD, "images/val", "data", longer),
    ("ood", OOD, "ood/textures", "outliers.textures", longer),
    ("ood", {**OOD, "scores": ["knn"]}, "images/train", "fit_split", longer),
    ("robustness", IMAGES, "images/val", "data", longer),
    (
        "robustness",
        {**IMAGES, "corrupted": "imagenetc:{c}", "severities": [1]},
        "c/fog/1",
        "corrupted",
        longer,
    ),
    ("wsol", {"data": "cub:{images}"}, "images/bounding_boxes.txt", "data", moved_box),
    ("wsol", {"data": "cub:{images}", "fit": {"preset": "custom"}}, "images/train", "fit", longer),
    ("detect", {"data": "voc:{world}"}, "VOCdevkit/VOC2007/Annotations", "data", moved_object),
    ("caption", {"data": "coco:{coco}"}, "coco/annotations/captions_val2014.json", "data", other_words),
    (
        "caption",
        {"data": "coco:{coco}"},
        "coco/annotations/captions_train2014.json",
        "train_split",
        other_words,
    ),
]


@pytest.mark.parametrize(("name", "given", "where", "changed", "change"), CASES)
def test_a_change_in_a_set_changes_its_hash_and_no_other(
    world: Path, name: str, given: dict[str, Any], where: str, changed: str, change: Callable[[Path], None]
) -> None:
    places = {"images": "images", "ood": "ood", "coco": "coco", "c": "c"}
    paths = {key: str(world / place) for key, place in places.items()} | {"world": str(world)}

    def filled(value: Any) -> Any:
        if isinstance(value, list):
            return [filled(each) for each in value]
        return value.format(**paths) if isinstance(value, str) else value

    task = task_named(name)
    options = task.options.model_validate({key: filled(value) for key, value in given.items()})
    options = task.resolved(options)
    before = task.sets_read(options)
    # Of VOC's images, one that the evaluated split has.
    file = world / where
    if name == "detect":
        file /= f"{options.objects(options.split).names[0]}.xml"
    change(first(file) if file.is_dir() else file)
    after = task.sets_read(options.model_copy(update={"limit": 3}))
    assert {key for key in before if before[key] != after[key]} == {changed}
    assert before.keys() == after.keys()


def test_pixels_of_images_that_all_have_one_size(tmp_path: Path) -> None:
    for name in "ab":
        file = tmp_path / "images" / "val" / name / "0.bmp"
        file.parent.mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(file)
    hashes = []
    for value in (3, 4):
        Image.fromarray(np.full((4, 4, 3), value, np.uint8)).save(file)
        hashes.append((file.stat().st_size, open_images(f"folder:{tmp_path / 'images'}").sha256()))
    assert hashes[0][0] == hashes[1][0]
    assert hashes[0][1] != hashes[1][1]


def test_outliers_that_changed_replace_a_record_only_when_asked(world: Path, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NETWORK)

    def evaluate(**more: Any) -> es.Record:
        return es.evaluate(
            f"{tmp_path / 'net.py'}:make",
            "ood",
            data=f"folder:{world / 'images'}",
            outliers=[f"folder:{world / 'ood' / 'textures'}"],
            out=tmp_path / "reports" / "one",
            settings={"input_size": (32, 32), "mean": (0, 0, 0), "std": (1, 1, 1)},
            device="cpu",
            workers=0,
            threads=1,
            **more,
        )

    record = evaluate()
    assert set(record.sets) == {"data", "outliers.textures"}
    assert evaluate().sets == record.sets
    longer(first(world / "ood" / "textures"))
    with pytest.raises(InputError, match=r"outliers\.textures .*--overwrite"):
        evaluate()
    assert evaluate(overwrite=True).sets["outliers.textures"] != record.sets["outliers.textures"]


@pytest.fixture
def suite(tmp_path: Path) -> FakeSuite:
    return FakeSuite(tmp_path / "fake")


def test_numbers_that_stand_on_other_sets_are_not_compared(suite: FakeSuite) -> None:
    protocol: dict[str, list[dict[str, Any]]] = {"fit_split": [{"key": "top5_error"}]}
    for name, sets in (("baseline", "aa"), ("same", "aa"), ("other", "bb"), ("unknown", None)):
        path = suite.add(name)
        content = json.loads(path.read_text())
        content["task"]["protocol"] = protocol
        content["sets"] = {} if sets is None else {"fit_split": sets, "data": "dd"}
        path.write_text(json.dumps(content))
    refused = {}
    for key, name in (("top1_error", TOP1), ("top5_error", TOP5)):
        column = TaskComparison(collate(suite.folder), "classify").column(id_of(name))
        assert column is not None
        refused[key] = [name for name, cell in column.cells.items() if cell.refused]
    assert refused == {"top1_error": [], "top5_error": ["other"]}


def test_a_training_is_that_of_the_images_it_learnt_from(
    world: Path, tmp_path: Path, tiny_recipe: Callable[..., es.Recipe]
) -> None:
    recipe = tiny_recipe(data=f"folder:{world / 'images'}", epochs=1)

    def train(**more: Any) -> BackboneCard:
        es.train(recipe, out=tmp_path / "out", name="net", device="cpu", workers=0, threads=1, **more)
        return read_card(tmp_path / "out" / "net-s0")

    card = train()
    before = (tmp_path / "out" / "net-s0" / "card.json").stat().st_mtime_ns
    assert train() == card
    assert (tmp_path / "out" / "net-s0" / "card.json").stat().st_mtime_ns == before
    longer(first(world / "images" / "train"))
    with pytest.raises(InputError):
        train()
    again = train(overwrite=True)
    assert card.training is not None
    assert again.training is not None
    assert again.training["data_sha256"] != card.training["data_sha256"]
    shutil.rmtree(world / "images")
    assert train() == again


def test_a_fit_whose_images_changed_is_made_again(world: Path, tmp_path: Path, tiny_recipe: Any) -> None:
    recipe = tiny_recipe(data=f"folder:{world / 'images'}", epochs=1)
    es.train(recipe, out=tmp_path / "out", name="net", device="cpu", workers=0, threads=1)

    def evaluate(**more: Any) -> es.Record:
        return es.evaluate(
            str(tmp_path / "out" / "net-s0"),
            "wsol",
            data=f"cub:{world / 'images'}",
            fit={"preset": "custom", "epochs": 1, "batch_size": 16},
            out=tmp_path / "reports" / "one",
            device="cpu",
            workers=0,
            threads=1,
            **more,
        )

    record = evaluate()
    path = first(world / "images" / "train")
    shutil.copy(sorted((world / "images" / "val").rglob("*.jpg"))[-1], path)
    with pytest.raises(InputError, match="fit "):
        evaluate()
    again = evaluate(overwrite=True)
    assert again.backbone.fitted_sha256 != record.backbone.fitted_sha256
