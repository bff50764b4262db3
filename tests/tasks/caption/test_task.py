"""The caption task from images to record, and predictions and truths that are wrong."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from eval_suite.backbones.checkpoint import state_sha256
from eval_suite.backbones.spec import BackboneOptions
from eval_suite.core import runtime
from eval_suite.core.errors import EvalSuiteError, InputError
from eval_suite.core.records import GitState
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.core.store import Cell, read_record
from eval_suite.data.coco import open_captions
from eval_suite.tasks.caption import examples as pictures
from eval_suite.tasks.caption.options import CaptionOptions
from eval_suite.tasks.caption.overlap import Words, bleu, cider_d
from eval_suite.tasks.caption.predictions import write_captions
from eval_suite.tasks.caption.score import drawn_captions
from eval_suite.tasks.caption.task import CaptionTask
from eval_suite.tasks.caption.toolkit import tokenise
from eval_suite.tasks.external import score_file
from tests.tasks.running import Evaluated, evaluate

FACTORY = """
import torch
from torch import nn

def make():
    torch.manual_seed(5)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 4))
    return nn.Sequential(nn.Conv2d(3, 8, 5, 4), nn.ReLU(), nn.Conv2d(8, 12, 3, 2), head)

def broken():
    net = make()
    net[2].bias.data[0] = float("nan")
    return net

def tokens():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(4))
"""


def said_in(file: Path) -> dict[int, str]:
    return {entry["image_id"]: entry["caption"] for entry in json.loads(file.read_text())}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No git; and no Java, whose METEOR takes seconds to start: tests of the metrics and of a whole suite have it."""
    monkeypatch.setattr(runtime, "_git_state", lambda: GitState(commit="abc", dirty=False))
    monkeypatch.setattr("eval_suite.tasks.caption.score.java_program", lambda: None)


@pytest.fixture
def own_coco(demo_world: Path, tmp_path: Path) -> Path:
    """A copy of the demo's captions to damage."""
    return Path(shutil.copytree(demo_world / "coco", tmp_path / "coco"))


def caption(folder: Path, coco: str | Path, **changes: Any) -> Evaluated:
    factory, expected = changes.pop("factory", "make"), changes.pop("expected", False)
    batch_size, warnings = changes.pop("batch_size", 5), changes.pop("warnings", [])
    (folder / "net.py").write_text(FACTORY)
    settings = {"embed": 8, "hidden": 16, "epochs": 2, "min_count": 2, "beam": 3, "data": f"coco:{coco}"}
    return evaluate(
        CaptionTask(),
        CaptionOptions(**{**settings, **changes}),
        cell=Cell("s", "tiny", 0, folder),
        source=f"{folder / 'net.py'}:{factory}",
        backbone_options=BackboneOptions(input_size=(64, 64), mean=(0, 0, 0), std=(1, 1, 1)),
        runtime=RuntimeOptions(device="cpu", workers=0, batch_size=batch_size),
        expected=expected,
        warn=warnings.append,
    )


def test_the_record_of_the_demo_world(demo_world: Path, tmp_path: Path) -> None:
    result, path = caption(tmp_path, demo_world / "coco")
    assert read_record(path) == result
    truth = open_captions(f"coco:{demo_world / 'coco'}")
    assert result.status == "complete"
    assert result.data is not None
    assert (result.data.name, result.data.split, result.data.n_scored) == ("coco", "val2014", len(truth))
    assert result.task.paper.title.startswith("Show and Tell")
    assert (result.task.options["embed"], result.task.options["hidden"]) == (8, 16)
    said = said_in(path.parent / "caption" / "predictions.json")
    assert list(said) == truth.image_ids
    values = cider_d(tokenise(list(said.values()), truth.captions, None))
    metric = result.metric("cider_d", tokenizer="simple")
    assert metric is not None
    assert metric.value == pytest.approx(values.mean())
    with np.load(path.parent / "caption" / "outcomes.npz") as outcomes:
        assert outcomes["ids"].tolist() == [str(i) for i in truth.image_ids]
        assert outcomes[metric.id].tolist() == pytest.approx(values.tolist())
        for name in outcomes.files[1:]:
            found = next(each for each in result.metrics if each.id == name)
            assert outcomes[name].mean() == pytest.approx(found.value)
    listed = json.loads((path.parent / "caption" / "per_image.json").read_text())
    assert [row["caption"] for row in listed] == list(said.values())
    weights = load_file(tmp_path / "checkpoints/s/tiny-s0/caption/model.safetensors")
    assert result.backbone.fitted_sha256 == {"captioner": state_sha256(weights)}


