"""Specs, layouts, splits and the index."""

import os
import pickle
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from eval_suite.core.errors import AmbiguousError, InputError
from eval_suite.core.parts import parts
from eval_suite.data.decoding import open_item, to_rgb
from eval_suite.data.images import kept_open, open_images, parse_spec, splits_of

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
        "cifar10.1",
        "cifar100",
        "cifar100c",
        "cifar10c",
        "cub",
        "folder",
        "ilsvrc",
        "imagenet",
        "imagenet3dcc",
        "imagenetc",
        "imagenetcbar",
        "openood",
        "tinyimagenet",
        "wsoleval",
    }


@pytest.mark.parametrize("text", ["cifar10", "data/cifar10", "cifar10:", ""])
def test_a_spec_without_colon_or_path_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="KIND:PATH"):
        parse_spec(text)


def test_an_unknown_kind_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"unknown data kind 'cifr100'. Did you mean 'cifar100'"):
        parse_spec("cifr100:x")


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
        (("ILSVRC/Data/CLS-LOC/val",), ["n01440764", "n01443537"], "cub", "imagenet"),
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
    picture(tmp_path / "val" / "__MACOSX" / "a.png")
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
    with pytest.raises(InputError, match="two classes or more"):
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


def test_a_class_without_images_is_told_and_keeps_its_label(tmp_path: Path) -> None:
    class_folders(tmp_path, ("train",), ["a", "b", "c"])
    class_folders(tmp_path, ("val",), ["a", "c"])
    class_folders(tmp_path, ("test",), ["c"])
    for folder in ("", "test/a"):
        (tmp_path / folder).mkdir(exist_ok=True)
    val, test = open_images(f"folder:{tmp_path}", "val"), open_images(f"folder:{tmp_path}", "test")
    assert (val.classes, val.labels.tolist(), len(val.notes)) == (["a", "b", "c"], [0, 0, 2, 2], 1)
    assert (test.classes, test.labels.tolist(), len(test.notes)) == (["a", "b", "c"], [2, 2], 1)
    shutil.rmtree(tmp_path / "train" / "b")
    (tmp_path / "train" / "b").mkdir()
    with pytest.raises(InputError, match="found none in b"):
        open_images(f"folder:{tmp_path}", purpose="train")


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class_folders(tmp_path, ("val",), ["a", "b"])

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("eval_suite.data.layouts.base.os.scandir", refuse)
    with pytest.raises(InputError, match=r"cannot read .*: Permission denied; check its permissions"):
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
    with pytest.raises(InputError, match=r"next to it, found ILSVRC.* and no LOC"):
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


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("train", "valid"), ["train", "val"]),
        (("Train", "Val"), ["train", "val"]),
        (("training", "validation", "TEST"), ["train", "val", "test"]),
        (("testing",), ["test"]),
        (("train", "dev", "test"), ["train", "val", "test"]),
        (("train", "eval"), ["train", "val"]),
    ],
)
def test_splits_under_other_names(tmp_path: Path, folders: tuple[str, ...], splits: list[str]) -> None:
    class_folders(tmp_path, folders, ["a", "b"])
    spec = f"folder:{tmp_path}"
    assert splits_of(spec) == splits
    assert open_images(spec, folders[-1]).ids[0].startswith(f"{folders[-1]}/a/")
    if "train" in splits:
        assert open_images(spec, purpose="train").split == "train"


def test_two_folders_of_one_split(tmp_path: Path) -> None:
    """Which is meant only the user knows; that ImageNet's layout would take one of them is no way out."""
    class_folders(tmp_path, ("train", "val", "valid"), ["n01440764", "n01443537"])
    with pytest.raises(AmbiguousError) as refused:
        open_images(f"folder:{tmp_path}")
    assert (refused.value.where, refused.value.found) == (str(tmp_path), "'val' and 'valid'")
    assert refused.value.remedy.endswith(f"folder:{tmp_path / 'valid'}")
    assert len(open_images(f"folder:{tmp_path / 'valid'}")) == 4
    with pytest.raises(InputError, match=r"did you mean folder:.*\?$"):
        open_images(f"cub:{tmp_path}")


