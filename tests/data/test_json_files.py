"""JSON files by other people: each fault in one line."""

from pathlib import Path
from typing import Any

import pytest

from eval_suite.core.errors import InputError
from eval_suite.data.json_files import list_of_objects, read_json, text_of, whole_number

FILE = Path("a.json")


def test_what_is_there_is_returned(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"items": [{"id": 3, "name": "Bär"}]}', "utf-8")
    content = read_json(tmp_path / "a.json")
    (item,) = list_of_objects(content, "items", FILE)
    assert whole_number(item, "id", "items", FILE) == 3
    assert text_of(item, "name", "item 3", FILE) == "Bär"


@pytest.mark.parametrize("bytes_", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000])
def test_a_file_that_is_no_json(tmp_path: Path, bytes_: bytes) -> None:
    (tmp_path / "a.json").write_bytes(bytes_)
    with pytest.raises(InputError, match=r"expected JSON in .*a\.json, found: "):
        read_json(tmp_path / "a.json")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*: Is a directory"):
        read_json(tmp_path)


@pytest.mark.parametrize("content", [None, 3, [], {}, {"items": {}}, {"items": [1]}, {"items": None}])
def test_no_list_of_objects(content: Any) -> None:
    with pytest.raises(InputError, match=r"expected a list of objects 'items' in a\.json, found "):
        list_of_objects(content, "items", FILE)


@pytest.mark.parametrize("value", [None, "3", 3.0, True])
def test_no_whole_number(value: Any) -> None:
    with pytest.raises(InputError, match="expected a whole number 'id' in every entry of 'items'"):
        whole_number({"id": value}, "id", "items", FILE)


@pytest.mark.parametrize("value", [None, 3, ["a"]])
def test_no_text(value: Any) -> None:
    with pytest.raises(InputError, match="expected a text 'name' for item 3"):
        text_of({"name": value}, "name", "item 3", FILE)
