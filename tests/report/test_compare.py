import json
import re
from pathlib import Path
from statistics import stdev
from typing import Any
from zipfile import ZipFile

import numpy as np
import pandas
import pytest

from eval_suite.core.errors import InputError
from eval_suite.core.outcomes import OutcomesFile, write_outcomes
from eval_suite.core.records import Metric, Outcomes
from eval_suite.core.statistics import paired_difference
from eval_suite.core.store import read_record
from eval_suite.report.cells import cell_view
from eval_suite.report.collate import collate
from eval_suite.report.columns import Column, Pick
from eval_suite.report.compare import Records, TaskComparison
from eval_suite.report.findings import finding
from eval_suite.report.frames import compare
from eval_suite.report.matrices import task_table
from eval_suite.report.render import write_report
from eval_suite.report.section import generic_section
from eval_suite.tasks.classify.report import SECTION
from tests.report.fake_suite import ECE, TOP1, TOP5, FakeSuite, errors, id_of, metric_named


def column(suite: FakeSuite, metric: str = TOP1) -> Column:
    found = TaskComparison(collate(suite.folder), "classify").column(id_of(metric))
    assert found is not None
    return found


def told(suite: FakeSuite, baseline: str | None = None) -> str:
    found = finding(SECTION, TaskComparison(collate(suite.folder, baseline), "classify"))
    assert found is not None
    return found.line


def test_delta_is_the_paired_difference(suite: FakeSuite) -> None:
    base, other = errors(0.30), errors(0.20)
    suite.add("baseline", wrong=base)
    suite.add("cutmix", wrong=other)
    cell = column(suite).cells["cutmix"]
    assert cell.delta is not None
    assert cell.delta.difference == pytest.approx(-0.10)
    assert cell.delta.interval == paired_difference(other, base).interval
    assert cell.delta.verdict == "better"
    assert cell.best
    assert column(suite).cells["baseline"].delta is None


def test_difference_that_may_be_chance_is_tied(suite: FakeSuite) -> None:
    # 3 items lost and 3 gained of 400: the mean difference is exactly 0, so any interval contains it.
    suite.add("baseline", wrong=errors(0.25))
    suite.add("mixup", wrong=errors(0.25, shift=3))
    delta = column(suite).cells["mixup"].delta
    assert delta is not None
    assert delta.difference == pytest.approx(0.0)
    assert delta.verdict == "tied"


def test_direction_decides_what_is_better(suite: FakeSuite) -> None:
    suite.add("baseline", wrong=errors(0.2))
    suite.add("cutmix", wrong=errors(0.3))
    delta = column(suite).cells["cutmix"].delta
    assert delta is not None
    assert delta.verdict == "worse"
    assert column(suite, "Mean per-class accuracy").cells["baseline"].best


def test_without_outcomes_a_difference_is_untested(suite: FakeSuite) -> None:
    suite.add("baseline", wrong=errors(0.3))
    suite.add("cutmix", wrong=errors(0.2))
    delta = column(suite, ECE).cells["cutmix"].delta
    assert delta is not None
    assert (delta.verdict, delta.interval) == ("untested", None)
    assert delta.difference == pytest.approx(-0.01)


def with_resamples(path: Path, values: list[float], ids: list[str] | None = None) -> None:
    """Give a record's ECE these bootstrap values, and its items other names."""
    stored = OutcomesFile(path.parent / "classify" / "outcomes.npz", read_record(path))
    names = stored.ids() if ids is None else np.array(ids)
    outcomes = Outcomes(names, stored.values(stored.metrics), {id_of(ECE): np.array(values, np.float32)})
    with stored.path.open("wb") as stream:
        write_outcomes(stream, outcomes)


def test_what_is_no_mean_over_items_is_tested_on_the_same_resamples(suite: FakeSuite) -> None:
    with_resamples(suite.add("baseline", wrong=errors(0.3)), [0.05, 0.06, 0.07])
    with_resamples(suite.add("better", wrong=errors(0.2)), [0.040, 0.051, 0.059])
    with_resamples(suite.add("tied", wrong=errors(0.2)), [0.06, 0.05, 0.06])
    with_resamples(suite.add("fewer", wrong=errors(0.2)), [0.04, 0.05])
    suite.add("none", wrong=errors(0.2))
    cells = column(suite, ECE).cells
    verdicts = {name: cell.delta.verdict for name, cell in cells.items() if cell.delta}
    assert verdicts == {"better": "better", "tied": "tied", "fewer": "untested", "none": "untested"}
    delta = cells["better"].delta
    assert delta is not None
    assert delta.difference == pytest.approx(-0.01)
    half = 1.959964 * stdev([0.010, 0.009, 0.011])
    assert delta.interval == pytest.approx((-0.01 - half, -0.01 + half), rel=1e-4)
    assert (delta.n, delta.seeds) == (400, 1)


