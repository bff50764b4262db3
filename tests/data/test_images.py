"""Specs, layouts, splits and the index."""

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval_suite.core.errors import InputError
from eval_suite.core.parts import parts
from eval_suite.data.images import open_images, parse_spec, splits_of

CLASSES10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def class_folders(root: Path, splits: tuple[str, ...], classes: list[str], each: int = 2) -> Path:
    for split in splits:
        for name in classes:
            for i in range(each):
                picture(root / split / name / f"{i:04d}.png", i)
    return root


def cifar10_pickles(root: Path, each: int = 4) -> Path:
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        pixels = random.integers(0, 256, (each, 3072), dtype=np.uint8)
        labels = [(number + i) % 10 for i in range(each)]
        (folder / name).write_bytes(pickle.dumps({b"data": pixels, b"labels": labels}, 2))
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": [c.encode() for c in CLASSES10]}, 2))
    return root


def test_parse_spec() -> None:
    assert parse_spec("cifar10:data/x") == ("cifar10", Path("data/x"))
    assert parse_spec("folder:/a:b").path == Path("/a:b")
    assert parse_spec("folder:~/x").path == Path.home() / "x"
    assert set(parts("data")) == {
        "cifar10",
        "cifar100",
        "cub",
        "folder",
        "ilsvrc",
        "imagenet",
        "tinyimagenet",
        "wsoleval",
    }


@pytest.mark.parametrize("text", ["cifar10", "data/cifar10", "cifar10:", ""])
def test_a_spec_without_colon_or_path_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="KIND:PATH"):
        parse_spec(text)


def test_an_unknown_kind_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"unknown data kind 'cifar01'. Did you mean 'cifar10'"):
        parse_spec("cifar01:x")


def test_importing_images_does_not_import_torch() -> None:
    code = "import sys, eval_suite.data.images; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("inner", ["", "cifar-10-batches-py"])
def test_cifar_pickles(tmp_path: Path, inner: str) -> None:
    spec = f"cifar10:{cifar10_pickles(tmp_path) / inner}"
    assert splits_of(spec) == ["train", "test"]
    train = open_images(spec, purpose="train")
    assert (train.name, train.split, len(train), train.paths) == ("cifar10", "train", 20, None)
    assert train.classes == CLASSES10
    assert train.ids[:5] == ["data_batch_1/00000", "data_batch_1/00001", "data_batch_1/00002", "data_batch_1/00003", "data_batch_2/00000"]  # fmt: skip
    assert train.labels[:5].tolist() == [0, 1, 2, 3, 1]
    assert train.pixels is not None
    assert train.pixels.shape == (20, 32, 32, 3)
    assert open_images(spec).ids[0] == "test_batch/00000"


def test_a_missing_batch_file_is_named(tmp_path: Path) -> None:
    (cifar10_pickles(tmp_path) / "cifar-10-batches-py/data_batch_3").unlink()
    with pytest.raises(InputError, match="data_batch_3"):
        open_images(f"cifar10:{tmp_path}", "train")
    assert len(open_images(f"cifar10:{tmp_path}")) == 4


def test_cifar_as_class_folders(tmp_path: Path) -> None:
    class_folders(tmp_path, ("train", "test"), CLASSES10)
    index = open_images(f"cifar10:{tmp_path}")
    assert (index.name, index.split, index.pixels) == ("cifar10", "test", None)
    assert index.ids[:3] == ["test/airplane/0000.png", "test/airplane/0001.png", "test/automobile/0000.png"]
    assert index.paths is not None
    assert index.paths[0] == tmp_path / "test/airplane/0000.png"
    assert index.labels.tolist() == sorted([*range(10)] * 2)
    with pytest.raises(
        InputError, match=r"expected 100 class folders in .*found 10; did you mean cifar10:.*\?$"
    ):
        open_images(f"cifar100:{tmp_path}")


@pytest.mark.parametrize(
    ("splits", "classes", "taken_for", "kind"),
    [
        (("train", "val"), CLASSES10, "cifar10", "folder"),
        (("train", "val"), ["cat", "dog"], "cifar10", "folder"),
        (("val",), ["cat", "dog"], "cub", "folder"),
        (("train", "test"), CLASSES10, "wsoleval", "cifar10"),
        (("train", "val"), ["cat"], "cub", None),
        (("odd",), ["cat"], "cifar100", None),
    ],
)
def test_a_folder_taken_for_another_kind_is_told_which_it_is(
    tmp_path: Path, splits: tuple[str, ...], classes: list[str], taken_for: str, kind: str | None
) -> None:
    class_folders(tmp_path, splits, classes)
    with pytest.raises(InputError) as found:
        open_images(f"{taken_for}:{tmp_path}")
    message = str(found.value)
    assert message.partition("; did you mean ")[2] == (f"{kind}:{tmp_path}?" if kind else "")


