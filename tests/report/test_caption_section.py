"""The captioning section: captions as they are, the telling examples, the paper's numbers beside ours."""

from html import unescape
from pathlib import Path

from eval_suite.core.records import Example, Metric
from eval_suite.report.published import PUBLISHED
from eval_suite.report.render import build_report
from eval_suite.report.sections import SECTIONS
from tests.report.fake_suite import FakeSuite, errors

EVIL = "“<script>alert(1)</script> Bär & ß” (CIDEr-D 12 %), a person: “<img src=x onerror=alert(1)>”"


def examples(suite: FakeSuite, backbone: str, scores: list[float | None]) -> list[Example]:
    return [
        suite.picture(backbone, f"{i:02d}.png", task="caption").model_copy(
            update={"score": score, "caption": f"{backbone} says {i}", "alt": f"picture {i}"}
        )
        for i, score in enumerate(scores)
    ]


def page_of(suite: FakeSuite) -> str:
    return build_report(suite.folder).index.read_text("utf-8")


def metric(name: str, value: float) -> Metric:
    return Metric(name=name, value=value, higher_is_better=True, n=400)


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
    suite.describe(baseline="baseline", backbones=["baseline", "cutmix"], tasks=["caption"], seeds=[0])
    own = [0.5, 0.1, 0.9, 0.4, 0.8, 0.2, 0.7, 0.3, 0.6, 0.55]
    suite.add("baseline", task="caption", examples=examples(suite, "baseline", [*own]))
    suite.add("cutmix", task="caption", wrong=errors(0.2), examples=examples(suite, "cutmix", [0.0] * 10))
    page = page_of(suite)
    order = [2, 4, 6, 8, 1, 5, 7, 3]
    for backbone in ("baseline", "cutmix"):
        places = [page.index(f"{backbone} says {i}<") for i in order]
        assert places == sorted(places)
        assert f"{backbone} says 0<" not in page
        assert f"{backbone} says 9<" not in page
    assert page.count("Of 10 examples, those on which baseline does best") == 1
    assert page.count("Of 10 examples, those on which baseline does worst") == 1


def test_few_or_unscored_examples_stay_as_they_are(tmp_path: Path) -> None:
    suite = FakeSuite(tmp_path / "reports" / "mine")
    suite.describe(baseline="baseline", backbones=["baseline"], tasks=["caption", "classify"], seeds=[0])
    suite.add("baseline", task="caption", examples=examples(suite, "baseline", [0.5, 0.1, 0.9]))
    plain = [suite.picture("baseline", f"p{i:02d}.png") for i in range(10)]
    suite.add("baseline", examples=plain)
    page = page_of(suite)
    assert [page.index(f"baseline says {i}<") for i in range(3)] == sorted(
        page.index(f"baseline says {i}<") for i in range(3)
    )
    assert page.count("as baseline sees it") == 10
    assert "those on which" not in page


def test_the_papers_numbers_stand_beside_ours(tmp_path: Path) -> None:
    suite = FakeSuite(tmp_path / "reports" / "table10")
    suite.add("cutmix", task="caption", metrics=[metric("CIDEr-D", 0.5), metric("BLEU-4", 0.2)])
    page = page_of(suite)
    assert "paper 77.60" in page
    assert "paper 24.90" in page
    assert "CutMix paper, Tables 10 and A1" in page


def test_every_printed_caption_number_names_a_metric_of_the_section() -> None:
    printed = [number for number in PUBLISHED if number.task == "caption"]
    assert len(printed) == 4 * 7
    assert {number.metric for number in printed} <= set(SECTIONS["caption"].metrics)
    assert {number.suite for number in printed} == {"table10"}
    assert all(0.2 < number.value < 0.8 for number in printed)
