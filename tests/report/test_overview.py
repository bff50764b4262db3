"""The top of the page: standing, cost, the profile of differences and the paper's numbers beside ours."""

import json

import pytest

from eval_suite.report.cells import MatrixView
from eval_suite.report.collate import Collation, collate
from eval_suite.report.compare import TaskComparison
from eval_suite.report.overview import Overview, overview
from eval_suite.report.palette import styles_of
from eval_suite.report.pictures import grouped, picture_rows
from eval_suite.report.profile import profile
from eval_suite.report.section import Section, section_of
from tests.report.fake_suite import TOP1, TOP5, FakeSuite, errors, id_of


def parts_of(found: Collation) -> list[tuple[Section, TaskComparison]]:
    comparisons = [TaskComparison(found, task) for task in found.suite.tasks]
    return [(section_of(comparison), comparison) for comparison in comparisons]


def overview_of(suite: FakeSuite) -> Overview:
    found = collate(suite.folder)
    return overview(found, parts_of(found), styles_of(found.suite.backbones, found.baseline))


def standing(suite: FakeSuite, begins: str) -> dict[str, str]:
    return next(values for what, values in overview_of(suite).standing if what.startswith(begins))


def test_ranks_count_from_the_best_and_ties_share_them(suite: FakeSuite) -> None:
    for name, rate in {"baseline": 0.3, "mixup": 0.2, "cutmix": 0.2, "cutout": 0.4}.items():
        suite.add(name, wrong=errors(rate))
    assert standing(suite, "Mean rank") == {
        "baseline": "3.0",
        "cutmix": "1.5",
        "cutout": "4.0",
        "mixup": "1.5",
    }


def test_a_backbone_that_is_not_ranked_leaves_no_ranks(suite: FakeSuite) -> None:
    suite.add("baseline")
    suite.add("cutmix", sha256="e" * 64)
    assert not [what for what, _ in overview_of(suite).standing if what.startswith("Mean rank")]


def test_wins_count_the_tested_headline_metrics(suite: FakeSuite) -> None:
    suite.add("baseline", wrong=errors(0.3))
    suite.add("cutmix", wrong=errors(0.1))
    # Top-1 and top-5 are tested; the calibration error has no per-item outcomes.
    assert standing(suite, "Headline metrics") == {"cutmix": "2 / 0 / 0"}


def test_cost_is_size_and_time(suite: FakeSuite) -> None:
    suite.add("baseline")
    assert standing(suite, "Parameters") == {"baseline": "11.69 M"}
    assert standing(suite, "Training time") == {"baseline": "32.5 s"}
    assert standing(suite, "Evaluation time") == {"baseline": "13.3 s"}


def test_the_speed_of_a_forward_pass_stands_with_the_cost_where_it_was_measured(suite: FakeSuite) -> None:
    path = suite.add("baseline")
    suite.add("cutmix")
    content = json.loads(path.read_text())
    content["run"]["cost"] = {
        "images_per_second": 1234.4,
        "latency_ms": 2.25,
        "peak_memory": None,
        "batch_size": 8,
        "device": "cpu",
        "threads": 2,
        "precision": "fp32",
    }
    path.write_text(json.dumps(content))
    assert standing(suite, "Speed") == {
        "baseline": "1,234 images a second in batches of 8 (cpu, fp32, 2 threads)"
    }
    assert standing(suite, "Latency").keys() == {"baseline"}


def test_cost_is_drawn_against_the_score_where_sizes_differ(suite: FakeSuite) -> None:
    suite.add("baseline")
    suite.add("small", card=suite.card("small", 0).model_copy(update={"parameters": 1000}))
    assert [title for title, _ in overview_of(suite).cost] == ["Classification against size"]
    suite.add("small")
    assert not overview_of(suite).cost


