"""The pictures beside the numbers: the same items for every backbone, with what each said."""

from pathlib import Path

import numpy as np

from eval_suite.data.images import open_images
from eval_suite.tasks.classify.examples import SHOWN, examples, write_pictures


def test_the_same_items_whatever_the_backbone_and_none_left_of_other_data(
    demo_world: Path, tmp_path: Path
) -> None:
    index = open_images(f"folder:{demo_world / 'images'}", "val")
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "of-other-data.png").touch()
    write_pictures(index, np.arange(len(index)), tmp_path)
    first = {path.name: path.read_bytes() for path in (tmp_path / "examples").iterdir()}
    write_pictures(index, np.arange(len(index)), tmp_path)
    assert {path.name: path.read_bytes() for path in (tmp_path / "examples").iterdir()} == first
    assert len(first) == SHOWN
    assert "of-other-data.png" not in first


def test_unreadable_items_are_not_shown(demo_world: Path, tmp_path: Path) -> None:
    index = open_images(f"folder:{demo_world / 'images'}", "val")
    write_pictures(index, np.array([4, 7]), tmp_path)
    assert len(list((tmp_path / "examples").iterdir())) == 2


def test_captions_say_what_was_predicted_and_what_is_right(demo_world: Path, tmp_path: Path) -> None:
    index = open_images(f"folder:{demo_world / 'images'}", "val")
    write_pictures(index, np.array([0, 29]), tmp_path / "classify")
    found = examples(
        tmp_path / "classify",
        index.ids,
        index.labels,
        np.zeros(len(index), int),
        np.full(len(index), 0.5),
        index.classes,
    )
    first, last = index.classes[0], index.classes[-1]
    assert [example.alt for example in found] == [index.ids[0], index.ids[29]]
    assert [example.caption for example in found] == [f"✓ {first} (50%)", f"✗ {first} (50%), not {last}"]
    assert all((tmp_path / example.image).is_file() for example in found)


def test_no_pictures_no_examples(tmp_path: Path) -> None:
    assert examples(tmp_path, ["a"], np.array([0]), np.array([0]), np.array([1.0]), ["x"]) == []
