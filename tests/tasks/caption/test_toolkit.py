"""Caption scores: by hand, against the toolkit's own evaluation, and what resamples like them."""

import json
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from eval_suite.core.records import Metric
from eval_suite.core.statistics import paired_difference
from eval_suite.data.coco import read_references
from eval_suite.tasks.caption import toolkit
from eval_suite.tasks.caption.java import java_program, toolkit_folder
from eval_suite.tasks.caption.meteor import Meteor, meteor_by, meteor_of, meteor_programs
from eval_suite.tasks.caption.metrics import WITHOUT_JAVA
from eval_suite.tasks.caption.overlap import Words, bleu, bleu_of, cider_d, rouge_l
from eval_suite.tasks.caption.score import linearised, per_image, summarise
from eval_suite.tasks.caption.spice import Spice
from eval_suite.tasks.caption.toolkit import CaptionScores, caption_scores, tokenise
from tests.report.fake_suite import id_of

CANDIDATES = [
    "A man riding a wave on a surfboard.",
    "two dogs play in the snow",
    "A CAFÉ with <b>bold</b> chairs & a 'sign' — \u201copen\u201d",
    "a plate of food ||| with a fork\u2028and knife",
    "the the the",
    "",
    "don't stop; it's half-done (2,000 times)!",
]
REFERENCES = [
    ["a man rides a wave", "A surfer on a wave.\nIn the sea"],
    ["dogs are playing in snow", "two dogs in the snow"],
    ["a café with chairs", "the chairs of a café, <i>outside</i>"],
    ["food on a plate", "a plate with a fork"],
    ["a cat sits", "the cat is sitting there"],
    ["an empty street"],
    ["it's half done", "..."],
]


class Scored(NamedTuple):
    words: Words
    scores: CaptionScores


@pytest.fixture(scope="module")
def java() -> Path:
    found = java_program()
    assert found is not None
    return found


@pytest.fixture(scope="module")
def scored(java: Path) -> Scored:
    words = tokenise(CANDIDATES, REFERENCES, java)
    return Scored(words, caption_scores(words, java))


def test_the_tokens_are_the_toolkits(java: Path, scored: Scored) -> None:
    words = scored.words
    assert words.candidates[0] == "a man riding a wave on a surfboard"
    assert words.candidates[2] == "a café with <b> bold </b> chairs & a sign open"
    assert words.candidates[3] == "a plate of food | | | with a fork and knife"
    assert words.candidates[5] == ""
    assert words.candidates[6] == "do n't stop it 's half-done -lrb- 2,000 times -rrb-"
    assert words.references[0] == ["a man rides a wave", "a surfer on a wave in the sea"]
    assert words.references[6] == ["it 's half done", ""]
    assert tokenise([], [], java) == Words([], [])