def test_captions_of_other_images_are_the_control(demo_world: Path, tmp_path: Path) -> None:
    result, _ = caption(tmp_path, demo_world / "coco", epochs=1)
    spec = f"coco:{demo_world / 'coco'}"
    texts = [text for each in open_captions(spec, "train2014").captions for text in each]
    truth = open_captions(spec)
    drawn = drawn_captions(CaptionOptions(data=spec), len(truth))
    assert set(drawn) <= set(texts)
    assert drawn == drawn_captions(CaptionOptions(data=spec), len(truth))
    words = tokenise(drawn, truth.captions, None)
    cider = result.metric("cider_d", tokenizer="simple")
    bleu4 = result.metric("bleu", order=4, tokenizer="simple")
    assert cider.controls == {"captions of other images": pytest.approx(cider_d(words).mean())}
    assert bleu4.controls == {"captions of other images": pytest.approx(bleu(words).scores[3])}
    # Predictions of other tools may come without a training split.
    assert drawn_captions(CaptionOptions(data="coco:nowhere"), 3) == []


def test_the_examples_are_the_best_and_worst_of_all(
    demo_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "_EACH", 2)
    result, path = caption(tmp_path, demo_world / "coco", split="train2014", train_split="train2014")
    truth = open_captions(f"coco:{demo_world / 'coco'}", "train2014")
    said = said_in(path.parent / "caption" / "predictions.json")
    assert result.files.texts == "caption/texts.json"
    texts = json.loads((path.parent / result.files.texts).read_text())
    assert list(texts) == [str(image_id) for image_id in truth.image_ids]
    with np.load(path.parent / "caption" / "outcomes.npz") as outcomes:
        scores = dict(
            zip(outcomes["ids"].tolist(), outcomes["cider_d{tokenizer=simple}"].tolist(), strict=True)
        )
    assert (len(truth), len(result.examples)) == (8, 4)
    shown = [scores[str(example.item)] for example in result.examples]
    ordered = sorted(scores.values())
    assert shown == pytest.approx([*ordered[:-3:-1], *ordered[:2]])
    for example in result.examples:
        place = truth.image_ids.index(int(str(example.item)))
        assert example.alt == truth.files[place]
        assert example.score == pytest.approx(scores[str(example.item)])
        assert example.caption == texts[str(example.item)]
        assert example.caption.startswith(f"“{said[truth.image_ids[place]]}” (CIDEr-D ")
        assert example.references == truth.captions[place]
    files = {str(file.relative_to(path.parent)) for file in path.parent.glob("caption/examples/*")}
    assert files == {example.image for example in result.examples}


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [
        ([0.5, 0.1, 0.9, 0.4, 0.8], [2, 4, 1, 3]),
        ([0.5, 0.1, 0.9, 0.4], [2, 0, 3, 1]),
        ([0.2] * 6, [0, 1, 2, 3]),
        ([0.2, 0.0, 0.0, 0.0, 0.0], [0, 1, 2, 3]),
        ([0.3], [0]),
    ],
)
def test_the_best_come_first_and_of_equals_the_earlier(scores: list[float], chosen: list[int]) -> None:
    assert pictures.best_and_worst(np.array(scores), each=2) == chosen


def test_captions_do_not_hang_on_the_batch_size(demo_world: Path, tmp_path: Path) -> None:
    found = []
    for size in (1, 4, 100):
        (tmp_path / str(size)).mkdir()
        path = caption(tmp_path / str(size), demo_world / "coco", batch_size=size).path
        found.append(said_in(path.parent / "caption" / "predictions.json"))
    assert found[0] == found[1] == found[2]


def test_a_limit_makes_the_record_partial(demo_world: Path, tmp_path: Path) -> None:
    warnings: list[str] = []
    result, _ = caption(tmp_path, demo_world / "coco", limit=3, warnings=warnings)
    available = len(open_captions(f"coco:{demo_world / 'coco'}"))
    assert (result.status, warnings[-1]) == (
        "partial",
        f"warning: partial: scored 3 of {available} items",
    )


def test_unreadable_images_are_counted_and_named(own_coco: Path, tmp_path: Path) -> None:
    truth = open_captions(f"coco:{own_coco}")
    (own_coco / truth.files[1]).write_bytes(b"no image")
    result, _ = caption(tmp_path, own_coco)
    assert result.status == "partial"
    assert result.data is not None
    assert (result.data.n_failed, result.data.failed) == (1, [truth.files[1]])
    with pytest.raises(InputError, match="drop --strict"):
        caption(tmp_path, own_coco, strict=True)