def test_resamples_of_other_items_or_of_another_order_are_not_paired(suite: FakeSuite) -> None:
    names = [f"image-{index:04d}" for index in range(400)]
    with_resamples(suite.add("baseline"), [0.05, 0.06, 0.07])
    with_resamples(suite.add("shuffled"), [0.05, 0.06, 0.07], names[::-1])
    with_resamples(suite.add("others"), [0.05, 0.06, 0.07], [f"other-{name}" for name in names])
    cells = column(suite, ECE).cells
    assert cells["shuffled"].delta is not None
    assert cells["shuffled"].delta.verdict == "untested"
    assert cells["others"].refused == "not comparable: different items"


def test_resamples_are_averaged_over_seeds(suite: FakeSuite) -> None:
    for seed, shift in enumerate((0.0, 0.004)):
        with_resamples(suite.add("baseline", seed), [0.05 + shift, 0.06, 0.07])
        with_resamples(suite.add("cutmix", seed), [0.04 - shift, 0.05, 0.062])
    delta = column(suite, ECE).cells["cutmix"].delta
    assert delta is not None
    assert delta.interval is not None
    half = 1.959964 * stdev([0.014, 0.010, 0.008])
    assert delta.interval.high - delta.interval.low == pytest.approx(2 * half, rel=1e-4)
    assert delta.seeds == 2


def test_other_items_or_data_are_not_comparable(suite: FakeSuite) -> None:
    suite.add("baseline")
    suite.add("other-ids", ids=[f"other-{index}" for index in range(400)])
    suite.add("other-data", sha256="e" * 64)
    suite.add("fewer", wrong=errors(0.2, n=50))
    cells = column(suite).cells
    assert cells["other-ids"].refused == "not comparable: different items"
    assert cells["other-data"].refused == "not comparable: different data"
    assert cells["fewer"].refused == "not comparable: different items"
    assert all(cells[name].delta is None for name in ("other-ids", "other-data", "fewer"))
    assert not cells["fewer"].ranked
    assert "Not ranked, being scored on other items or in another way: fewer and other-data." in told(suite)


@pytest.mark.parametrize(
    ("baseline", "other", "clear"),
    [(0.3, 0.2, ["cutmix"]), (0.2, 0.3, ["baseline"]), (0.3, 0.295, []), (0.295, 0.3, [])],
)
def test_a_best_value_within_chance_is_not_called_so(
    suite: FakeSuite, baseline: float, other: float, clear: list[str]
) -> None:
    suite.add("baseline", wrong=errors(baseline))
    suite.add("cutmix", wrong=errors(other))
    found = column(suite)
    views = {name: cell_view(found, cell, 1) for name, cell in found.cells.items()}
    assert [name for name, view in views.items() if view.clear] == clear
    assert sum(view.best for view in views.values()) == 1


def test_items_in_another_order_are_the_same(suite: FakeSuite) -> None:
    random = np.random.default_rng(0)
    base, other = errors(0.3), np.roll(errors(0.25), 90)
    names = [f"image-{index:04d}" for index in range(400)]
    order = random.permutation(400)
    suite.add("baseline", wrong=base)
    suite.add("as-it-is", wrong=other)
    suite.add("shuffled", wrong=other[order], ids=[names[place] for place in order])
    cells = column(suite).cells
    assert cells["shuffled"].delta is not None
    assert cells["shuffled"].delta == cells["as-it-is"].delta


def test_another_version_of_the_protocol_is_not_comparable(suite: FakeSuite) -> None:
    suite.add("baseline")
    path = suite.add("cutmix")
    content = json.loads(path.read_text())
    content["task"]["version"] = 2
    path.write_text(json.dumps(content))
    assert column(suite).cells["cutmix"].refused == "not comparable: different versions of the protocol"


PROTOCOL: dict[str, list[dict[str, Any]]] = {"transform": [], "ssd.size": [{"key": "top5_error"}]}