def test_a_split_by_a_wrong_name_is_no_reason_to_doubt_the_kind(tmp_path: Path) -> None:
    class_folders(tmp_path, ("train", "val"), CLASSES10)
    with pytest.raises(InputError, match=r"has no split 'tset'; it has: train, val$"):
        open_images(f"folder:{tmp_path}", "tset")


def test_a_packed_cifar_archive_is_told_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-python.tar.gz").touch()
    with pytest.raises(InputError, match="unpack it: tar -xzf"):
        open_images(f"cifar10:{tmp_path}")


def test_folder_with_every_suffix_and_depth(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpeg", "c.png", "d.bmp", "e.webp", "f.JPEG", "deep/er/g.PNG"):
        picture(tmp_path / "val" / "cat" / name)
    picture(tmp_path / "val" / "dog" / "a.png")
    picture(tmp_path / "val" / "cat" / ".hidden.png")
    picture(tmp_path / "val" / ".cache" / "a.png")
    (tmp_path / "val" / "cat" / "notes.txt").touch()
    (tmp_path / "val" / "cat" / ".git").mkdir()
    index = open_images(f"folder:{tmp_path}")
    assert index.ids == [
        *(
            f"val/cat/{name}"
            for name in ("a.jpg", "b.jpeg", "c.png", "d.bmp", "deep/er/g.PNG", "e.webp", "f.JPEG")
        ),
        "val/dog/a.png",
    ]
    assert index.classes == ["cat", "dog"]
    assert index.labels.tolist() == [0] * 7 + [1]
    assert index.name == tmp_path.name


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    picture(tmp_path / "elsewhere" / "x.png")
    picture(tmp_path / "set" / "cat" / "a.png")
    os.symlink(tmp_path / "elsewhere", tmp_path / "set" / "dog")
    os.symlink(tmp_path / "elsewhere" / "x.png", tmp_path / "set" / "cat" / "linked.png")
    os.symlink(tmp_path / "nowhere.png", tmp_path / "set" / "cat" / "broken.png")
    os.symlink(tmp_path / "set" / "cat", tmp_path / "set" / "cat" / "loop")
    index = open_images(f"folder:{tmp_path / 'set'}")
    assert index.ids == ["cat/a.png", "cat/broken.png", "cat/linked.png", "dog/x.png"]
    assert len(index.sha256()) == 64


def test_the_split_is_chosen_by_purpose(tmp_path: Path) -> None:
    spec = f"folder:{class_folders(tmp_path, ('train', 'val', 'test'), ['a', 'b'])}"
    assert splits_of(spec) == ["train", "val", "test"]
    assert open_images(spec).split == "val"
    assert open_images(spec, purpose="train").split == "train"
    assert open_images(spec, "test").split == "test"
    assert open_images(spec, "train").split == "train"


def test_an_absent_split_is_never_replaced(tmp_path: Path) -> None:
    spec = f"folder:{class_folders(tmp_path, ('train', 'test'), ['a', 'b'])}"
    assert open_images(spec).split == "test"
    with pytest.raises(InputError, match="no split 'val'; it has: train, test"):
        open_images(spec, "val")


def test_only_a_training_split_is_not_evaluated_silently(tmp_path: Path) -> None:
    spec = f"folder:{class_folders(tmp_path, ('train',), ['a', 'b'])}"
    with pytest.raises(InputError, match="no split to evaluate on, only: train"):
        open_images(spec)


def test_a_folder_without_splits_serves_evaluation_only(tmp_path: Path) -> None:
    for name in ("a", "b"):
        picture(tmp_path / name / "0.png")
    spec = f"folder:{tmp_path}"
    assert splits_of(spec) == ["all"]
    assert open_images(spec).ids == ["a/0.png", "b/0.png"]
    for split in (None, "all"):
        with pytest.raises(InputError, match="expected a split 'train'"):
            open_images(spec, split, purpose="train")


def test_training_needs_two_classes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least two classes"):
        open_images(f"folder:{class_folders(tmp_path, ('train',), ['a'])}", purpose="train")


def test_class_folders_that_differ_are_named(tmp_path: Path) -> None:
    class_folders(tmp_path, ("train",), ["cat", "dog"])
    class_folders(tmp_path, ("test",), ["cat", "zebra"])
    with pytest.raises(InputError, match=r"differ between .*train lacks zebra; test lacks dog"):
        open_images(f"folder:{tmp_path}")


@pytest.mark.parametrize("kind", sorted(parts("data")))
def test_missing_and_empty_folders(tmp_path: Path, kind: str) -> None:
    with pytest.raises(InputError, match="found no such folder"):
        open_images(f"{kind}:{tmp_path / 'absent'}")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="found a file"):
        open_images(f"{kind}:{tmp_path / 'file'}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="found an empty folder"):
        open_images(f"{kind}:{tmp_path / 'empty'}")


def test_a_class_without_images_is_named(tmp_path: Path) -> None:
    class_folders(tmp_path, ("test",), ["a", "b"])
    (tmp_path / "test" / "c").mkdir()
    with pytest.raises(InputError, match="found none in c"):
        open_images(f"folder:{tmp_path}")


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class_folders(tmp_path, ("val",), ["a", "b"])

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("eval_suite.data.layouts.base.os.scandir", refuse)
    with pytest.raises(InputError, match=r"cannot read .*val: Permission denied; check its permissions"):
        open_images(f"folder:{tmp_path}")


def test_imagenet_folders(tmp_path: Path) -> None:
    spec = f"imagenet:{class_folders(tmp_path, ('train', 'val'), ['n02', 'n01'])}"
    assert open_images(spec).ids[0] == "val/n01/0000.png"
    assert open_images(spec, purpose="train").classes == ["n01", "n02"]


@pytest.mark.parametrize(
    "place", ["LOC_val_solution.csv", "val/LOC_val_solution.csv", "../LOC_val_solution.csv"]
)
def test_imagenet_flat_validation(tmp_path: Path, place: str) -> None:
    root = class_folders(tmp_path / "set", ("train",), ["n01", "n02", "n03"])
    picture(root / "val" / "ILSVRC2012_val_00000001.JPEG")
    picture(root / "val" / "ILSVRC2012_val_00000002.JPEG")
    spec = f"imagenet:{root}"
    with pytest.raises(InputError, match=r"LOC_val_solution.csv next to it, found ILSVRC.* and no LOC"):
        open_images(spec)
    header = "ImageId,PredictionString\n"
    row = "ILSVRC2012_val_00000001,n03 1 2 3 4 n03 5 6 7 8\n"
    (root / place).write_text(header + row)
    with pytest.raises(InputError, match=r"found none for ILSVRC2012_val_00000002.JPEG"):
        open_images(spec)
    (root / place).write_text(header + row + "ILSVRC2012_val_00000002,n02 1 2 3 4\n")
    index = open_images(spec)
    assert index.labels.tolist() == [2, 1]
    assert index.classes == ["n01", "n02", "n03"]
    assert index.ids[0] == "val/ILSVRC2012_val_00000001.JPEG"
    (root / place).write_text(header + row + "ILSVRC2012_val_00000002,n99 1 2 3 4\n")
    with pytest.raises(InputError, match="found also n99"):
        open_images(spec)


def test_subset_is_spread_evenly(tmp_path: Path) -> None:
    index = open_images(f"folder:{class_folders(tmp_path, ('val',), ['a', 'b', 'c'], each=4)}")
    part = index.subset(4)
    assert [index.ids.index(name) for name in part.ids] == [0, 4, 7, 11]
    assert part.labels.tolist() == [0, 1, 1, 2]
    assert part.paths == [part.root / name for name in part.ids]
    assert index.subset(None) is index
    assert index.subset(99) is index
    assert len(index.subset(1)) == 1
    with pytest.raises(ValueError, match="at least 1"):
        index.subset(0)


def test_subset_of_pixels(tmp_path: Path) -> None:
    index = open_images(f"cifar10:{cifar10_pickles(tmp_path)}", "train")
    part = index.subset(2)
    assert part.ids == ["data_batch_1/00000", "data_batch_5/00003"]
    assert part.pixels is not None
    assert index.pixels is not None
    assert np.array_equal(part.pixels, index.pixels[[0, 19]])


def test_the_hash_follows_the_content(tmp_path: Path) -> None:
    spec = f"folder:{class_folders(tmp_path, ('val',), ['a', 'b'])}"
    index = open_images(spec)
    first = index.sha256()
    assert open_images(spec).sha256() == first
    assert index.subset(2).sha256() != first
    assert replace(index, labels=index.labels[::-1]).sha256() != first
    assert replace(index, classes=["a", "c"]).sha256() != first
    picture(tmp_path / "val" / "a" / "0000.png", size=(9, 9))
    assert open_images(spec).sha256() != first
    pickled = open_images(f"cifar10:{cifar10_pickles(tmp_path / 'pickles')}")
    before = pickled.sha256()
    assert pickled.pixels is not None
    pickled.pixels[0, 0, 0, 0] ^= 1
    assert pickled.sha256() != before


def test_ids_are_unique_and_sorted(tmp_path: Path) -> None:
    index = open_images(f"folder:{class_folders(tmp_path, ('val',), ['b', 'a'], each=3)}")
    assert index.ids == sorted(set(index.ids))
