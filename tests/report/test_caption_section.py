"""The captioning section: captions as they are, the telling examples, the paper's numbers beside ours."""

import json
from html import unescape
from pathlib import Path
from typing import Any

from eval_suite.core.records import Files, Metric
from eval_suite.report.printed import published_numbers
from eval_suite.report.render import write_report
from eval_suite.tasks.caption.report import SECTION
from tests.report.fake_suite import FakeSuite, errors, metric_named

EVIL = "“<script>alert(1)</script> Bär & ß” (CIDEr-D 12 %), a person: “<img src=x onerror=alert(1)>”"


def add(suite: FakeSuite, backbone: str, scores: list[float], **changes: Any) -> Path:
    """A record of so many items that shows all of them, and says of each which backbone speaks."""
    shown = [
        suite.picture(backbone, f"{i:02d}.png", task="caption").model_copy(
            update={
                "score": score,
                "item": str(i),
                "caption": f"{backbone} says {i}",
                "alt": f"picture {i}",
                "references": [f"{word} of {i} <i>" for word in ("one", "two")],
            }
        )
        for i, score in enumerate(scores)
    ]
    path = suite.add(
        backbone, task="caption", examples=shown, files=Files(texts="caption/texts.json"), **changes
    )
    texts = {str(i): f"{backbone} says {i}" for i in range(len(scores))}
    (path.parent / "caption" / "texts.json").write_text(json.dumps(texts))
    return path


def page_of(suite: FakeSuite) -> str:
    return write_report(suite.folder).index.read_text("utf-8")


def metric(name: str, value: float) -> Metric:
    return metric_named(name, value, higher_is_better=True)


def test_captions_are_text_not_markup(tmp_path: Path) -> None:
    suite = FakeSuite(tmp_path / "reports" / "mine")
    shown = suite.picture("baseline", "a.png", task="caption").model_copy(
        update={"caption": EVIL, "alt": EVIL}
    )
    suite.add("baseline", task="caption", examples=[shown])
    page = page_of(suite)
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert EVIL in unescape(page)


def test_the_baselines_best_and_worst_are_shown_for_every_backbone(tmp_path: Path) -> None:
    suite = FakeSuite(tmp_path / "reports" / "mine")
    suite.describe(baseline="baseline", backbones=["cutmix", "baseline"], tasks=["caption"], seeds=[0])
    add(suite, "baseline", [0.5, 0.1, 0.9, 0.4])
    path = add(suite, "cutmix", [0.0, 0.9, 0.0, 0.7, 0.3], wrong=errors(0.2))
    page = page_of(suite)
    for backbone in ("baseline", "cutmix"):
        places = [page.index(f"{backbone} says {i}") for i in (2, 0, 1, 3)]
        assert places == sorted(places)
        assert f"{backbone} says 4" not in page
    assert page.count("Of 400 items, the 2 on which baseline does best") == 1
    assert page.count("Of 400 items, the 2 on which baseline does worst") == 1
    # A picture and what people say of it stand there once, with every backbone's caption.
    sources = [part.partition('"')[0] for part in page.split('<img src="')[1:]]
    assert len(sources) == len(set(sources)) == 4
    assert page.count("<li>two of 3 &lt;i&gt;</li>") == 1
    # Another baseline chooses others.
    other = write_report(suite.folder, "cutmix").index.read_text("utf-8")
    assert "Of 400 items, the 2 on which cutmix does best" in other
    assert [i for i in range(5) if f"cutmix says {i}" in other] == [0, 1, 2, 3]
    assert [i for i in range(5) if f"baseline says {i}" in other] == [0, 1, 2, 3]
    (path.parent / "caption" / "texts.json").write_text("[]")
    assert "texts of its items" in page_of(suite)


def test_an_item_another_backbone_was_not_scored_on_has_no_answer_of_it(tmp_path: Path) -> None:
    suite = FakeSuite(tmp_path / "reports" / "mine")
    add(suite, "baseline", [0.5, 0.1])
    add(suite, "cutmix", [0.3])
    page = page_of(suite)
    assert "cutmix says 0" in page
    assert "cutmix says 1" not in page
    assert page.count("<img ") == 2


def test_without_the_baselines_examples_another_chooses(tmp_path: Path) -> None:
    suite = FakeSuite(tmp_path / "reports" / "mine")
    suite.describe(baseline="baseline", backbones=["baseline", "cutmix"], tasks=["caption"], seeds=[0])
    suite.add("baseline", task="caption", status="failed")
    add(suite, "cutmix", [0.3, 0.4])
    assert "Of 400 items, the 1 on which cutmix does worst" in page_of(suite)


def test_where_all_items_are_shown_nothing_was_chosen(tmp_path: Path) -> None:
    suite = FakeSuite(tmp_path / "reports" / "mine")
    add(suite, "baseline", [0.5, 0.1, 0.9], wrong=errors(0.2)[:3])
    page = page_of(suite)
    places = [page.index(f"baseline says {i}") for i in (2, 0, 1)]
    assert places == sorted(places)
    assert "on which baseline does" not in page


def test_the_papers_numbers_stand_beside_ours(tmp_path: Path) -> None:
    suite = FakeSuite(tmp_path / "reports" / "table10")
    suite.add("cutmix", task="caption", metrics=[metric("CIDEr-D", 0.5), metric("BLEU-4", 0.2)])
    page = page_of(suite)
    assert "paper 77.60" in page
    assert "paper 24.90" in page
    assert "CutMix paper, Tables 10 and A1" in page


def test_every_printed_caption_number_names_a_metric_of_the_section() -> None:
    printed = [number for number in published_numbers() if number.task == "caption"]
    assert len(printed) == 4 * 7
    assert {number.key for number in printed} <= {pick.key for pick in SECTION.metrics}
    assert {number.suite for number in printed} == {"table10"}
    assert all(0.2 < number.value < 0.8 for number in printed)