def test_another_protocol_is_not_comparable_and_not_ranked(suite: FakeSuite) -> None:
    def add(name: str, rate: float, transform: str, size: int, maps: str = "cam") -> None:
        options = {"transform": transform, "maps": maps, "ssd": {"size": size}}
        suite.add(name, wrong=errors(rate), options=options, protocol=PROTOCOL)

    add("baseline", 0.3, "paper", 300)
    add("other", 0.1, "evaluation-paper", 300)
    add("both", 0.1, "evaluation-paper", 512)
    add("size", 0.2, "paper", 512)
    add("maps", 0.25, "paper", 300, maps="gradcam")
    top1, top5 = column(suite).cells, column(suite, TOP5).cells
    assert top1["other"].refused == "not comparable: transform differs"
    assert top5["both"].refused == "not comparable: ssd.size and transform differ"
    assert top5["size"].refused == "not comparable: ssd.size differs"
    assert all(cell.delta is None for cell in (top1["other"], top5["both"], top5["size"]))
    # The size matters to one metric, and what is compared on purpose to none.
    assert [top1[name].delta.verdict for name in ("size", "maps")] == ["better", "better"]  # type: ignore[union-attr]
    assert [name for name, cell in top1.items() if cell.ranked] == ["baseline", "maps", "size"]
    assert [name for name, cell in top5.items() if cell.ranked] == ["baseline", "maps"]
    assert top1["size"].best
    assert "Not ranked, being scored on other items or in another way: both and other." in told(suite)


def test_a_record_that_does_not_tell_its_protocol_is_held_to_the_others(suite: FakeSuite) -> None:
    told_by = {"options": {"transform": "paper"}, "protocol": PROTOCOL}
    suite.add("baseline", **told_by)
    suite.add("same", options={"transform": "paper"})
    suite.add("silent")
    cells = column(suite).cells
    assert cells["same"].delta is not None
    assert cells["silent"].refused == "not comparable: transform differs"