@pytest.mark.parametrize("fine_tune", [False, True])
def test_the_record_tells_what_the_decoder_was_fitted_to(
    own_coco: Path, tmp_path: Path, fine_tune: bool
) -> None:
    train = open_captions(f"coco:{own_coco}", "train2014")
    (own_coco / train.files[2]).write_bytes(b"no image")
    damaged = open_captions(f"coco:{own_coco}", "train2014")
    said = f"of {len(train)} items of coco, train2014: 1 could not be read, first: {train.files[2]}"
    for _ in ("fitted", "loaded"):
        warnings: list[str] = []
        result, path = caption(tmp_path, own_coco, fine_tune=fine_tune, epochs=1, warnings=warnings)
        assert read_record(path) == result
        assert f"warning: fitted to {len(train) - 1} {said}" in warnings
        assert (result.task.options["split"], result.task.options["train_split"]) == ("val2014", "train2014")
        fitted = result.fitted_to
        assert fitted is not None
        assert (fitted.name, fitted.split, fitted.sha256) == ("coco", "train2014", damaged.sha256())
        counts = (fitted.n_available, fitted.n_requested, fitted.n_scored, fitted.n_failed)
        assert counts == (len(train), len(train), len(train) - 1, 1)
        assert fitted.failed == [train.files[2]]


@pytest.mark.parametrize("option", ["split", "train_split"])
def test_a_split_that_is_not_there_is_refused_before_anything_is_fitted(
    own_coco: Path, tmp_path: Path, option: str
) -> None:
    with pytest.raises(InputError, match=r"expected the split 'val2017' in .*, found: train2014, val2014"):
        caption(tmp_path, own_coco, **{"train_split": "train2014", option: "val2017"})
    assert not (tmp_path / "checkpoints").exists()


def test_no_readable_image_is_an_error(own_coco: Path, tmp_path: Path) -> None:
    for file in (own_coco / "val2014").iterdir():
        file.unlink()
    with pytest.raises(InputError, match=r"no image in split 'val2014' .* can be read"):
        caption(tmp_path, own_coco)


def test_a_backbone_of_infinite_features_cannot_caption(demo_world: Path, tmp_path: Path) -> None:
    with pytest.raises(EvalSuiteError, match="stopped being finite"):
        caption(tmp_path, demo_world / "coco", factory="broken", expected=True)
    record = read_record(tmp_path / "reports/s/results/tiny-s0/caption.json")
    assert record.status == "failed"


def test_without_a_training_split_nothing_is_fitted(own_coco: Path, tmp_path: Path) -> None:
    (own_coco / "annotations" / "captions_train2014.json").unlink()
    with pytest.raises(
        InputError, match=r"expected 'train2014' next to 'val2014' in coco:.*, found: val2014; name"
    ):
        caption(tmp_path, own_coco)
    assert not (tmp_path / "reports").exists()
    assert caption(tmp_path, own_coco, train_split="val2014").result.status == "complete"


def test_a_training_split_of_no_known_pair_must_be_named(own_coco: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"expected a training split next to 'train2014' in .*; name .* with --train-split"
    ):
        caption(tmp_path, own_coco, split="train2014")


REFERENCES = {1: ["a dog", "the dog"], 2: ["ein Bär <script>alert(1)</script>"], 3: ["a cat on a mat"]}


@pytest.fixture
def truth(tmp_path: Path) -> str:
    content = {
        "images": [{"id": i} for i in REFERENCES],
        "annotations": [
            {"image_id": i, "caption": text} for i, texts in REFERENCES.items() for text in texts
        ],
    }
    (tmp_path / "truth.json").write_text(json.dumps(content))
    return str(tmp_path / "truth.json")


def score(folder: Path, said: Any, truth: str | None) -> Any:
    path = folder / "said.json"
    path.write_text(said if isinstance(said, str) else json.dumps(said))
    return score_file(CaptionTask(), path, truth, None)


def results(said: dict[int, str]) -> list[dict[str, Any]]:
    return [{"image_id": image_id, "caption": text} for image_id, text in said.items()]


