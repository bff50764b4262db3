"""Pictures beside the numbers."""

from pathlib import Path

import pytest
from PIL import Image

from eval_suite.data.pictures import never_failing, picture_name, save_pictures, spread_evenly


@pytest.mark.parametrize(
    ("n", "count", "expected"),
    [(10, 3, [0, 4, 9]), (2, 8, [0, 1]), (1, 8, [0]), (0, 8, []), (9, 9, list(range(9)))],
)
def test_places_are_spread_from_first_to_last(n: int, count: int, expected: list[int]) -> None:
    assert spread_evenly(n, count).tolist() == expected


def test_large_pictures_shrink_and_old_ones_go(tmp_path: Path) -> None:
    (tmp_path / "old.png").touch()
    name = picture_name("val/a b/1.jpg")
    save_pictures(tmp_path, {name: Image.new("RGB", (400, 200)), "small.png": Image.new("L", (8, 8))})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.png", name]
    with Image.open(tmp_path / name) as large, Image.open(tmp_path / "small.png") as small:
        assert (large.size, small.size) == ((160, 80), (8, 8))


def test_a_long_name_is_cut_and_stays_apart_from_its_like(tmp_path: Path) -> None:
    names = [picture_name("a" * 244 + end) for end in ("1.png", "2.png")]
    assert len(set(names)) == 2
    save_pictures(tmp_path, {name: Image.new("L", (4, 4)) for name in names})
    assert len(list(tmp_path.iterdir())) == 2


def test_what_goes_wrong_with_pictures_is_said_and_ends_there(caplog: pytest.LogCaptureFixture) -> None:
    with never_failing("wsol"):
        raise ValueError("x1 must be greater than or equal to x0")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "wsol" in caplog.text
    with pytest.raises(KeyboardInterrupt), never_failing("wsol"):
        raise KeyboardInterrupt


def test_names_of_pictures_differ_wherever_items_do() -> None:
    assert picture_name("test/cat/0001.png") == "test-cat-0001.png.png"
    items = ["val/犬/1.png", "val/猫/1.png", "val/a b/1.png", "val/a-b/1.png", "x" * 240, "x" * 241]
    assert len({picture_name(item) for item in items}) == len(items)
