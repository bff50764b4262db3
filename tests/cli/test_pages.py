"""Verbs that make a page: report --open, and show."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eval_suite.cli import browser
from eval_suite.suite.quickstart import BACKBONES
from tests.report.fake_suite import FakeSuite

Cli = Callable[..., Any]
NETWORK = Path(browser.__file__).parents[1] / "demo" / "networks" / f"{BACKBONES[0]}-s0"
CPU = ("--device", "cpu", "--workers", "0", "--threads", "1")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that a browser was asked to open."""
    addresses: list[str] = []

    def note(address: str) -> bool:
        addresses.append(address)
        return True

    monkeypatch.setattr(browser.webbrowser, "open", note)
    return addresses


def test_report_opens_its_page_only_when_asked_to(cli: Cli, tmp_path: Path, opened: list[str]) -> None:
    suite = FakeSuite(tmp_path / "reports" / "fake")
    suite.add("baseline")
    assert cli("report", suite.folder).code == 0
    assert opened == []
    assert cli("report", suite.folder, "--open").code == 0
    assert opened == [(suite.folder / "index.html").resolve().as_uri()]


def test_without_a_browser_the_page_is_named(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browser.webbrowser, "open", lambda _: False)
    suite = FakeSuite(tmp_path / "reports" / "fake")
    suite.add("baseline")
    ended = cli("report", suite.folder, "--open")
    assert ended.code == 0
    assert str(suite.folder / "index.html") in ended.err


def test_show_draws_and_leaves_nothing_but_the_page(
    cli: Cli, tmp_path: Path, demo_world: Path, monkeypatch: pytest.MonkeyPatch, opened: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = cli(
        *("show", "classify", "--backbone", NETWORK, "--data", f"folder:{demo_world / 'images'}"),
        *("--limit", "3", "--no-open", *CPU),
    )
    assert ended.code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["show.html"]
    page = (tmp_path / "show.html").read_text("utf-8")
    assert page.count("<img ") == 3
    assert "error" not in page.partition("<main>")[2]
    assert opened == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("clasify",), "Did you mean 'classify'?"),
        (("detect", "--backbone", NETWORK, "--data", "voc:absent"), "would fine-tune first"),
        (("classify", "--backbone", NETWORK, "--data", "folder:absent"), "absent"),
    ],
)
def test_what_cannot_be_shown_is_one_line(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[object, ...], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = cli("show", *words, *(CPU if len(words) > 1 else ()))
    assert ended.code == 2
    assert expected in ended.err
    assert not list(tmp_path.iterdir())