def test_score_is_drawn_against_speed_where_it_was_measured_in_one_way(suite: FakeSuite) -> None:
    cost = {"peak_memory": None, "batch_size": 8, "device": "cpu", "threads": 2, "precision": "fp32"}
    for name, latency in (("baseline", 2.0), ("cutmix", 3.0)):
        path = suite.add(name)
        content = json.loads(path.read_text())
        content["run"]["cost"] = {**cost, "images_per_second": 1000 / latency, "latency_ms": latency}
        path.write_text(json.dumps(content))
    titles = [title for title, _ in overview_of(suite).cost]
    assert titles == ["Classification against latency", "Classification against speed"]
    content["run"]["cost"]["threads"] = 1
    path.write_text(json.dumps(content))
    assert not overview_of(suite).cost


def test_the_profile_turns_better_to_the_right_on_the_scale_of_the_widest_interval(suite: FakeSuite) -> None:
    suite.add("baseline", wrong=errors(0.3))
    suite.add("cutmix", wrong=errors(0.2))
    suite.add("cutout", wrong=errors(0.5))
    column = TaskComparison(collate(suite.folder), "classify").column(id_of(TOP1))
    assert column is not None
    (row,) = profile([("Classification", column)])
    better, worse = row.marks
    assert (better.backbone, worse.backbone) == ("cutmix", "cutout")
    assert 50 < better.low < better.middle < better.high
    assert (worse.low, worse.high < 50) == (2.0, True)
    delta, widest = column.cells["cutmix"].delta, column.cells["cutout"].delta
    assert delta is not None
    assert widest is not None
    assert widest.interval is not None
    assert better.middle == pytest.approx(50 + 48 * 0.1 / widest.interval[1], abs=0.01)


def test_a_profile_needs_a_difference(suite: FakeSuite) -> None:
    suite.add("baseline")
    assert overview_of(suite).profile == []


def test_what_many_cells_say_is_said_once(suite: FakeSuite) -> None:
    suite.add("baseline")
    for name in ("cutmix", "mixup"):
        suite.add(name, sha256="e" * 64)
    comparison = TaskComparison(collate(suite.folder), "classify")
    matrix = MatrixView()
    matrix.add(
        comparison.collation, "", 1, [c for id_ in comparison.metrics if (c := comparison.column(id_))]
    )
    assert matrix.notes == ["not comparable: different data"]
    assert [[cell.notes for cell in row.cells] for row in matrix.groups[0].rows] == [[(), (1,), (1,)]] * 5


def test_published_numbers_stand_beside_ours_with_the_protocol(suite: FakeSuite) -> None:
    suite.describe(published="table5")
    suite.add("cutmix", wrong=errors(0.15))
    row, top5 = overview_of(suite).published
    assert top5.metric == TOP5
    assert (row.backbone, row.metric, row.paper, row.ours, row.difference) == (
        *("cutmix", TOP1, "14.47", "15.00", "+0.53"),
    )
    assert row.protocol.endswith("ours: the last of 10 epochs, 1 seed, 400 items of demo")
    suite.describe()
    assert not overview_of(suite).published


def test_a_picture_that_all_backbones_share_is_one(suite: FakeSuite) -> None:
    same = [suite.picture("baseline", f"{index}.png") for index in range(11)]
    for name in ("baseline", "cutmix"):
        folder = suite.folder / "results" / f"{name}-s0" / "classify"
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(11):
            source = suite.folder / "results" / "baseline-s0" / "classify" / f"{index}.png"
            (folder / f"{index}.png").write_bytes(source.read_bytes())
        suite.add(name, examples=same)
    rows = picture_rows(collate(suite.folder), "classify")
    shared = rows[0].shared
    assert shared is not None
    assert rows[0].size == shared.image.size
    (group,) = grouped(rows)
    assert (len(group.shown), len(group.folded)) == (8, 3)
    suite.picture("cutmix", "0.png")
    rows = picture_rows(collate(suite.folder), "classify")
    assert rows[0].shared is None
    assert rows[0].size == sum(picture.image.size for picture in rows[0].cells.values())


def test_a_broken_history_costs_no_page(suite: FakeSuite) -> None:
    path = suite.add("baseline")
    content = json.loads(path.read_text())
    content["backbone"]["training"]["history"] = [{"seconds": "long"}, 3]
    path.write_text(json.dumps(content))
    assert not [what for what, _ in overview_of(suite).standing if what.startswith("Training time")]
