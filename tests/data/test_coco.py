"""COCO captions in their published layouts, and files that are none."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from eval_suite.core.errors import InputError
from eval_suite.data.coco import caption_splits, open_captions, read_references, training_split


def write_coco(folder: Path, split: str, captions: dict[int, list[str]], **changes: Any) -> Path:
    content = {
        "images": [{"id": i, "file_name": f"{i:06d}.jpg"} for i in captions],
        "annotations": [
            {"image_id": i, "id": 10 * i + k, "caption": text}
            for i, texts in captions.items()
            for k, text in enumerate(texts)
        ],
        **changes,
    }
    path = folder / "annotations" / f"captions_{split}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


CAPTIONS = {7: ["a dog", "the dog"], 3: ["ein Bär <b>&"], 5: ["a cat"]}


@pytest.mark.parametrize("year", [2014, 2017])
@pytest.mark.parametrize("inside", ["", "images"])
def test_the_layouts_of_both_years(tmp_path: Path, year: int, inside: str) -> None:
    write_coco(tmp_path, f"train{year}", {1: ["one"]})
    write_coco(tmp_path, f"val{year}", CAPTIONS)
    (tmp_path / inside / f"val{year}").mkdir(parents=True)
    assert list(caption_splits(f"coco:{tmp_path}")) == [f"train{year}", f"val{year}"]
    found = open_captions(f"coco:{tmp_path}")
    assert (found.split, found.image_ids, found.captions) == (
        f"val{year}",
        [7, 3, 5],
        list(CAPTIONS.values()),
    )
    assert found.files[0] == f"val{year}/000007.jpg"
    index = found.images()
    assert index.paths is not None
    assert index.paths[0] == tmp_path / inside / f"val{year}/000007.jpg"
    assert index.ids == found.files
    assert training_split(found.split) == f"train{year}"
    assert open_captions(f"coco:{tmp_path}", f"train{year}").image_ids == [1]


def test_the_karpathy_splits(tmp_path: Path) -> None:
    parts = ["train", "restval", "val", "test", "test"]
    images = [
        {
            "filepath": "val2014" if part != "train" else "train2014",
            "filename": f"{i}.jpg",
            "cocoid": i,
            "split": part,
            "sentences": [{"raw": f"picture {i}.", "tokens": ["picture", str(i)]}],
        }
        for i, part in enumerate(parts)
    ]
    (tmp_path / "dataset_coco.json").write_text(json.dumps({"dataset": "coco", "images": images}))
    spec = f"coco:{tmp_path}"
    found = open_captions(spec)
    assert (found.split, found.files) == ("karpathy-test", ["val2014/3.jpg", "val2014/4.jpg"])
    assert found.captions == [["picture 3."], ["picture 4."]]
    train = open_captions(spec, training_split(found.split))
    assert train.files == ["train2014/0.jpg", "val2014/1.jpg"]
    assert open_captions(spec, "karpathy-val").image_ids == [2]


def test_the_demo_world(demo_world: Path) -> None:
    found = open_captions(f"coco:{demo_world / 'coco'}")
    assert found.split == "val2014"
    assert {len(texts) for texts in found.captions} == {5}
    index = found.images()
    assert index.paths is not None
    assert all(path.is_file() for path in index.paths)


def test_a_limit_spreads_over_the_split_and_changes_the_hash(tmp_path: Path) -> None:
    write_coco(tmp_path, "val2014", {i: [f"n {i}"] for i in range(10)})
    whole = open_captions(f"coco:{tmp_path}")
    part = whole.subset(4)
    assert part.image_ids == [0, 3, 6, 9]
    assert part.captions == [["n 0"], ["n 3"], ["n 6"], ["n 9"]]
    assert whole.subset(99) is whole
    assert whole.subset(None) is whole
    assert part.sha256() != whole.sha256()
    assert open_captions(f"coco:{tmp_path}").sha256() == whole.sha256()


def test_another_caption_or_another_image_file_is_other_data(tmp_path: Path) -> None:
    write_coco(tmp_path, "val2014", CAPTIONS)
    before = open_captions(f"coco:{tmp_path}").sha256()
    (tmp_path / "val2014").mkdir()
    (tmp_path / "val2014/000007.jpg").write_bytes(b"12")
    between = open_captions(f"coco:{tmp_path}").sha256()
    write_coco(tmp_path, "val2014", {**CAPTIONS, 5: ["a dog"]})
    assert len({before, between, open_captions(f"coco:{tmp_path}").sha256()}) == 3


def test_empty_captions_and_images_without_one_are_left_out_and_told(tmp_path: Path) -> None:
    path = write_coco(tmp_path, "val2014", {1: ["a dog", " \n"], 2: ["", "  "], 3: [], 4: ["a cat"]})
    found = open_captions(f"coco:{tmp_path}")
    assert (found.image_ids, found.captions) == ([1, 4], [["a dog"], ["a cat"]])
    assert found.notes == (
        f"3 empty captions in {path} were left out",
        f"2 images in {path} have no caption and were left out: 2, 3",
    )


def test_half_a_character_does_not_stop_anything(tmp_path: Path) -> None:
    write_coco(tmp_path, "val2014", {1: ["a \ud83d dog"]})
    assert open_captions(f"coco:{tmp_path}").captions == [["a ? dog"]]


@pytest.mark.parametrize("named", [{}, {"file_name": None}, {"file_name": ""}])
def test_references_need_no_image_names(tmp_path: Path, named: dict[str, Any]) -> None:
    path = write_coco(tmp_path, "val2014", CAPTIONS, images=[{"id": i, **named} for i in CAPTIONS])
    found = read_references(str(path))
    assert (found.image_ids, found.files) == ([7, 3, 5], ["", "", ""])
    assert found.name == "captions_val2014"
    with pytest.raises(
        InputError, match=r"expected a 'file_name' for every image in .* found none for 7, 3, 5"
    ):
        open_captions(f"coco:{tmp_path}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "expected JSON in"),
        ("[]", "expected a list of objects 'images' in .*, found list"),
        ('{"annotations": []}', r"expected a list of objects 'images' in .*, found \['annotations'\]"),
        ('{"images": []}', r"expected a list of objects 'annotations' in .*, found \['images'\]"),
        ('{"images": [1], "annotations": []}', "expected a list of objects 'images'"),
        ('{"images": [{"id": ""}], "annotations": []}', "expected a whole number or a text 'id' .*, found"),
        (
            '{"images": [{"id": true}], "annotations": []}',
            "expected a whole number or a text 'id' .*, found True",
        ),
        ('{"images": [{"id": 1}, {"id": 1}], "annotations": []}', "each image once in .*more than once: 1"),
        (
            '{"images": [{"id": 1}], "annotations": [{"image_id": 1}]}',
            "expected a text 'caption' for the annotation of image 1 in .*, found 'None'",
        ),
        (
            '{"images": [{"id": 1}], "annotations": [{"image_id": 1, "caption": ["a"]}]}',
            "expected a text 'caption'",
        ),
        (
            '{"images": [{"id": 1}], "annotations": [{"caption": "a"}]}',
            "a text 'image_id' .* found None",
        ),
        (
            '{"images": [{"id": 1}], "annotations": [{"image_id": 2, "caption": "a"}, {"image_id": 4, "caption": "b"}]}',
            "2 captions in .* are of images that it does not list: 2, 4",
        ),
        (
            '{"images": [{"id": 1, "file_name": "a"}], "annotations": []}',
            "expected images with captions in .*, found none",
        ),
    ],
)
def test_a_file_that_is_no_captions_file(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "annotations" / "captions_val2014.json"
    path.parent.mkdir()
    path.write_text(content)
    for read in (lambda: open_captions(f"coco:{tmp_path}"), lambda: read_references(str(path))):
        with pytest.raises(InputError, match=message):
            read()


@pytest.mark.parametrize("name", ["../../secret.png", "a/../../secret.png", "/etc/secret.png", ".."])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    path = write_coco(tmp_path / "coco", "val2014", {1: ["a dog"]}, images=[{"id": 1, "file_name": name}])
    message = f"expected paths inside the data folder in {path}, found '{name}'"
    for read in (lambda: open_captions(f"coco:{tmp_path / 'coco'}"), lambda: read_references(str(path))):
        with pytest.raises(InputError, match=re.escape(message)):
            read()


@pytest.mark.parametrize(
    ("folder", "file"),
    [("val2014", "../../secret.png"), ("..", "secret.png"), ("", "secret.png"), ("/etc", "secret.png")],
)
def test_karpathys_names_stay_inside_too(tmp_path: Path, folder: str, file: str) -> None:
    image = {"filepath": folder, "filename": file, "cocoid": 1, "split": "test", "sentences": [{"raw": "a"}]}
    (tmp_path / "dataset_coco.json").write_text(json.dumps({"images": [image]}))
    with pytest.raises(InputError, match=rf"expected paths inside .*, found '{folder}/{file}'"):
        open_captions(f"coco:{tmp_path}")


@pytest.mark.parametrize(
    ("spec", "split", "message"),
    [
        ("cifar10:x", None, "expected captions as coco:PATH, found 'cifar10:x'"),
        ("coco:", None, "expected captions as coco:PATH, found 'coco:'"),
        ("coco:nowhere", None, "expected a folder with annotations/ at nowhere, found none"),
        ("coco:empty", None, "expected annotations/captions_<split>.json.* found none of them"),
        ("coco:world", "val2017", "expected the split 'val2017' in coco:world, found: train2014"),
        (
            "coco:world",
            None,
            "expected one of the splits val2014, val2017, karpathy-test.* in coco:world",
        ),
    ],
)
def test_data_that_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, split: str | None, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    write_coco(tmp_path / "world", "train2014", CAPTIONS)
    with pytest.raises(InputError, match=message):
        open_captions(spec, split)


def test_a_truth_that_is_neither(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected coco:PATH or a captions file .* found 'nothing.json'"):
        read_references("nothing.json")


def test_own_split_names_and_text_ids(tmp_path: Path) -> None:
    for split in ("train", "val"):
        path = write_coco(tmp_path, split, {1: ["a dog"], 2: ["a cat"]})
        path.write_text(
            path.read_text().replace('"id": 1,', '"id": "a1",').replace('"image_id": 1,', '"image_id": "a1",')
        )
        path.rename(tmp_path / path.name)
    found = open_captions(f"coco:{tmp_path}")
    assert (found.split, found.image_ids, training_split("val")) == ("val", ["a1", 2], "train")
    assert open_captions(f"coco:{tmp_path / 'captions_train.json'}").split == "train"


@pytest.mark.parametrize("name", ["dataset_flickr8k.json", "dataset_flickr30k.json", "dataset_mine.json"])
@pytest.mark.parametrize("folder", ["", "Flicker8k_Dataset", "images"])
def test_karpathys_splits_of_flickr(tmp_path: Path, name: str, folder: str) -> None:
    parts = ["train", "val", "test"]
    images = [
        {"split": part, "imgid": i, "filename": f"{i}_x.jpg", "sentences": [{"raw": f"a {part}"}]}
        for i, part in enumerate(parts)
    ]
    (tmp_path / name).write_text(json.dumps({"images": images}))
    (tmp_path / folder).mkdir(exist_ok=True)
    for image in images:
        Image.new("RGB", (4, 4)).save(tmp_path / folder / str(image["filename"]))
    for spec in (f"coco:{tmp_path}", f"coco:{tmp_path / name}"):
        found = open_captions(spec)
        assert (found.split, found.image_ids, found.captions) == ("karpathy-test", [2], [["a test"]])
        assert found.root / found.files[0] == tmp_path / folder / "2_x.jpg"


def test_one_folder_for_the_images_of_all_splits(tmp_path: Path) -> None:
    write_coco(tmp_path, "val", CAPTIONS)
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "pictures/000007.jpg")
    found = open_captions(f"coco:{tmp_path}")
    assert (found.root, found.files[0]) == (tmp_path / "pictures", "000007.jpg")


def test_a_lone_training_split_is_not_evaluated_on(tmp_path: Path) -> None:
    write_coco(tmp_path, "mine", CAPTIONS)
    assert open_captions(f"coco:{tmp_path}").split == "mine"
    (tmp_path / "annotations/captions_mine.json").rename(tmp_path / "annotations/captions_my_train.json")
    with pytest.raises(InputError, match="expected one of the splits"):
        open_captions(f"coco:{tmp_path}")