def test_as_many_metrics_as_fit_into_memory_are_compared_at_a_time(
    suite: FakeSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, name in enumerate(("baseline", "cutmix", "mixup")):
        suite.add(name, wrong=errors(0.2 + place / 50))
        suite.add(name, 1, wrong=errors(0.21 + place / 50))
    collation = collate(suite.folder)
    together = TaskComparison(collation, "classify")
    monkeypatch.setattr("eval_suite.report.compare._OUTCOMES_AT_ONCE", 0)
    alone = TaskComparison(collation, "classify")
    assert len(together.metrics) > 2
    for id_ in together.metrics:
        assert alone.column(id_) == together.column(id_)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 broken"])
def test_unreadable_outcomes_cost_the_comparison_only(suite: FakeSuite, content: bytes) -> None:
    suite.add("baseline")
    path = suite.add("cutmix")
    (path.parent / "classify" / "outcomes.npz").write_bytes(content)
    comparison = TaskComparison(collate(suite.folder), "classify")
    found = comparison.column(id_of(TOP1))
    assert found is not None
    refused = found.cells["cutmix"].refused
    assert refused.startswith("not comparable: per-item outcomes cannot be read: ")
    assert "outcomes.npz" in refused
    assert [n.where for n in comparison.collation.notices] == ["classify · cutmix · seed 0"]


def test_a_record_that_its_outcomes_contradict_shows_no_number(suite: FakeSuite) -> None:
    """Also one alone, which nothing is compared with."""
    path = suite.add("baseline", wrong=errors(0.2))
    suite.add("cutmix", wrong=errors(0.2))
    file = path.parent / "classify" / "outcomes.npz"
    held = dict(np.load(file))
    np.savez(file, ids=held["ids"], **{id_of(TOP1): errors(0.4)})
    found = collate(suite.folder)
    states = {key.backbone: (entry.state, entry.record is None) for key, entry in found.entries.items()}
    assert states == {"baseline": ("broken", True), "cutmix": ("complete", False)}
    assert [notice.where for notice in found.notices if notice.state == "broken"] == [
        "classify · baseline · seed 0"
    ]


def test_no_door_lets_a_record_in_that_its_outcomes_contradict(suite: FakeSuite) -> None:
    path = suite.add("baseline", wrong=errors(0.2))
    file = path.parent / "classify" / "outcomes.npz"
    assert read_record(path)
    np.savez(file, ids=dict(np.load(file))["ids"], **{id_of(TOP1): errors(0.4)})
    with pytest.raises(InputError) as caught:
        read_record(path)
    assert caught.value.where == str(file)
    assert caught.value.found == "0.4"


def test_collation_reads_each_array_once_and_keeps_none(
    suite: FakeSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("baseline", "cutmix"):
        suite.add(name)
    opened: list[tuple[str, str]] = []
    read = ZipFile.read

    def counted(file: ZipFile, name: str) -> bytes:
        opened.append((str(file.filename), name))
        return read(file, name)

    monkeypatch.setattr(ZipFile, "read", counted)
    found = collate(suite.folder)
    assert len(opened) == len(set(opened)) == 6
    assert all(record.outcomes is None for record in found.records())


def test_a_list_of_items_is_read_once_however_many_files_hold_it(
    suite: FakeSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("baseline", "cutmix", "mixup"):
        suite.add(name)
    collation = collate(suite.folder)
    read = ZipFile.read
    lists = []

    def counted(file: ZipFile, name: str) -> bytes:
        lists.extend([name] if name == "ids.npy" else [])
        return read(file, name)

    monkeypatch.setattr(ZipFile, "read", counted)
    found = TaskComparison(collation, "classify").column(id_of(TOP1))
    assert found is not None
    assert found.cells["mixup"].delta is not None
    assert lists == ["ids.npy"]


def test_outcomes_without_items_are_still_held_to_the_record(suite: FakeSuite) -> None:
    file = suite.add("baseline", wrong=errors(0.2)).parent / "classify" / "outcomes.npz"
    np.savez(file, **{id_of(TOP1): errors(0.4)})
    assert [entry.state for entry in collate(suite.folder).entries.values()] == ["broken"]
    np.savez(file, **{id_of(TOP1): errors(0.2)})
    suite.add("cutmix")
    assert "cannot be read" in column(suite).cells["cutmix"].refused


def test_a_damaged_array_costs_the_comparison_only(suite: FakeSuite) -> None:
    for name in ("baseline", "cutmix"):
        path = suite.add(name).parent / "classify" / "outcomes.npz"
        held = dict(np.load(path))
        np.savez(path, **held | {"ids": np.append(held["ids"], "one more")})
    found = column(suite).cells["cutmix"]
    assert found.value is not None
    assert "cannot be read" in found.refused


def test_pickled_outcomes_are_refused(suite: FakeSuite) -> None:
    suite.add("baseline")
    path = suite.add("cutmix")
    evil = np.array([{"a": 1}] * 400, dtype=object)
    np.savez(path.parent / "classify" / "outcomes.npz", ids=evil, **{id_of(TOP1): errors(0.25)})
    assert "cannot be read" in column(suite).cells["cutmix"].refused


def test_items_without_an_outcome_are_not_comparable(suite: FakeSuite) -> None:
    suite.add("baseline")
    holes = errors(0.2)
    path = suite.add("cutmix", wrong=holes)
    ids = np.array([f"image-{index:04d}" for index in range(400)])
    np.savez(
        path.parent / "classify" / "outcomes.npz", ids=ids, **{id_of(TOP1): np.where(holes > 0, np.nan, 0.0)}
    )
    assert column(suite).cells["cutmix"].refused == "not comparable: some items have no outcome"


def test_several_seeds(suite: FakeSuite) -> None:
    base, other = [errors(0.30), errors(0.34)], [errors(0.20), errors(0.26)]
    for seed in (0, 1):
        suite.add("baseline", seed, wrong=base[seed])
        suite.add("cutmix", seed, wrong=other[seed])
    cell = column(suite).cells["cutmix"]
    assert cell.value == pytest.approx(0.23)
    assert cell.spread == pytest.approx(stdev([0.20, 0.26]))
    assert cell.interval is None
    assert cell.delta is not None
    assert cell.delta.seeds == 2
    assert cell.delta.difference == pytest.approx(-0.09)
    expected = paired_difference(np.mean(other, axis=0), np.mean(base, axis=0))
    assert cell.delta.interval == expected.interval
    assert "cutmix 23.00 % ± 4.24 points over 2 seeds" in told(suite)


def test_only_shared_seeds_are_compared(suite: FakeSuite) -> None:
    suite.add("baseline", 0, wrong=errors(0.30))
    suite.add("baseline", 1, wrong=errors(0.40))
    suite.add("cutmix", 1, wrong=errors(0.20))
    suite.add("mixup", 2, wrong=errors(0.20))
    cells = column(suite).cells
    assert cells["cutmix"].delta is not None
    assert cells["cutmix"].delta.difference == pytest.approx(-0.20)
    assert cells["cutmix"].delta.seeds == 1
    assert "20.00 points better than baseline over 1 shared seed" in told(suite)
    assert cells["mixup"].refused == "not comparable: no seed in common with baseline"


def test_states_are_named_where_numbers_lack(four: FakeSuite) -> None:
    cells = column(four).cells
    assert cells["cutout"].remarks == ("seed 1: failed",)
    assert cells["mixup"].remarks == ("seed 1: missing",)
    assert cells["cutmix"].partial == "partial: 100 of 400 items"
    assert not cells["cutmix"].best


def test_null_values_keep_their_reason(suite: FakeSuite) -> None:
    suite.add("baseline")
    path = suite.add("cutmix")
    content = json.loads(path.read_text())
    content["metrics"][0].update(value=None, interval=None, reason="no class has two images")
    path.write_text(json.dumps(content))
    cell = column(suite).cells["cutmix"]
    assert cell.value is None
    assert cell.remarks == ("no value (no class has two images)",)
    assert "only backbone with a number" in told(suite)


def test_a_value_without_an_interval_says_why(suite: FakeSuite) -> None:
    suite.add("baseline")
    path = suite.add("cutmix")
    content = json.loads(path.read_text())
    content["metrics"][0].update(interval=None, method=None, reason="every resample gives the same")
    path.write_text(json.dumps(content))
    cell = column(suite).cells["cutmix"]
    assert cell.value is not None
    assert cell.remarks == ("no interval (every resample gives the same)",)


def test_findings_tell_significance_and_runner_up(suite: FakeSuite) -> None:
    suite.add("baseline", wrong=errors(0.30))
    suite.add("cutmix", wrong=errors(0.20))
    suite.add("mixup", wrong=errors(0.205, shift=-1))
    line = told(suite)
    assert line.startswith("Top-1 error: cutmix 20.00 % [16.00, 24.00]. 10.00 points better than baseline")
    assert "excludes 0" in line
    assert "mixup comes second at 20.50 % and is tied with it." in line
    assert "\n" not in line
    assert "No other backbone does better. mixup comes second" in told(suite, "cutmix")


def test_few_items_are_called_a_hint(suite: FakeSuite) -> None:
    wrong = np.array([1.0] * 6)
    suite.add("baseline", wrong=wrong)
    suite.add("cutmix", wrong=1 - wrong)
    line = told(suite)
    assert "(n = 6)" in line
    assert "hint" in line
    assert "significant" not in line


def test_equal_values_share_the_first_place(suite: FakeSuite) -> None:
    suite.add("baseline", wrong=errors(0.3))
    suite.add("cutmix", wrong=errors(0.2))
    suite.add("mixup", wrong=errors(0.2))
    assert [name for name, cell in column(suite).cells.items() if cell.best] == ["cutmix", "mixup"]
    assert "The same value as mixup." in told(suite)


def test_a_name_with_a_star_stands_for_the_first_that_begins_so(suite: FakeSuite) -> None:
    suite.add("baseline")
    comparison = TaskComparison(collate(suite.folder), "classify")
    found = comparison.first(Pick("top1_error"))
    assert found is not None
    assert found.metric == TOP1
    assert comparison.first(Pick("bottom_error")) is None


def test_derived_metrics_are_treated_as_the_records_own(suite: FakeSuite) -> None:
    suite.add("baseline", wrong=errors(0.4))
    suite.add("cutmix", wrong=errors(0.1))

    def ratio(records: Records, baseline: str) -> dict[tuple[str, int], list[Metric]]:
        def error(backbone: str, seed: int) -> float:
            metric = records[backbone][seed].metric("top1_error")
            assert metric is not None
            assert metric.value is not None
            return metric.value

        return {
            (backbone, seed): [metric_named("Relative error", error(backbone, seed) / error(baseline, seed))]
            for backbone, seeds in records.items()
            for seed in seeds
        }

    comparison = TaskComparison(collate(suite.folder), "classify", ratio)
    found = comparison.column("relative_error")
    assert found is not None
    assert found.cells["cutmix"].value == pytest.approx(0.25)
    assert found.cells["baseline"].value == 1.0
    assert found.cells["cutmix"].best
    delta = found.cells["cutmix"].delta
    assert delta is not None
    assert delta.difference == pytest.approx(-0.75)
    assert delta.verdict == "untested"
    assert list(comparison.metrics)[-1] == "relative_error"
    table = task_table(comparison.collation, generic_section(comparison), comparison)
    assert any("Relative error" in fact for fact in table.facts)


def test_a_comparison_shows_as_the_pages_tables_and_a_selection_of_it_as_rows(suite: FakeSuite) -> None:
    records = [read_record(suite.add(name, wrong=errors(rate))) for name, rate in (("a", 0.3), ("b", 0.2))]
    found = compare(records, baseline="a")
    measures = re.compile(r"<td[^>]*>(<b>.*?)</td>")
    cells = measures.findall(found._repr_html_())
    page = measures.findall(write_report(suite.folder, "a").index.read_text("utf-8"))
    assert len(cells) == 2 * len(set(found.key))
    assert set(cells) <= set(page)
    assert type(found[["key", "value"]]) is pandas.DataFrame
