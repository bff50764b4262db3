"""The page in a browser: nothing overflows, nothing is too faint, nothing is in the console."""

import re
from pathlib import Path

import pytest

from eval_suite.report.render import ReportPaths, write_report
from tests.report.chromium import CHROMIUM, Look, console, loaded, look
from tests.report.fake_suite import FakeSuite, errors

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian's package chromium)"),
]


WIDTHS = (1300, 800, 420)


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of eight backbones with long names, two tasks, two seeds, pictures, notes and published numbers."""
    suite = FakeSuite(tmp_path_factory.mktemp("eight") / "reports" / "fake")
    names = ["baseline", *(f"cutmix+label-smoothing-{index}" for index in range(7))]
    suite.describe(
        baseline="baseline", published="table5", tasks=["classify", "novel"], backbones=names, seeds=[0, 1]
    )
    for index, name in enumerate(names):
        pictures = [suite.picture(name, f"{place}.png") for place in range(4)]
        suite.add(name, wrong=errors(0.2 + index / 50), examples=pictures)
        suite.add(name, 1, wrong=errors(0.21 + index / 50))
        suite.add(name, task="novel", sha256=f"{index}" * 64, wrong=errors(0.3))
    return write_report(suite.folder).index


@pytest.fixture(scope="module")
def light(eight: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Look]:
    return look(eight, tmp_path_factory.mktemp("light"), *WIDTHS)


@pytest.fixture(scope="module")
def dark(eight: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Look]:
    return look(eight, tmp_path_factory.mktemp("dark"), *WIDTHS, dark=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_overflows_and_all_text_can_be_read(scheme: str, request: pytest.FixtureRequest) -> None:
    looks = request.getfixturevalue(scheme)
    assert [seen.width for seen in looks] == list(WIDTHS)
    for seen in looks:
        assert seen.dark == (scheme == "dark")
        assert seen.scroll <= seen.width
        assert (seen.wide, seen.faint, seen.split) == ([], [], [])


def test_a_look_finds_what_is_wide_faint_and_split(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        '<body style="background:#fff"><p style="width:2000px;color:#aaa">faint</p>'
        '<table><thead><tr><th><div style="width:3ch;overflow-wrap:anywhere">heading</div></th></tr></thead></table>'
    )
    (seen,) = look(page, tmp_path, 420)
    assert seen.scroll > 420
    assert [text.split()[1] for text in seen.faint] == ["faint"]
    assert seen.split == ["heading"]
    assert len(seen.wide) == 1


def test_the_console_is_silent(written: ReportPaths, tmp_path: Path) -> None:
    assert console(written.index, tmp_path) == []
    page = tmp_path / "page.html"
    page.write_text("<script>nobody.knows()</script>")
    assert len(console(page, tmp_path)) == 1


def test_the_tables_of_eight_need_no_scrolling_at_1300_pixels(light: list[Look]) -> None:
    wide, middle, _ = light
    assert wide.cut == []
    assert any(name.startswith("Headline metrics") for name in middle.cut)


def test_of_very_many_backbones_the_best_are_shown_at_first(suite: FakeSuite, tmp_path: Path) -> None:
    names = ["baseline", *(f"backbone-{index:02}" for index in range(17))]
    suite.describe(baseline="baseline", backbones=names, seeds=[0], tasks=["classify"])
    for place, name in enumerate(names):
        suite.add(name, wrong=errors(0.4 - place / 100))
    source = write_report(suite.folder).index
    checked = re.findall(r'checked data-toggle="(\d+)"', source.read_text("utf-8"))
    assert checked == ["0", *map(str, range(11, 18))]
    page = loaded(source, tmp_path)
    table = re.search(r'<table class="matrix.*?</table>', page, re.DOTALL)
    assert table is not None
    assert "--backbones: 8" in table[0]
    assert re.findall(r'colspan="(\d+)"', table[0]) == ["9"]
    rows = [row for row in re.findall(r"<tr.*?</tr>", table[0], re.DOTALL) if "colspan" not in row]
    for row in rows:
        cells = re.findall(r"<(?:td|th)([^>]*)>", row)
        assert [place for place, cell in enumerate(cells) if 'off"' not in cell] == [0, 1, *range(12, 19)]
    assert "8 of 18 are shown" in page
    marks = re.findall(r'<g role="listitem"[^>]*class="c\d( off)?"[^>]*translate\(0 (\d+)\)', page)
    assert [int(y) for off, y in marks if not off][:7] == [8 + 13 * place for place in range(7)]
