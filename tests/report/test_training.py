"""How trainings ended, over seeds and beside published numbers."""

import csv

import numpy as np
import pytest

from eval_suite.report.collate import collate
from eval_suite.report.render import write_report
from eval_suite.report.training import training_rows
from tests.report.fake_suite import FakeSuite
from tests.report.test_render import Page, words


def add(suite: FakeSuite, backbone: str, seed: int, last: float, best: float) -> None:
    card = suite.card(backbone, seed)
    training = {
        **(card.training or {}),
        "last": {"epoch": 10, "top1_error": last},
        "best": {"epoch": 7, "top1_error": best},
        "validation": "cifar100:x test",
    }
    suite.add(backbone, seed, card=card.model_copy(update={"training": training}))


@pytest.fixture
def seeds(suite: FakeSuite) -> FakeSuite:
    suite.describe(name="table5", backbones=["baseline", "cutmix"], seeds=[0, 1, 2], tasks=["classify"])
    for seed, (last, best) in enumerate([(0.30, 0.28), (0.32, 0.29), (0.31, 0.30)]):
        add(suite, "baseline", seed, last, best)
        add(suite, "cutmix", seed, last - 0.1, best - 0.11)
    return suite


def test_means_and_deviations_over_seeds_of_last_and_best(seeds: FakeSuite) -> None:
    baseline, cutmix = training_rows(collate(seeds.folder))
    assert (baseline.seeds, baseline.published_text) == (3, "16.45")
    assert baseline.last.mean == pytest.approx(0.31)
    assert baseline.last.spread == pytest.approx(0.01)
    assert baseline.best.spread == pytest.approx(np.std([0.28, 0.29, 0.30], ddof=1))
    assert (baseline.last_text, cutmix.best_text) == ("31.00 ± 1.00", "18.00 ± 1.00")
    assert cutmix.published is not None
    assert cutmix.published_text == "14.47"


def test_they_stand_on_the_page_and_in_the_tables(seeds: FakeSuite) -> None:
    paths = write_report(seeds.folder)
    text = words(Page(paths.index))
    assert (
        "Top-1 error in training, % (cifar100:x test), after the last epoch and at the best one: mean" in text
    )
    assert "cutmix 3 21.00 ± 1.00 18.00 ± 1.00 14.47 (CutMix paper, Table 5, mean of three runs" in text
    assert "Top-1 error over the training" in text
    (table,) = (path for path in paths.tables if path.name == "training.csv")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [(row["backbone"], row["epoch"], row["seeds"]) for row in rows] == [
        *(("baseline", "last", "3"), ("baseline", "best", "3")),
        *(("cutmix", "last", "3"), ("cutmix", "best", "3")),
    ]
    assert [row["published"] for row in rows] == ["", "0.1645", "", "0.1447"]
    assert "**18.00 ± 1.00**" in table.with_suffix(".md").read_text()


def test_one_seed_has_no_deviation_and_nothing_trained_no_table(suite: FakeSuite) -> None:
    add(suite, "baseline", 0, 0.3, 0.2)
    (row,) = training_rows(collate(suite.folder))
    assert row.last_text == "30.00"
    text = words(Page(write_report(suite.folder).index))
    assert "Published" not in text
    suite.add("baseline", card=suite.card("baseline", 0).model_copy(update={"training": None}))
    paths = write_report(suite.folder)
    assert not [path for path in paths.tables if path.name.startswith("training")]
    assert "Top-1 error in training" not in words(Page(paths.index))


def test_errors_that_cannot_be_drawn_are_a_warning(seeds: FakeSuite, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no ink")

    monkeypatch.setattr("eval_suite.report.training.draw", fail)
    text = words(Page(write_report(seeds.folder).index))
    assert "the errors over the epochs cannot be drawn: no ink" in text
    assert "Top-1 error in training" in text
