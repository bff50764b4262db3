"""Captions of other tools in their dialects."""

import json
from pathlib import Path
from typing import Any

import pytest

from eval_suite.core.errors import InputError
from eval_suite.data.coco import CaptionSet
from eval_suite.tasks.caption.predictions import read_captions, write_captions

REFERENCES = CaptionSet("x", "coco:x", "val", Path(), [1, 2], ["val/a.jpg", "val/b.jpg"], [["a"], ["b"]])
TEXTS = CaptionSet("x", "coco:x", "val", Path(), ["k1", "k2"], ["", ""], [["a"], ["b"]])


def read(tmp_path: Path, content: Any, references: CaptionSet = REFERENCES) -> dict[int | str, str]:
    path = tmp_path / "results.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_captions(path, references)


def listed(one: Any, other: Any) -> list[dict[str, Any]]:
    return [{"image_id": one, "caption": "a cat"}, {"image_id": other, "caption": "a dog"}]


@pytest.mark.parametrize(
    "content",
    [
        listed(1, 2),
        listed("1", "2"),
        listed(1.0, 2.0),
        listed("a", "val/b.jpg"),
        {"val_predictions": listed(1, 2)},
        {"opt": {"beam": 2}, "losses": [0.5], "predictions": listed(1, 2), "coco": []},
        {"1": "a cat", "2": "a dog"},
        {"1": ["a cat"], "b.jpg": ["a dog"]},
        [{"image_id": 1, "caption": ["a cat"]}, listed(1, 2)[1]],
        "\n".join(json.dumps(entry) for entry in listed(1, 2)),
        "\ufeff" + json.dumps(listed(1, 2)),
    ],
)
def test_dialects(tmp_path: Path, content: Any) -> None:
    assert read(tmp_path, content) == {1: "a cat", 2: "a dog"}


def test_ids_that_are_texts(tmp_path: Path) -> None:
    assert read(tmp_path, listed("k2", "k1"), TEXTS) == {"k2": "a cat", "k1": "a dog"}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_captions(tmp_path / "a.json", {2: "b", 1: "ä"})
    assert list(read_captions(tmp_path / "a.json", REFERENCES).items()) == [(2, "b"), (1, "ä")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"image_id": 1, "caption": None}], "found at 0"),
        ([{"image_id": 1, "caption": ["a", "b"]}], "found at 0"),
        ([{"image_id": True, "caption": "a"}], "found at 0"),
        ([{"id": 1, "caption": "a"}], "found at 0"),
        ([], "found no caption"),
        ({}, "one list of objects with 'image_id'"),
        ({"a": listed(1, 2), "b": listed(1, 2)}, "found 2 of them: a, b"),
        (listed(1, "1"), "found two for image 1"),
        (listed(1, 99), r"1 ids of .*first: '99'"),
        ('[{"image_id": 1, "caption": "a', "expected JSON"),
        ("3", "expected COCO's results"),
    ],
)
def test_what_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, content)
