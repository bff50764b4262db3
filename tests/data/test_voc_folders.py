"""Where annotation tools put things, and how people write their lists."""

from pathlib import Path

import pytest
from PIL import Image

from eval_suite.core.errors import InputError
from eval_suite.data.objects import DefectsError
from eval_suite.data.voc import default_split, open_voc, voc_splits
from tests.data.voc_on_disk import annotation, write_devkit

MAIN = "VOC2007/ImageSets/Main"


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    return write_devkit(tmp_path / "kit")


def item(
    folder: Path, stem: str, *, suffix: str = ".jpg", names: tuple[str, ...] = ("dog",), images: str = ""
) -> None:
    """An image with an annotation in a folder."""
    (folder / images).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30)).save(
        folder / images / f"{stem}{suffix}", format="PNG" if suffix == ".PNG" else None
    )
    one = annotation(file=f"{stem}.jpg")
    start, end = one.index("<object>"), one.index("</annotation>")
    objects = "".join(one[start:end].replace("dog", name) for name in names)
    (folder / f"{stem}.xml").write_text(one[:start] + objects + one[end:])


@pytest.mark.parametrize(
    "line",
    [
        "000001.jpg",
        "000001.xml",
        "  000001  ",
        "000001 -1",
        "000001  1",
        "000001\t-1",
        "000001\r",
        "\ufeff000001",
        "VOC2007/JPEGImages/000001.jpg",
        "/home/someone/VOC2007/JPEGImages/000001.jpg",
        "JPEGImages\\000001.jpg",
        "JPEGImages/000001.jpg Annotations/000001.xml",
    ],
)
def test_lines_of_a_list(devkit: Path, line: str) -> None:
    (devkit / MAIN / "test.txt").write_text(f"{line}\n")
    assert open_voc(f"voc:{devkit}").ids == ["VOC2007/000001"]


@pytest.mark.parametrize("stem", ["IMG (1)", "a 1", "x.rf.0a1b", "photo.jpg", "Ünï"])
@pytest.mark.parametrize("label", ["", " -1"])
def test_names_with_spaces_and_dots(devkit: Path, stem: str, label: str) -> None:
    year = devkit / "VOC2007"
    (year / "JPEGImages/000001.jpg").rename(year / f"JPEGImages/{stem}.jpg")
    (year / "Annotations/000001.xml").rename(year / f"Annotations/{stem}.xml")
    (devkit / MAIN / "test.txt").write_text(f"{stem}{label}\n")
    index = open_voc(f"voc:{devkit}")
    assert (index.ids, index.paths[0].name) == ([f"VOC2007/{stem}"], f"{stem}.jpg")


@pytest.mark.parametrize("suffix", [".png", ".JPG", ".jpeg", ".tif", ".bmp"])
def test_images_of_any_suffix(devkit: Path, suffix: str) -> None:
    folder = devkit / "VOC2007/JPEGImages"
    (folder / "000001.jpg").rename(folder / f"000001{suffix}")
    assert open_voc(f"voc:{devkit}").paths == [folder / f"000001{suffix}"]


def test_the_lines_image_is_taken_where_the_annotation_names_another(devkit: Path) -> None:
    folder = devkit / "VOC2007/JPEGImages"
    Image.new("RGB", (40, 30), "red").save(folder / "000002.jpg")
    (devkit / "VOC2007/Annotations/000001.xml").write_text(annotation(file="000002.jpg"))
    index = open_voc(f"voc:{devkit}")
    assert index.paths == [folder / "000001.jpg"]
    assert len(index.notes) == 1


def test_two_images_of_one_name(devkit: Path) -> None:
    Image.new("RGB", (40, 30)).save(devkit / "VOC2007/JPEGImages/000001.png")
    with pytest.raises(DefectsError, match=r"found 000001\.jpg, 000001\.png"):
        open_voc(f"voc:{devkit}")


def test_the_message_counts_the_other_defects(devkit: Path) -> None:
    year = devkit / "VOC2007"
    for stem in ("000002", "000003"):
        (year / f"Annotations/{stem}.xml").write_text(annotation())
    (devkit / MAIN / "test.txt").write_text("000001\n000002\n000003\n000004\n")
    with pytest.raises(DefectsError, match="2 more") as caught:
        open_voc(f"voc:{devkit}")
    assert len(caught.value.defects) == 3


@pytest.mark.parametrize("place", ["kit", "kit/VOC2007"])
def test_a_year_itself_holds_the_same_images(devkit: Path, place: str) -> None:
    index = open_voc(f"voc:{devkit.parent / place}")
    assert (index.ids, index.split) == (["VOC2007/000001"], "VOC2007/test")


def test_folders_of_other_names_and_lists_of_other_names(devkit: Path) -> None:
    (devkit / "VOC2007").rename(devkit / "bolts")
    main = devkit / "bolts/ImageSets/Main"
    (main / "fold1_train.txt").write_text("000001\n")
    (main / "dog_test.txt").write_text("000001  1\n")
    assert voc_splits(f"voc:{devkit}") == ["bolts/test", "bolts/fold1_train"]
    assert open_voc(f"voc:{devkit}").classes == ["dog"]
    assert open_voc(f"voc:{devkit}", "bolts/fold1_train").ids == ["bolts/000001"]


def test_one_list_of_any_name_is_evaluated_on(devkit: Path) -> None:
    (devkit / MAIN / "test.txt").rename(devkit / MAIN / "default.txt")
    assert default_split(f"voc:{devkit}", "evaluate") == "VOC2007/default"
    with pytest.raises(InputError, match="--train-split"):
        default_split(f"voc:{devkit}", "train")


def test_images_next_to_their_annotations_by_split(tmp_path: Path) -> None:
    item(tmp_path / "train", "a", names=("nut", "Bolt"))
    item(tmp_path / "valid", "a", suffix=".png", names=())
    spec = f"voc:{tmp_path}"
    train, valid = open_voc(spec, purpose="train"), open_voc(spec)
    assert (train.split, train.ids, valid.split, valid.ids) == ("train", ["train/a"], "valid", ["valid/a"])
    assert train.classes == valid.classes == ["Bolt", "nut"]
    assert train.labels.tolist() == [1, 0]
    assert len(train.notes) == 1


@pytest.mark.parametrize("images", ["", "../images", "../JPEGImages"])
def test_a_folder_without_lists(tmp_path: Path, images: str) -> None:
    item(tmp_path / "annotations", "a", images=images)
    index = open_voc(f"voc:{tmp_path}" if images else f"voc:{tmp_path / 'annotations'}")
    assert (index.split, index.ids, index.classes[index.labels[0]]) == ("all", ["a"], "dog")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("classes.txt", "nut\n\nBolt\n"),
        ("labelmap.txt", "# label:color_rgb:parts:actions\nbackground:0,0,0::\nnut:1,2,3::\nBolt:4,5,6::\n"),
    ],
)
def test_classes_that_a_file_lists_keep_its_order(tmp_path: Path, file: str, text: str) -> None:
    item(tmp_path, "a", names=("Bolt",))
    (tmp_path / file).write_text(text)
    index = open_voc(f"voc:{tmp_path}")
    assert (index.classes, index.labels.tolist(), index.notes) == (["nut", "Bolt"], [1], ())
    item(tmp_path, "b", names=("bolt",))
    with pytest.raises(DefectsError, match="Did you mean 'Bolt'"):
        open_voc(f"voc:{tmp_path}")
