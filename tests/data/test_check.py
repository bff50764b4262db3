"""What `data check` tells about a set."""

import json
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval_suite.core.errors import InputError
from eval_suite.core.parts import parts
from eval_suite.data import outliers
from eval_suite.data.check import check_data
from eval_suite.data.kinds import ANNOTATED
from tests.data.boxes_on_disk import cub, write, wsoleval


def picture(path: Path, seed: int, size: tuple[int, int] = (8, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, (split, name) in enumerate([(s, c) for s in ("train", "test") for c in ("cat", "dog")]):
        for i in range(3):
            picture(tmp_path / split / name / f"{i}.png", 10 * number + i)
    return tmp_path


def test_a_sound_set(folder: Path) -> None:
    report = check_data(f"folder:{folder}")
    assert report.ok
    assert report.lines == [
        "train: 6 images in 2 classes, 3 a class",
        "  classes: cat, dog",
        "  sizes: 8 x 6 (6)",
        "test: 6 images in 2 classes, 3 a class",
        "  classes: cat, dog",
        "  sizes: 8 x 6 (6)",
    ]


def test_counts_and_sizes_that_differ(folder: Path) -> None:
    for i in range(4):
        picture(folder / "test" / "dog" / f"more{i}.png", 100 + i, (20 + i, 30 - i))
    lines = check_data(f"folder:{folder}", workers=0).lines
    assert "test: 10 images in 2 classes, 3 (cat) to 7 (dog) a class" in lines
    assert "  sizes: 5 different, 8 to 23 wide, 6 to 30 high" in lines


def test_unreadable_items_are_named(folder: Path) -> None:
    (folder / "train" / "cat" / "1.png").write_bytes(b"")
    whole = (folder / "test" / "dog" / "2.png").read_bytes()
    (folder / "test" / "dog" / "2.png").write_bytes(whole[: len(whole) // 2])
    report = check_data(f"folder:{folder}")
    assert not report.ok
    assert "  error: 1 cannot be read: train/cat/1.png (empty file)" in report.lines
    assert any(line.startswith("  error: 1 cannot be read: test/dog/2.png (") for line in report.lines)


def test_images_in_both_splits_are_found_by_content(folder: Path) -> None:
    shutil.copy(folder / "train" / "cat" / "0.png", folder / "test" / "dog" / "other-name.png")
    with Image.open(folder / "train" / "dog" / "2.png") as image:
        image.save(folder / "test" / "dog" / "same-pixels.bmp")
    report = check_data(f"folder:{folder}")
    assert report.ok
    assert report.lines[-1] == (
        "warning: 2 different images of test are also in train: "
        "test/dog/other-name.png = train/cat/0.png, test/dog/same-pixels.bmp = train/dog/2.png"
    )


def test_class_folders_that_differ(folder: Path) -> None:
    shutil.move(folder / "test" / "dog", folder / "test" / "wolf")
    with pytest.raises(InputError, match="train lacks wolf; test lacks dog"):
        check_data(f"folder:{folder}")


def test_a_broken_split_does_not_hide_the_other(tmp_path: Path) -> None:
    names = [f"{i}".encode() for i in range(10)]
    (tmp_path / "batches.meta").write_bytes(pickle.dumps({b"label_names": names}, 2))
    pixels = np.random.default_rng(0).integers(0, 256, (20, 3072), dtype=np.uint8)
    (tmp_path / "test_batch").write_bytes(
        pickle.dumps({b"data": pixels, b"labels": [i // 2 for i in range(20)]}, 2)
    )
    (tmp_path / "data_batch_1").write_bytes(b"no pickle")
    report = check_data(f"cifar10:{tmp_path}")
    assert not report.ok
    assert report.lines[0].startswith("error: expected a CIFAR batch in")
    assert "test: 20 images in 10 classes, 2 a class" in report.lines


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("folder:{}", "expected a folder with images at {}, found no such folder"),
        (
            "voc:{}",
            "images with an XML file each in {}, found no such folder",
        ),
        ("coco:{}", "expected a folder with annotations/ at {}, found none"),
        ("svhn:{}", "expected a folder with outliers at {}, found no such folder"),
        ("mine=folder:{}", "expected a folder with outliers at {}, found no such folder"),
        ("mine=fodler:{}", "unknown kind of outliers 'fodler'. Did you mean 'folder'?"),
        ("noise=uniform", "expected outliers with a path, found 'noise=uniform'"),
        ("fodler:{}", "unknown data kind 'fodler'. Did you mean 'folder'?"),
        ("absent", "expected data as KIND:PATH with KIND one of cifar10, cifar10.1, cifar100, "),
    ],
)
def test_a_missing_folder_and_a_wrong_kind_are_errors(tmp_path: Path, spec: str, expected: str) -> None:
    absent = str(tmp_path / "absent")
    with pytest.raises(InputError, match=re.escape(expected.format(absent))):
        check_data(spec.format(absent))


def test_every_kind_that_a_task_reads_has_a_check() -> None:
    for kind in {*parts("data"), *ANNOTATED, *outliers.KINDS}:
        with pytest.raises(InputError, match="absent"):
            check_data(f"{kind}:absent")


def test_captions_are_counted_and_their_images_decoded(demo_world: Path, tmp_path: Path) -> None:
    copy = tmp_path / "coco"
    shutil.copytree(demo_world / "coco", copy)
    report = check_data(f"coco:{copy}")
    assert report == (
        [
            "train2014: 8 images, 40 captions, 5 to 5 an image",
            "  sizes: 128 x 96 (8)",
            "val2014: 4 images, 20 captions, 5 to 5 an image",
            "  sizes: 128 x 96 (4)",
        ],
        True,
    )
    missing, broken = sorted((copy / "val2014").iterdir())[:2]
    missing.unlink()
    broken.write_bytes(b"no image")
    file = copy / "annotations/captions_train2014.json"
    content = json.loads(file.read_text())
    last = content["images"][-1]["id"]
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] != last]
    file.write_text(json.dumps(content))
    report = check_data(f"coco:{copy}")
    assert not report.ok
    assert report.lines[0] == "train2014: 7 images, 35 captions, 5 to 5 an image"
    assert report.lines[1].startswith("  note: 1 images in ")
    assert report.lines[-1].startswith(f"  error: 2 cannot be read: val2014/{missing.name} (")
    assert f"val2014/{broken.name} (not an image)" in report.lines[-1]
    file.write_text("{}")
    report = check_data(f"coco:{copy}")
    assert not report.ok
    assert report.lines[0].startswith("error: expected a list of objects 'images'")
    assert report.lines[1].startswith("val2014: 4 images")


def test_outliers_are_decoded(tmp_path: Path) -> None:
    for i in range(3):
        picture(tmp_path / "dtd" / "images" / "dotted" / f"{i}.png", i)
    assert check_data(f"textures:{tmp_path}") == (
        ["all: 3 images of outliers 'textures'", "  sizes: 8 x 6 (3)"],
        True,
    )
    (tmp_path / "dtd" / "images" / "dotted" / "1.png").write_bytes(b"")
    report = check_data(f"mine=folder:{tmp_path}")
    assert not report.ok
    assert report.lines[0] == "all: 3 images of outliers 'mine'"
    assert report.lines[-1] == "  error: 1 cannot be read: dtd/images/dotted/1.png (empty file)"


def test_boxes_are_looked_at_too(tmp_path: Path) -> None:
    report = check_data(f"cub:{cub(tmp_path)}")
    assert report.ok
    assert report.lines[-1] == "  boxes: 2, 1 to 1 an image"
    write(tmp_path / "bounding_boxes.txt", "2 -5 0 20 20", "4 0 0 5 5")
    report = check_data(f"cub:{tmp_path}")
    assert report.ok
    assert any(line.startswith("  warning: 1 boxes of ") for line in report.lines)
    write(tmp_path / "bounding_boxes.txt", "2 0 0 5 5")
    report = check_data(f"cub:{tmp_path}")
    assert not report.ok
    assert report.lines[-1].startswith("  error: expected a box for every image of 'test'")


def test_masks_are_counted(tmp_path: Path) -> None:
    wsoleval(tmp_path, tmp_path / "images")
    names = ["001.Crow/a.jpg", "002.Wren/b.jpg", "002.Wren/c.jpg"]
    picture(tmp_path / "images" / "m.png", 0)
    write(tmp_path / "test" / "localization.txt", *(f"{name},m.png," for name in (*names, names[0])))
    report = check_data(f"wsoleval:{tmp_path}")
    assert (report.ok, report.lines[-1]) == (True, "  masks: 4")


def test_a_devkit_with_a_broken_image_and_one_with_a_wrong_box(demo_world: Path, tmp_path: Path) -> None:
    copy = tmp_path / "VOCdevkit"
    shutil.copytree(demo_world / "VOCdevkit", copy)
    report = check_data(f"voc:{copy}")
    assert report.ok
    assert report.lines[0].startswith("VOC2007/trainval: 12 images, ")
    (copy / "VOC2007/JPEGImages/000013.jpg").write_bytes(b"no image")
    annotation = copy / "VOC2012/Annotations/2012_000001.xml"
    annotation.write_text(annotation.read_text().replace("<xmin>", "<xmin>9", 1))
    report = check_data(f"voc:{copy}")
    assert not report.ok
    assert "  error: 1 cannot be read: VOC2007/000013 (not an image)" in report.lines
    assert any(line.startswith("error: expected a box within") for line in report.lines)