@pytest.mark.parametrize("folders", [("fold1", "fold2"), ("images/train", "labels/train")])
def test_what_looks_like_splits_is_no_class(tmp_path: Path, folders: tuple[str, ...]) -> None:
    for folder in folders:
        class_folders(tmp_path, (folder, folder.replace("train", "val")), ["a", "b"])
    with pytest.raises(InputError, match="each with the same folders"):
        open_images(f"folder:{tmp_path}")


@pytest.mark.parametrize("inner", ["mydata", "mydata/train", "val/mydata"])
def test_a_folder_around_the_data_is_no_class(tmp_path: Path, inner: str) -> None:
    class_folders(tmp_path, (inner,), ["a", "b"])
    with pytest.raises(InputError, match=r"mydata' alone; .* name .*mydata"):
        open_images(f"folder:{tmp_path}")


def test_folders_within_classes_are_read(tmp_path: Path) -> None:
    class_folders(tmp_path, ("val/a", "val/b"), ["site1", "site2"])
    assert open_images(f"folder:{tmp_path}").labels.tolist() == [0] * 4 + [1] * 4


@pytest.mark.parametrize(
    "suffix", ["tif", "tiff", "ppm", "pgm", "jfif", "webp", "avif", "gif", "JPE", "bmp", "jp2"]
)
def test_suffixes_that_pillow_reads(tmp_path: Path, suffix: str) -> None:
    form = {"jfif": "JPEG", "JPE": "JPEG", "pgm": "PPM"}.get(suffix)
    for name in ("a", "b"):
        (tmp_path / "val" / name).mkdir(parents=True)
        Image.new("L" if suffix == "pgm" else "RGB", (8, 6)).save(
            tmp_path / "val" / name / f"x.{suffix}", format=form
        )
    index = open_images(f"folder:{tmp_path}")
    assert (len(index), index.notes) == (2, ())
    assert to_rgb(open_item(index, 0)).size == (8, 6)


def test_other_files_are_counted_by_suffix(tmp_path: Path) -> None:
    class_folders(tmp_path, ("val",), ["a", "b"])
    for name in ("x.txt", "y.TXT", "z.npy", "none", ".hidden"):
        (tmp_path / "val" / "a" / name).write_text("")
    (note,) = open_images(f"folder:{tmp_path}").notes
    assert note.startswith("4 files")
    assert "2 .txt, 1 " in note


WNIDS = ["n01440764", "n01443537", "n01484850"]


def flat(root: Path, names: list[str]) -> str:
    for name in names:
        picture(root / "val" / name)
    return f"imagenet:{root}"


def test_a_flat_validation_with_wordnet_ids_in_its_names(tmp_path: Path) -> None:
    spec = flat(tmp_path, ["n01443537_7.JPEG", "ILSVRC2012_val_00000003_n01440764.JPEG", "n01443537_1.JPEG"])
    index = open_images(spec)
    assert (index.classes, index.labels.tolist()) == (WNIDS[:2], [0, 1, 1])


@pytest.mark.parametrize("folders", [False, True])
def test_a_flat_training_split_with_wordnet_ids_in_its_names(tmp_path: Path, folders: bool) -> None:
    for name in (f"{WNIDS[2]}_18.JPEG", f"{WNIDS[0]}_2.JPEG", f"{WNIDS[1]}_1.JPEG"):
        picture(tmp_path / "train" / name)
    for number, wnid in enumerate(WNIDS[1:]):
        picture(
            tmp_path / "val" / (f"{wnid}/1.JPEG" if folders else f"ILSVRC2012_val_{number:08d}_{wnid}.JPEG")
        )
    train, val = open_images(f"imagenet:{tmp_path}", purpose="train"), open_images(f"imagenet:{tmp_path}")
    assert train.classes == val.classes == WNIDS
    assert (train.labels.tolist(), val.labels.tolist()) == ([0, 1, 2], [1, 2])
    picture(tmp_path / "train" / "cat.JPEG")
    with pytest.raises(InputError, match=r"none in cat\.JPEG"):
        open_images(f"imagenet:{tmp_path}")


