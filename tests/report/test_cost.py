"""What trainings cost, next to the baseline."""

import csv

import pytest

from eval_suite.report.collate import collate
from eval_suite.report.cost import Cost, costs
from eval_suite.report.render import write_report
from tests.report.fake_suite import FakeSuite
from tests.report.test_render import Page, words


def add(
    suite: FakeSuite, backbone: str, seed: int, steps: list[float], *, passes: float = 1.0, **recipe: object
) -> None:
    card = suite.card(backbone, seed)
    history = [
        {"epoch": epoch, "step_seconds": step, "passes": passes, "memory": 2 << 20}
        for epoch, step in enumerate(steps, 1)
    ]
    training = {**(card.training or {}), "history": history, "processor": "CPU, 2 threads"}
    plain = {"arch": "resnet18", "lr": 0.1, "regularizers": [backbone], **recipe}
    suite.add(backbone, seed, card=card.model_copy(update={"training": training, "recipe": plain}))


@pytest.fixture
def measured(suite: FakeSuite) -> FakeSuite:
    suite.describe(name="x", backbones=["baseline", "cutmix", "puzzle"], seeds=[0, 1], tasks=["classify"])
    for seed in (0, 1):
        # The first step of a training is slow: the median leaves it out.
        add(suite, "baseline", seed, [9.0, 0.010 + 0.02 * seed, 0.010 + 0.02 * seed])
        add(suite, "cutmix", seed, [0.022, 0.022, 0.022])
        add(suite, "puzzle", seed, [0.040] * 3, passes=2.0, lr=0.2)
    return suite


def test_steps_are_medians_over_epochs_and_means_over_seeds(measured: FakeSuite) -> None:
    baseline, cutmix, puzzle = costs(collate(measured.folder))
    assert baseline.step_seconds == pytest.approx(0.02)
    assert (baseline.ratio, cutmix.ratio) == (pytest.approx(1.0), pytest.approx(1.1))
    # Another learning rate: the difference would not be the regularizer's alone.
    assert puzzle.ratio is None
    assert (cutmix.passes, puzzle.passes, cutmix.memory) == (1.0, 2.0, 2 << 20)


def test_a_slow_step_has_no_exponent() -> None:
    cells = Cost("vit", 1.6123, 1.0, 1500 << 20, 1.0, "CPU, 1 thread").cells
    assert [text for text, _ in cells] == ["1,612", "1.00", "1.00", "1,500", "CPU, 1 thread"]


def test_they_stand_on_the_page_and_in_the_tables(measured: FakeSuite) -> None:
    paths = write_report(measured.folder)
    text = words(Page(paths.index))
    assert "cutmix 22 1.10 1.00 2 CPU, 2 threads" in text
    assert "puzzle 40 — 2.00 2 CPU, 2 threads" in text
    (table,) = (path for path in paths.tables if path.name == "cost.csv")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["ratio_to_baseline"] for row in rows][2] == ""
    assert float(rows[1]["ratio_to_baseline"]) == pytest.approx(1.1)


def test_trainings_that_logged_no_cost_have_no_table(suite: FakeSuite) -> None:
    suite.add("baseline", 0)
    assert costs(collate(suite.folder)) == []
    paths = write_report(suite.folder)
    assert "What the trainings cost" not in words(Page(paths.index))
    assert not [path for path in paths.tables if path.name.startswith("cost")]
