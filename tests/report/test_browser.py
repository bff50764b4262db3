"""The page in a browser: nothing overflows, nothing is too faint, nothing is in the console."""

from pathlib import Path

import pytest

from eval_suite.report.render import write_report
from tests.report.chromium import CHROMIUM, console, look
from tests.report.fake_suite import FakeSuite, errors

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian's package chromium)"),
]


@pytest.fixture
def eight(suite: FakeSuite) -> Path:
    """The page of eight backbones with long names, two tasks, pictures, notes and published numbers."""
    names = ["baseline", *(f"cutmix+label-smoothing-{index}" for index in range(7))]
    suite.describe(
        baseline="baseline", published="table5", tasks=["classify", "novel"], backbones=names, seeds=[0]
    )
    for index, name in enumerate(names):
        pictures = [suite.picture(name, f"{place}.png") for place in range(4)]
        suite.add(name, wrong=errors(0.2 + index / 50), examples=pictures)
        suite.add(name, task="novel", sha256=f"{index}" * 64, wrong=errors(0.3))
    return write_report(suite.folder).index


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1300, 800, 420])
def test_nothing_overflows_and_all_text_can_be_read(
    eight: Path, tmp_path: Path, width: int, dark: bool
) -> None:
    seen = look(eight, tmp_path, width, dark=dark)
    assert (seen.width, seen.dark) == (width, dark)
    assert seen.scroll <= width
    assert seen.wide == []
    assert seen.faint == []


def test_a_look_finds_what_is_wide_and_faint(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text('<body style="background:#fff"><p style="width:2000px;color:#aaa">faint</p>')
    seen = look(page, tmp_path, 420)
    assert seen.scroll > 420
    assert [text.split()[1] for text in seen.faint] == ["faint"]
    assert len(seen.wide) == 1


def test_the_console_is_silent(four: FakeSuite, tmp_path: Path) -> None:
    assert console(write_report(four.folder).index, tmp_path) == []
    page = tmp_path / "page.html"
    page.write_text("<script>nobody.knows()</script>")
    assert len(console(page, tmp_path)) == 1


def test_the_tables_of_eight_need_no_scrolling_at_1300_pixels(eight: Path, tmp_path: Path) -> None:
    assert look(eight, tmp_path, 1300).cut == []
    assert any(name.startswith("Headline metrics") for name in look(eight, tmp_path, 800).cut)