@pytest.mark.long
def test_scores_are_the_toolkits_own(
    java: Path, scored: Scored, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its own classes and its own two Java children, fed as its ``evaluate`` feeds them."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor as ToolkitMeteor
    from pycocoevalcap.rouge.rouge import Rouge

    monkeypatch.setenv("PATH", f"{java.parent}{os.pathsep}{os.environ['PATH']}")
    candidates = {i: [text] for i, text in enumerate(scored.words.candidates)}
    references = dict(enumerate(scored.words.references))
    total, each = Bleu(4).compute_score(references, candidates, verbose=0)
    assert scored.scores.bleu.scores == total
    assert scored.scores.bleu.each.tolist() == each
    total, each = Rouge().compute_score(references, candidates)
    assert scored.scores.rouge_l.tolist() == list(each)
    assert scored.scores.rouge_l.mean() == total
    total, each = Cider().compute_score(references, candidates)
    assert scored.scores.cider_d.tolist() == list(each)
    assert scored.scores.cider_d.mean() == total
    theirs = ToolkitMeteor()
    total, each = theirs.compute_score(references, candidates)
    theirs.meteor_p.stderr.close()
    theirs.meteor_p.stdout.close()
    assert scored.scores.meteor is not None
    assert scored.scores.meteor.score == total
    assert scored.scores.meteor.each.tolist() == each


def test_meteor_from_statistics_is_meteors_own(scored: Scored) -> None:
    found = scored.scores.meteor
    assert found is not None
    assert [meteor_of(row) for row in found.statistics] == pytest.approx(found.each.tolist(), abs=1e-12)
    assert meteor_of(found.statistics.sum(axis=0)) == pytest.approx(found.score, abs=1e-12)
    assert found.each[5] == 0.0
    assert 0.2 < found.score < 0.6


def test_a_caption_that_equals_its_reference_has_no_chunk_in_meteor(java: Path) -> None:
    same, other = ["a cat sat on the mat", "two dogs run"], ["a dog ran off", "the bird is red"]
    references = [[same[0]], [same[1], "dogs"], ["the dog ran away"], ["a red bird"]]
    with meteor_programs([*same, *other], references, java) as programs:
        found = meteor_by(programs, [*same, *other], references)
        alone = meteor_by(programs, same, [[same[0]], [same[1]]])
    assert found.each[:2].tolist() == [1.0, 1.0]
    assert [meteor_of(row) for row in found.statistics] == pytest.approx(found.each.tolist(), abs=1e-15)
    assert meteor_of(found.statistics.sum(axis=0)) == pytest.approx(found.score, abs=1e-15)
    assert alone.score == meteor_of(alone.statistics.sum(axis=0)) == 1.0


def test_bleu_from_statistics_is_the_toolkits(scored: Scored) -> None:
    found = scored.scores.bleu
    assert bleu_of(found.statistics.sum(axis=0)).tolist() == pytest.approx(found.scores, rel=1e-12)
    for row, each in zip(found.statistics, found.each.T, strict=True):
        assert bleu_of(row).tolist() == pytest.approx(each.tolist(), rel=1e-9, abs=1e-12)


def test_the_order_of_images_does_not_matter(scored: Scored) -> None:
    words = scored.words
    turned = Words(words.candidates[::-1], words.references[::-1])
    assert cider_d(turned)[::-1] == pytest.approx(scored.scores.cider_d)
    assert rouge_l(turned)[::-1].tolist() == scored.scores.rouge_l.tolist()
    assert bleu(turned).scores == pytest.approx(scored.scores.bleu.scores, rel=1e-12)


def by_name(found: list[Metric]) -> dict[str, Metric]:
    return {metric.name: metric for metric in found}


def test_the_summary_tells_every_metric_with_its_interval(scored: Scored) -> None:
    found = summarise(scored.scores, java=True)
    assert [metric.name for metric in found.metrics] == [
        *("CIDEr-D", "BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "SPICE")
    ]
    metric = by_name(found.metrics)
    spice = metric.pop("SPICE")
    assert spice.value is None
    assert spice.reason is not None
    assert spice.reason.startswith("its models are not in spice/lib")
    for name, each in metric.items():
        assert each.value is not None
        assert each.interval is not None
        assert each.interval[0] <= each.value <= each.interval[1]
        assert each.higher_is_better
        assert found.outcomes[id_of(name)].mean() == pytest.approx(each.value, abs=1e-9)


def test_per_image_scores_are_listed(scored: Scored) -> None:
    rows = per_image(scored.scores, list(range(7)), CANDIDATES)
    assert rows[2]["caption"] == CANDIDATES[2]
    assert {"image_id", "CIDEr-D", "METEOR", "BLEU-4", "ROUGE-L"} < rows[0].keys()
    assert np.mean([row["CIDEr-D"] for row in rows]) == pytest.approx(scored.scores.cider_d.mean())  # type: ignore[arg-type]


def test_linearised_values_resample_as_the_measure_does() -> None:
    rng = np.random.default_rng(0)
    n = 400
    length = rng.integers(8, 13, n)
    rows = []
    for share in (0.5, 0.56):
        correct = np.stack([rng.binomial(length - k, share ** (k + 1)) for k in range(4)], axis=1)
        said = np.stack([length - k for k in range(4)], axis=1)
        rows.append(np.column_stack([length, np.full(n, 10.5), correct, said]).astype(float))

    def measure(total: Any) -> float:
        return float(bleu_of(total)[3])

    a, b = (linearised(each, measure) for each in rows)
    assert a.mean() == pytest.approx(measure(rows[0].sum(axis=0)), abs=1e-12)
    found = paired_difference(b, a)
    draws = [rng.integers(0, n, n) for _ in range(2000)]
    true = [measure(rows[1][d].sum(axis=0)) - measure(rows[0][d].sum(axis=0)) for d in draws]
    low, high = np.quantile(true, [0.025, 0.975])
    assert found.interval == pytest.approx((low, high), abs=0.1 * (high - low))


def test_without_java_every_name_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    words = tokenise(CANDIDATES, REFERENCES, None)
    assert words.candidates[2] == "a café with b bold b chairs a sign open"
    found = summarise(caption_scores(words, None), java=False)
    names = by_name(found.metrics)
    assert WITHOUT_JAVA == " (simple tokenizer, not comparable)"
    assert f"CIDEr-D{WITHOUT_JAVA}" in names
    assert "CIDEr-D" not in names
    assert (names["METEOR"].value, names["METEOR"].reason) == (None, "it needs Java")
    assert (names["SPICE"].value, names["SPICE"].reason) == (None, "it needs Java")
    assert set(found.outcomes) <= {
        each.id for each in names.values() if each.params.get("tokenizer") == "simple"
    }


def test_one_image_has_no_cider_and_no_match_no_slope() -> None:
    scores = caption_scores(Words(["a dog"], [["the cat"]]), None)
    found = by_name(summarise(scores, java=False).metrics)
    cider = found[f"CIDEr-D{WITHOUT_JAVA}"]
    assert (cider.value, cider.reason) == (None, "its word weights need at least two images")
    assert found[f"BLEU-4{WITHOUT_JAVA}"].value == pytest.approx(0.0, abs=1e-6)
    assert f"BLEU-4{WITHOUT_JAVA}" not in summarise(scores, java=False).outcomes


def test_spice_is_shown_where_it_scored_all(scored: Scored) -> None:
    n = len(scored.scores.cider_d)
    whole = scored.scores._replace(spice=Spice(0.5, np.full(n, 0.5)))
    found = summarise(whole, java=True)
    assert by_name(found.metrics)["SPICE"].value == 0.5
    assert "spice" in found.outcomes
    some = whole._replace(spice=Spice(0.5, np.array([0.5] * (n - 1) + [math.nan])))
    metric = by_name(summarise(some, java=True).metrics)["SPICE"]
    assert (metric.value, metric.reason) == (None, f"its program scored {n - 1} of {n} captions only")


def test_the_installed_packages_are_not_written_to(java: Path) -> None:
    folder = toolkit_folder()

    def content() -> set[str]:
        return {str(path) for path in folder.rglob("*") if "__pycache__" not in path.parts}

    before = content()
    tokenise(CANDIDATES, REFERENCES, java)
    assert content() == before


def test_meteor_runs_beside_the_others(monkeypatch: pytest.MonkeyPatch, java: Path) -> None:
    def failing(*_arguments: object) -> Meteor:
        raise RuntimeError("in its thread")

    monkeypatch.setattr(toolkit, "meteor", failing)
    with pytest.raises(RuntimeError, match="in its thread"):
        caption_scores(Words(["a"], [["a"]]), java)


REAL = os.environ.get("EVAL_SUITE_REAL_DATA", "")
PUBLISHED = {
    **dict(zip(("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4"), (0.579, 0.404, 0.279, 0.191), strict=True)),
    **dict(zip(("METEOR", "ROUGE-L", "CIDEr-D"), (0.195, 0.396, 0.600), strict=True)),
}


@pytest.mark.long
@pytest.mark.skipif(not REAL, reason="EVAL_SUITE_REAL_DATA names no folder of real data")
def test_the_toolkits_published_example(java: Path) -> None:
    folder = Path(REAL) / "coco_captions_fakecap"
    truth = read_references(str(folder / "captions_val2014_fakecap_gt.json"))
    said = {
        item["image_id"]: item["caption"]
        for item in json.loads((folder / "captions_val2014_fakecap_results.json").read_text())
    }
    words = tokenise([said[i] for i in truth.image_ids], truth.captions, java)
    found = by_name(summarise(caption_scores(words, java), java=True).metrics)
    assert {name: round(found[name].value or 0.0, 3) for name in PUBLISHED} == PUBLISHED