def test_captions_made_elsewhere_are_scored(
    tmp_path: Path, truth: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = {3: "a cat", 1: "a dog", 2: "Bär & <b>ß</b>"}
    found = score(tmp_path, results(said), truth)
    assert found.ids == ["1", "2", "3"]
    assert found.data.n_scored == found.data.n_available == 3
    words = Words(
        ["a dog", "bär b ß b", "a cat"],
        [["a dog", "the dog"], ["ein bär script alert 1 script"], ["a cat on a mat"]],
    )
    assert found.outcomes["cider_d{tokenizer=simple}"] == pytest.approx(cider_d(words))
    assert found.examples == []
    assert "no Java found" in capsys.readouterr().err


def test_images_without_a_caption_are_named_and_counted(
    tmp_path: Path, truth: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = score(tmp_path, results({1: "a dog", 3: "a cat"}), truth)
    assert (found.data.n_available, found.data.n_scored, found.data.n_failed) == (3, 2, 1)
    assert found.data.failed == ["2"]
    assert "warning: 1 of 3 images have no caption, first: 2" in capsys.readouterr().err


def test_an_empty_caption_is_a_caption(tmp_path: Path, truth: str) -> None:
    found = score(tmp_path, results({1: "", 2: " ", 3: "..."}), truth)
    assert found.data.n_scored == 3
    assert found.outcomes["cider_d{tokenizer=simple}"].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("{", "expected JSON in"),
        ({"1": 2}, "expected COCO's results, .* found {'1': 2}"),
        ([], "found no caption"),
        ([{"image_id": 1}], "found at 0: "),
        ([{"image_id": True, "caption": "a"}], "found at 0: "),
        (
            [{"image_id": 1, "caption": "a"}, {"image_id": 1, "caption": "b"}],
            "one caption .* found two for image 1",
        ),
        (
            [{"image_id": 1, "caption": "a"}, {"image_id": 9, "caption": "b"}],
            "1 ids of .* are not in .*, first: '9'",
        ),
        ([1], r"expected COCO's results, .* found \[1\]"),
    ],
)
def test_predictions_that_are_none(tmp_path: Path, truth: str, said: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        score(tmp_path, said, truth)


def test_no_truth_and_no_file(tmp_path: Path, truth: str) -> None:
    with pytest.raises(InputError, match="captions need references; give them as --truth"):
        score(tmp_path, results({1: "a"}), None)
    with pytest.raises(InputError, match=r"expected a predictions file at nothing.json, found none"):
        score_file(CaptionTask(), Path("nothing.json"), truth, None)


def test_captions_none_of_which_are_wanted(demo_world: Path, tmp_path: Path) -> None:
    captions = open_captions(f"coco:{demo_world / 'coco'}")
    write_captions(tmp_path / "said.json", {captions.image_ids[1]: "a dog"})
    options = CaptionOptions(data=f"coco:{demo_world / 'coco'}", limit=1)
    with pytest.raises(InputError, match="has no caption for any of the 1 images to score"):
        CaptionTask().score(tmp_path / "said.json", options, None, None)


def test_what_was_left_out_of_a_truth_is_said(
    tmp_path: Path, truth: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads(Path(truth).read_text())
    content["annotations"].append({"image_id": 1, "caption": "  "})
    Path(truth).write_text(json.dumps(content))
    score(tmp_path, results({1: "a dog", 2: "b", 3: "c"}), truth)
    assert f"warning: 1 empty captions in {truth} were left out" in capsys.readouterr().err


def test_sizes_are_resolved_from_the_decoder() -> None:
    assert CaptionOptions(data="x").decoder_size() == (100, 300)
    assert CaptionOptions(data="x", decoder="large").decoder_size() == (512, 512)
    assert CaptionOptions(data="x", decoder="large", hidden=7).decoder_size() == (512, 7)
    assert CaptionOptions(data="x").model_dump()["embed"] == 100


def test_what_only_the_search_needs_does_not_decide_the_fit() -> None:
    plain = CaptionOptions(data="x")
    others = CaptionOptions(data="y", beam=1, longest_output=5, length_penalty=1, fixed_length=True, limit=2)
    assert plain.deciding_fit() == others.deciding_fit()
    assert plain.deciding_fit() != CaptionOptions(data="x", dropout=0.0).deciding_fit()


def test_the_command_ends_with_the_headline_and_where_the_fitted_model_lies(
    cli: Callable[..., Any], demo_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(FACTORY)
    said = cli(
        *("caption", "--backbone", "net.py:make", "--data", f"coco:{demo_world / 'coco'}", "--name", "tiny"),
        *("--embed", 8, "--hidden", 16, "--epochs", 1, "--beam", 1, "--input-size", 64, 64),
        *("--device", "cpu", "--workers", 0, "--threads", 1),
    )
    assert said.code == 0, said.err
    assert said.out.startswith("tiny-s0  CIDEr-D")
    folder = Path("checkpoints/single/tiny-s0/caption")
    assert said.out.endswith(f"→ reports/single/results/tiny-s0/caption.json; fine-tuned: {folder}\n")
    assert any(folder.glob("*.safetensors"))


def test_the_short_form_has_fewer_epochs() -> None:
    assert CaptionOptions(data="x").smoke_options(2, None) == {"epochs": 2}
    assert CaptionOptions(data="x").smoke_options(None, 3) == {"limit": 3}
