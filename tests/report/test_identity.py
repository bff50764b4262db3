"""A changed option keeps its metric in the overview, and the paper's number with what that was printed for."""

import csv
from pathlib import Path

import pytest

from eval_suite.core.records import Metric
from eval_suite.report.collate import SuiteInfo
from eval_suite.report.printed import published_number, published_numbers
from eval_suite.report.render import write_report
from eval_suite.tasks.robustness.metrics import FGSM
from eval_suite.tasks.wsol.metrics import BEST, TOP1_LOC
from tests.report.fake_suite import FakeSuite


def loc(sigma: float | str, value: float) -> Metric:
    params = {"sigma": sigma}
    return Metric(
        key=TOP1_LOC.key, params=params, name=TOP1_LOC.name(params), value=value, higher_is_better=True, n=400
    )


def overview(folder: Path) -> list[dict[str, str]]:
    write_report(folder)
    with (folder / "tables" / "overview.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_another_threshold_keeps_headline_and_published_number(tmp_path: Path) -> None:
    suite = FakeSuite(tmp_path / "reports" / "table9-cub")
    suite.add("cutmix", task="wsol", metrics=[loc(0.2, 0.5), loc(BEST, 0.6)], outcomes=False)
    (row,) = overview(suite.folder)
    assert (row["metric"], row["mean"], row["published"]) == ("Top-1 Loc (σ=0.2)", "0.5", "0.5481")
    assert "printed for sigma = 0.15" in (suite.folder / "index.html").read_text("utf-8")


def test_the_papers_threshold_has_no_such_note(tmp_path: Path) -> None:
    suite = FakeSuite(tmp_path / "reports" / "table9-cub")
    suite.add("cutmix", task="wsol", metrics=[loc(0.15, 0.5)], outcomes=False)
    overview(suite.folder)
    page = (suite.folder / "index.html").read_text("utf-8")
    assert "paper 54.81" in page
    assert "printed for" not in page


def test_a_threshold_chosen_on_the_images_is_another_protocol() -> None:
    suite = SuiteInfo(name="table9-cub")
    assert published_number(suite, "cutmix", "wsol", TOP1_LOC.key, {"sigma": BEST}) is None
    assert published_number(suite, "cutmix", "wsol", TOP1_LOC.key, {}) is None
    assert published_number(suite, "nobody", "wsol", TOP1_LOC.key, {"sigma": 0.15}) is None


def test_the_papers_epsilon_is_preferred_and_another_one_serves(tmp_path: Path) -> None:
    def fgsm(epsilon: str, value: float) -> Metric:
        params = {"epsilon": epsilon}
        return Metric(
            key=FGSM.key, params=params, name=FGSM.name(params), value=value, higher_is_better=False, n=9
        )

    suite = FakeSuite(tmp_path / "reports" / "mine")
    suite.add("a", task="robustness", metrics=[fgsm("2/255", 0.2), fgsm("8/255", 0.8)], outcomes=False)
    assert [row["metric"] for row in overview(suite.folder)] == ["Top-1 error under FGSM (ε=8/255)"]
    suite.add("a", task="robustness", metrics=[fgsm("2/255", 0.2)], outcomes=False)
    assert [row["metric"] for row in overview(suite.folder)] == ["Top-1 error under FGSM (ε=2/255)"]


@pytest.mark.parametrize(
    "printed", published_numbers(), ids=lambda one: f"{one.suite}-{one.backbone}-{one.id}-{one.subset}"
)
def test_every_printed_number_finds_its_own_metric(printed: object) -> None:
    from eval_suite.report.printed import PublishedNumber

    assert isinstance(printed, PublishedNumber)
    params = printed.params | printed.printed_for
    found = published_number(
        SuiteInfo(name=printed.suite), printed.backbone, printed.task, printed.key, params, printed.subset
    )
    assert found == printed
