"""The page of a running suite: written anew as cells finish, and at rest when all are complete or the user stops."""

import pytest

from eval_suite.report import watch as module
from eval_suite.report.render import ReportPaths
from eval_suite.report.watch import watch
from tests.report.fake_suite import FakeSuite


def reloads(paths: ReportPaths) -> bool:
    return 'http-equiv="refresh"' in paths.index.read_text("utf-8")


def test_the_page_grows_until_every_cell_is_complete(
    suite: FakeSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite.describe(backbones=["baseline", "cutmix"], seeds=[0], tasks=["classify"])
    # What the run does meanwhile: nothing at first, then one cell, nothing new, a failed cell, and that cell again.
    steps = [
        lambda: suite.add("baseline"),
        lambda: None,
        lambda: suite.add("cutmix", status="failed"),
        lambda: suite.add("cutmix"),
    ]
    monkeypatch.setattr(module.time, "sleep", lambda _: steps.pop(0)())
    pages: list[tuple[int, bool]] = []
    last = watch(suite.folder, None, lambda paths: pages.append((paths.unfinished, reloads(paths))))
    assert pages == [(1, True), (1, True), (0, True)]
    assert not steps
    assert (last.unfinished, reloads(last)) == (0, False)


def test_a_stopped_watch_leaves_a_page_at_rest(suite: FakeSuite, monkeypatch: pytest.MonkeyPatch) -> None:
    suite.describe(backbones=["baseline", "cutmix"], seeds=[0], tasks=["classify"])
    suite.add("baseline")

    def stop(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module.time, "sleep", stop)
    pages: list[ReportPaths] = []
    with pytest.raises(KeyboardInterrupt):
        watch(suite.folder, None, pages.append)
    assert not reloads(pages[0])
