import csv
import json
from pathlib import Path

import pytest

from eval_suite.core.errors import InputError
from eval_suite.report.printed import published_numbers
from eval_suite.report.render import ReportPaths, write_report
from eval_suite.report.tables import Cell, Table, csv_text, latex_text, markdown_text
from eval_suite.report.wording import duration, listed, moment, number, signed
from tests.report.fake_suite import ECE, TOP1, FakeSuite, errors


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_table_comes_in_three_forms(written: ReportPaths) -> None:
    names = [path.name for path in written.tables]
    stems = ("overview", "task-classify", "training")
    assert names == [f"{stem}{suffix}" for stem in stems for suffix in (".csv", ".md", ".tex")]


def test_overview_csv_holds_fractions_and_verdicts(suite: FakeSuite) -> None:
    suite.add("baseline", wrong=errors(0.3))
    suite.add("cutmix", wrong=errors(0.2))
    write_report(suite.folder)
    found = {(row["backbone"], row["metric"]): row for row in rows(suite.folder / "tables" / "overview.csv")}
    row = found["cutmix", TOP1]
    assert float(row["mean"]) == pytest.approx(0.2)
    assert float(row["delta"]) == pytest.approx(-0.1)
    assert float(row["delta_low"]) < float(row["delta_high"]) < 0
    assert (row["verdict"], row["best"], row["baseline"], row["seeds"]) == ("better", "true", "baseline", "1")
    assert found["cutmix", ECE]["verdict"] == "untested"
    assert found["baseline", TOP1]["delta"] == ""


def test_task_csv_holds_every_seed_subset_and_gap(written: ReportPaths) -> None:
    found = rows(written.index.parent / "tables" / "task-classify.csv")
    assert {row["seed"] for row in found} == {"0", "1"}
    assert sum(row["subset"] == "lynx" for row in found) == 6
    gaps = {row["backbone"]: (row["status"], row["reason"]) for row in found if not row["metric"]}
    assert gaps["cutout"] == ("failed", "the loss\nran away")
    assert gaps["mixup"][0] == "missing"


def test_what_trivial_methods_reach_is_a_row_to_read_and_a_column_for_machines(suite: FakeSuite) -> None:
    path = suite.add("baseline", wrong=errors(0.3))
    content = json.loads(path.read_text())
    content["metrics"][0]["controls"] = {"chance": 2 / 3}
    path.write_text(json.dumps(content))
    write_report(suite.folder)
    tables = suite.folder / "tables"
    for name in ("overview", "task-classify"):
        lines = (tables / f"{name}.md").read_text().splitlines()
        row = next(line for line in lines if line.startswith("| chance"))
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[1] == "66.67"
        assert set(cells[2:]) <= {"—"}
        found = rows(tables / f"{name}.csv")
        assert {row["controls"] for row in found if row["metric"] == TOP1 and not row.get("subset")} == {
            "chance: 0.666667"
        }
        assert all(row["backbone"] != "chance" for row in found)


def test_latex_escapes_and_marks_the_best(suite: FakeSuite) -> None:
    suite.add("baseline", wrong=errors(0.3))
    suite.add("cut_mix & 50%", wrong=errors(0.2))
    write_report(suite.folder)
    text = (suite.folder / "tables" / "overview.tex").read_text()
    assert r"{cut\_mix \& 50\%} & \textbf{20.00 ($-$10.00)}" in text
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1
    assert r"Top-1 error $\downarrow$ (\%)" in text


def test_markup_in_names_stays_text() -> None:
    table = Table("t", r"a_b \ {c}", ["Head|er", "v"], [[Cell("x|<b>*y*\n"), Cell("1", True)]], [], [])
    markdown = markdown_text(table)
    assert r"| x\|\<b\>\*y\* | **1** |" in markdown
    assert r"| Head\|er | v |" in markdown
    assert r"\caption{a\_b \textbackslash{} \{c\}}" in latex_text(table)


def test_markdown_has_a_row_per_backbone(written: ReportPaths) -> None:
    lines = (written.index.parent / "tables" / "overview.md").read_text().splitlines()
    assert lines[0].startswith("| Backbone | Top-1 error ↓ (%) |")
    assert [line.split("|")[1].strip() for line in lines[2:6]] == ["baseline", "mixup", "cutout", "cutmix"]
    assert "20.00 ± 0.00\\*" in lines[5]


@pytest.mark.parametrize(
    ("value", "unit", "plain", "with_sign"),
    [
        (0.12345, "fraction", "12.35", "+12.35"),
        (-0.021, "fraction", "\u22122.10", "\u22122.10"),
        (-0.000001, "fraction", "0.00", "0.00"),
        (1.5, "nats", "1.500", "+1.500"),
        (12345.6, "images", "12346", "+12346"),
    ],
)
def test_numbers_in_words(value: float, unit: str, plain: str, with_sign: str) -> None:
    assert number(value, unit) == plain
    assert signed(value, unit) == with_sign


def test_times_and_lists_in_words() -> None:
    assert [duration(s) for s in (3.21, 61, 7322)] == ["3.2 s", "1 min 01 s", "2 h 02 min"]
    assert moment("2026-03-01T10:00:00+00:00") == "2026-03-01 10:00 UTC"
    assert moment("yesterday") == "yesterday"
    assert [listed(names) for names in ([], ["a"], ["a", "b", "c"])] == ["", "a", "a, b and c"]


def test_published_numbers_are_rates_named_once() -> None:
    keys = [(p.suite, p.backbone, p.task, p.id, p.subset) for p in published_numbers()]
    assert len(keys) == len(set(keys))
    assert all(0 < p.value < 1 for p in published_numbers() if p.key.endswith("error"))


def test_an_empty_folder_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        write_report(tmp_path)


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_no_cell_of_a_csv_is_a_formula_whoever_named_it(name: str) -> None:
    table = Table("t", "", [], [], ["backbone", "delta"], [[name, -0.5], ["cutmix", None]])
    assert list(csv.reader(csv_text(table).splitlines()))[1:] == [["'" + name, "-0.5"], ["cutmix", ""]]


def test_a_difference_without_a_test_is_marked_as_one(suite: FakeSuite) -> None:
    suite.add("baseline", wrong=errors(0.3), outcomes=False)
    suite.add("cutmix", wrong=errors(0.2), outcomes=False)
    write_report(suite.folder)
    overview = suite.folder / "tables" / "overview"
    row = next(line for line in overview.with_suffix(".md").read_text().splitlines() if "cutmix" in line)
    assert "10.00†)" in row
    assert r"\dag{}" in overview.with_suffix(".tex").read_text()
