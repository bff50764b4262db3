"""TinyImageNet in its published layout."""

from pathlib import Path

import pytest

from eval_suite.core.errors import InputError
from eval_suite.data.boxes import open_localisation
from eval_suite.data.images import open_images, splits_of
from tests.data.boxes_on_disk import tinyimagenet, write


@pytest.mark.parametrize("folder", ["", "tiny-imagenet-200"])
def test_the_published_layout(tmp_path: Path, folder: str) -> None:
    base = tinyimagenet(tmp_path / folder)
    spec = f"tinyimagenet:{tmp_path}"
    assert splits_of(spec) == ["train", "val"]
    truth = open_localisation(spec)
    images = truth.images
    assert images.classes == ["n01", "n02"]
    assert images.ids == [f"val/images/val_{i}.JPEG" for i in range(3)]
    assert images.labels.tolist() == [1, 0, 1]
    assert images.paths is not None
    assert list(images.paths) == [base / name for name in images.ids]
    assert (truth.sizes == 64).all()
    # The last box is a column of pixels, as the published file has some.
    assert [b.tolist() for b in truth.boxes] == [[[0, 32, 44, 62]], [[5, 5, 9, 9]], [[63, 0, 63, 9]]]
    train = open_localisation(spec, "train")
    assert train.images.ids[:2] == ["train/n01/images/n01_0.JPEG", "train/n01/images/n01_1.JPEG"]
    assert train.images.labels.tolist() == [0, 0, 1, 1]
    assert train.boxes[3].tolist() == [[0, 10, 63, 50]]


def test_the_validation_part_alone(tmp_path: Path) -> None:
    base = tinyimagenet(tmp_path)
    (base / "train").rename(tmp_path / "elsewhere")
    (base / "wnids.txt").unlink()
    index = open_images(f"tinyimagenet:{base}")
    assert (index.classes, splits_of(f"tinyimagenet:{base}")) == (["n01", "n02"], ["val"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("val_0.JPEG n99 0 0 5 5", "expected the classes of .*found 'n99'"),
        ("val_0.JPEG n01 0 0 5", "expected 'file wnid x0 y0 x1 y1' in line 1"),
        ("val_0.JPEG n01 0 0 5 five", "expected numbers in line 1"),
        ("../x.JPEG n01 0 0 5 5", "expected paths inside the data folder"),
        ("gone.JPEG n01 0 0 5 5", r"of which 1 are missing, first 'val/images/gone\.JPEG'"),
        ("", "expected images named in .*val_annotations.txt, found none"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    write(tinyimagenet(tmp_path) / "val" / "val_annotations.txt", line)
    with pytest.raises(InputError, match=message):
        open_localisation(f"tinyimagenet:{tmp_path}")


def test_an_image_that_stands_twice_is_refused(tmp_path: Path) -> None:
    line = "val_0.JPEG n01 0 0 5 5"
    write(tinyimagenet(tmp_path) / "val" / "val_annotations.txt", line, line)
    with pytest.raises(InputError, match="expected each image once"):
        open_images(f"tinyimagenet:{tmp_path}")
