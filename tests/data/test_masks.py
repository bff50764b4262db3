"""Devkits with masks, and what is wrong with them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval_suite.core.errors import InputError
from eval_suite.data.check import check_data
from eval_suite.data.masks import (
    IGNORED,
    VOC_CLASSES,
    default_mask_split,
    mask_splits,
    open_masks,
    palette,
    read_labels,
    read_mask,
)
from eval_suite.data.objects import DefectsError
from tests.data.masks_on_disk import NAMES, write_devkit, write_mask


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    return write_devkit(tmp_path / "VOCdevkit")


def test_a_split_holds_its_images_and_masks(devkit: Path) -> None:
    found = open_masks(f"voc:{devkit}", "val")
    assert (len(found), found.split, found.classes) == (4, "VOC2012/val", VOC_CLASSES)
    assert found.ids[0] == "VOC2012/val_0000"
    assert found.paths[0].is_file()
    labels = found.labels(0)
    assert labels.shape == (48, 64)
    assert set(np.unique(labels)) == {0, 1, 2, IGNORED}
    found.require_sound()


def test_every_way_to_name_the_folder_and_a_split(devkit: Path) -> None:
    for path in (devkit, devkit.parent, devkit / "VOC2012"):
        assert mask_splits(f"voc:{path}") == ["VOC2012/train", "VOC2012/val"]
        assert len(open_masks(f"voc:{path}", "train+VOC2012/val")) == 10
    assert default_mask_split(f"voc:{devkit}", "train") == "VOC2012/train"


def test_sbd_adds_masks_in_a_folder_of_its_own(devkit: Path) -> None:
    base = devkit / "VOC2012"
    (base / "JPEGImages/extra.jpg").write_bytes((base / "JPEGImages/val_0000.jpg").read_bytes())
    write_mask(base / "SegmentationClassAug/extra.png", np.zeros((48, 64)))
    (base / "ImageSets/Segmentation/aug.txt").write_text("extra\n")
    found = open_masks(f"voc:{devkit}", "train+aug")
    assert found.masks[-1].parent.name == "SegmentationClassAug"
    assert found.split == "VOC2012/train+VOC2012/aug"


def test_own_classes(devkit: Path) -> None:
    assert open_masks(f"voc:{devkit}", "val", class_file=devkit / "classes.txt").classes == NAMES


def test_the_hash_follows_files_and_names(devkit: Path) -> None:
    index = open_masks(f"voc:{devkit}", "val")
    before = index.sha256()
    assert before == open_masks(f"voc:{devkit}", "val").sha256() != index.subset(2).sha256()
    write_mask(index.masks[0], np.zeros((48, 64)))
    assert index.sha256() != before


def test_a_mask_of_another_size(devkit: Path) -> None:
    found = open_masks(f"voc:{devkit}", "val")
    write_mask(found.masks[1], np.zeros((48, 60)))
    with pytest.raises(DefectsError) as caught:
        found.require_sound()
    assert len(caught.value.defects) == 1
    with pytest.raises(InputError) as each:
        found.labels(1)
    assert (each.value.expected, each.value.found) == ("a mask of the image's size, 64 x 48", "60 x 48")


def test_unknown_labels(devkit: Path) -> None:
    found = open_masks(f"voc:{devkit}", "val")
    write_mask(found.masks[2], np.full((48, 64), 21))
    with pytest.raises(InputError) as caught:
        found.labels(2)
    assert (caught.value.expected, caught.value.found) == ("class numbers from 0 to 20, or 255", "21")
    assert caught.value.where == str(found.masks[2])


def test_the_check_lists_every_wrong_mask(devkit: Path) -> None:
    found = check_data(f"voc:{devkit}")
    assert found.ok
    assert [line.partition(":")[0] for line in found.lines if "masks of" in line] == [
        "VOC2012/train (masks)",
        "VOC2012/val (masks)",
    ]
    masks = open_masks(f"voc:{devkit}", "val").masks
    write_mask(masks[0], np.full((48, 64), 21))
    assert check_data(f"voc:{devkit}").ok  # own classes, it says
    write_mask(masks[1], np.zeros((48, 60)))
    masks[2].write_bytes(b"no image")
    broken = check_data(f"voc:{devkit}")
    assert not broken.ok
    assert sum(line.startswith("error: ") for line in broken.lines) == 2


def test_masks_of_colours_are_no_class_numbers(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "mask.png")
    with pytest.raises(InputError) as caught:
        read_labels(tmp_path / "mask.png", 21, None)
    assert caught.value.found == "mode RGB"


def test_vocs_colours_under_other_numbers(tmp_path: Path) -> None:
    colours = np.array(palette()).reshape(256, 3)
    labels = np.array([[15, 15, 15, 15], [0, 0, IGNORED, 7]], np.uint8)
    path = tmp_path / "mask.png"
    Image.fromarray(colours[labels].astype(np.uint8)).quantize(8).save(path)
    with Image.open(path) as image:
        assert np.asarray(image).tolist() != labels.tolist()
    found = read_mask(path, len(VOC_CLASSES), None)
    assert found.labels.tolist() == labels.tolist()
    assert found.assumed
    write_mask(path, labels)
    assert read_mask(path, len(VOC_CLASSES), None) == (pytest.approx(labels), "")


@pytest.mark.parametrize(
    ("own", "classes", "assumed"),
    [
        ([0, 0, 0, 0, 128, 0, 128, 0, 0], 3, True),  # of other classes any order may be meant
        ([0, 0, 0, 0, 128, 0, 9, 9, 9], 21, True),
        ([0, 0, 0, 9, 9, 9, 8, 8, 8], 21, False),
        ([0, 0, 0, 1, 1, 1, 2, 2, 2], 21, False),
    ],
)
def test_numbers_count_where_colours_are_not_clear(
    tmp_path: Path, own: list[int], classes: int, assumed: bool
) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    image.putpalette(own)
    image.save(tmp_path / "mask.png")
    found = read_mask(tmp_path / "mask.png", classes, None)
    assert (found.labels.tolist(), bool(found.assumed)) == ([[0, 1, 2]], assumed)


def test_a_broken_mask_and_one_that_is_missing(devkit: Path) -> None:
    found = open_masks(f"voc:{devkit}", "val")
    found.masks[0].write_bytes(b"no image")
    with pytest.raises(InputError, match="mask"):
        found.labels(0)
    found.masks[0].unlink()
    with pytest.raises(InputError) as caught:
        open_masks(f"voc:{devkit}", "val")
    assert caught.value.expected.startswith("a mask for 'val_0000'")


@pytest.mark.parametrize("split", ["test", "VOC2007/val"])
def test_splits_that_are_not_there(devkit: Path, split: str) -> None:
    with pytest.raises(InputError) as caught:
        open_masks(f"voc:{devkit}", split)
    assert caught.value.found == "VOC2012/train, VOC2012/val"


def test_an_image_named_twice_and_an_empty_list(devkit: Path) -> None:
    with pytest.raises(InputError, match="more than once"):
        open_masks(f"voc:{devkit}", "val+val")
    (devkit / "VOC2012/ImageSets/Segmentation/val.txt").write_text("\n")
    with pytest.raises(InputError, match="empty"):
        open_masks(f"voc:{devkit}", "val")
    with pytest.raises(InputError, match="ImageSets/Segmentation"):
        open_masks(f"voc:{devkit / 'VOC2012/JPEGImages'}", "val")


def test_the_colours_are_vocs() -> None:
    colours = np.array(palette()).reshape(256, 3)
    # Of the devkit's VOClabelcolormap: aeroplane, bicycle, chair, tvmonitor, and what does not count.
    assert colours[[1, 2, 9, 20, 255]].tolist() == [
        [128, 0, 0],
        [0, 128, 0],
        [192, 0, 0],
        [0, 64, 128],
        [224, 224, 192],
    ]
    assert len(np.unique(colours, axis=0)) == 256