@pytest.mark.parametrize("train", [False, True])
def test_a_flat_validation_with_caffes_list(tmp_path: Path, train: bool) -> None:
    if train:
        class_folders(tmp_path, ("train",), WNIDS)
    spec = flat(tmp_path, ["ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00000002.JPEG"])
    (tmp_path / "val.txt").write_text("ILSVRC2012_val_00000001.JPEG 2\nILSVRC2012_val_00000002.JPEG 0\n")
    index = open_images(spec)
    assert [index.classes[label] for label in index.labels] == [WNIDS[2], WNIDS[0]]
    (tmp_path / "val.txt").write_text("ILSVRC2012_val_00000001.JPEG 1000\n")
    with pytest.raises(InputError, match="labels from 0 to"):
        open_images(spec)


def test_a_flat_validation_with_the_development_kit(tmp_path: Path) -> None:
    spec = flat(tmp_path, ["ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00000003.JPEG"])
    kit = tmp_path / "ILSVRC2012_devkit_t12" / "data"
    kit.mkdir(parents=True)
    (kit / "ILSVRC2012_validation_ground_truth.txt").write_text("1\n2\n3\n")
    with pytest.raises(InputError, match=r"meta\.mat"):
        open_images(spec)
    # The kit's own order is not that of the sorted WordNet ids.
    synsets = np.array(
        [(1, WNIDS[2]), (2, WNIDS[1]), (3, WNIDS[0])], [("ILSVRC2012_ID", "i4"), ("WNID", "O")]
    )
    savemat(kit / "meta.mat", {"synsets": synsets.reshape(-1, 1)})
    index = open_images(spec)
    assert [index.classes[label] for label in index.labels] == [WNIDS[2], WNIDS[0]]


@pytest.mark.parametrize("kind", ["imagenet", "ilsvrc"])
def test_kaggles_tree_from_its_root(tmp_path: Path, kind: str) -> None:
    images = tmp_path / "ILSVRC" / "Data" / "CLS-LOC"
    class_folders(images, ("train", "val"), WNIDS)
    index, below = open_images(f"{kind}:{tmp_path}"), open_images(f"{kind}:{images}")
    assert (index.ids, index.labels.tolist()) == (below.ids, below.labels.tolist())
    assert index.paths is not None
    assert all(path.is_file() for path in index.paths)


def test_a_split_kept_open_is_listed_once_and_only_inside(tmp_path: Path) -> None:
    class_folders(tmp_path, ("train", "val"), ["cat", "dog"], 1)
    spec = f"folder:{tmp_path}"
    with kept_open(spec, None) as index:
        assert open_images(spec) is open_images(spec, "val") is index
        assert open_images(spec, purpose="train").split == "train"
        picture(tmp_path / "val" / "cat" / "1.png")
        assert len(open_images(spec)) == 2
    assert len(open_images(spec)) == 3


def test_what_only_looks_like_an_image_costs_its_place_and_no_more(tmp_path: Path) -> None:
    """A link to itself, a pipe, a socket, a device, an empty file: each is listed, and cannot be read."""
    root = class_folders(tmp_path / "set", ("val",), ["cat", "dog"])
    odd = root / "val" / "cat"
    (odd / "loop.png").symlink_to("loop.png")
    (odd / "zero.png").symlink_to("/dev/zero")
    os.mkfifo(odd / "pipe.png")
    (odd / "empty.png").touch()
    with socket.socket(socket.AF_UNIX) as bound, pytest.MonkeyPatch.context() as patch:
        patch.chdir(odd)
        bound.bind("socket.png")
        index = open_images(f"folder:{root}")
    assert len(index) == 4 + 5
    for position, path in enumerate(index.paths or []):
        if path.stem.isdigit():
            to_rgb(open_item(index, position))
        else:
            with pytest.raises((OSError, ValueError)):
                open_item(index, position)
