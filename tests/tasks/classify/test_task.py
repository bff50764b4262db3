"""The classify task from images to record, on pictures whose logits can be worked out by hand."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from sklearn.metrics import balanced_accuracy_score, log_loss

from eval_suite.backbones.backbone import finish
from eval_suite.backbones.building import build_net
from eval_suite.backbones.checkpoint import save_checkpoint
from eval_suite.backbones.sources import load_backbone
from eval_suite.backbones.spec import BackboneOptions
from eval_suite.core import runtime
from eval_suite.core.calibration import expected_calibration_error
from eval_suite.core.cards import BackboneCard
from eval_suite.core.errors import BusyError, EvalSuiteError, InputError
from eval_suite.core.predictions import About
from eval_suite.core.records import GitState, Metric
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.core.statistics import bootstrap_mean, wilson_interval
from eval_suite.core.store import Cell, exclusive, read_record
from eval_suite.tasks.base import Score
from eval_suite.tasks.classify.measures import metrics_of
from eval_suite.tasks.classify.predictions import Predictions, read_predictions, write_predictions
from eval_suite.tasks.classify.task import ClassifyOptions, ClassifyTask
from eval_suite.tasks.evaluate import headline, task_named, write_failed
from eval_suite.tasks.external import score_file
from tests.report.fake_suite import id_of
from tests.tasks.running import Evaluated, evaluate

COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}
GAIN = 2.0
# The logits of class i are GAIN times the mean of colour channel 2 - i, so each picture is what its colour says.
FACTORY = f"""
import torch
from torch import nn

class Colours(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body = nn.Conv2d(3, classes, 1, bias=False)
        weight = torch.zeros(classes, 3, 1, 1)
        for i in range(min(classes, 3)):
            weight[i, 2 - i] = {GAIN}
        self.body.weight.data = weight

    def forward(self, x):
        return self.body(x).mean((2, 3))

def colours(num_classes=3):
    return Colours(num_classes)

def four():
    return Colours(4)

def broken():
    net = Colours(3)
    net.body.weight.data[0, 0] = float("nan")
    return net
"""
PLAIN = BackboneOptions(mean=(0, 0, 0), std=(1, 1, 1))

ECE_NAME = "ECE (15 equal-width bins)"


@pytest.fixture(autouse=True)
def _no_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_git_state", lambda: GitState(commit="abc", dirty=False))


def paint(path: Path, colour: tuple[int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 32), colour).save(path)


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Twelve pictures in three classes; green/3 and red/2, red/3 show another colour."""
    for name, colour in COLOURS.items():
        for i in range(4):
            wrong = (name, i) in {("green", 3), ("red", 2), ("red", 3)}
            paint(tmp_path / "world" / "val" / name / f"{i}.png", COLOURS["blue"] if wrong else colour)
    (tmp_path / "model.py").write_text(FACTORY)
    return tmp_path


def classify(
    world: Path,
    *,
    factory: str = "colours",
    source: str | None = None,
    expected: bool = False,
    **options: Any,
) -> Evaluated:
    warnings: list[str] = options.pop("warnings", [])
    batch_size = options.pop("batch_size", 5)
    backbone_options = options.pop("backbone_options", PLAIN)
    chosen = ClassifyOptions(**{"data": f"folder:{world / 'world'}", **options})
    return evaluate(
        ClassifyTask(),
        chosen,
        cell=Cell("s", "colours", 0, world / "out"),
        source=source or f"{world / 'model.py'}:{factory}",
        backbone_options=backbone_options,
        runtime=RuntimeOptions(device="cpu", workers=0, batch_size=batch_size),
        expected=expected,
        warn=warnings.append,
    )


NOTES = [
    "no weights file named: the weights are those the factory returned",
    "the input is 32x32, as the data's images are (--input-size)",
]
HOW_LOADED = [
    *(f"note: {note}" for note in NOTES),
    "order of the outputs",
    "input 32x32; images of another size: bilinear, centre crop of 87.5 %; mean 0.000 0.000 0.000, std 1.000 1.000 1.000",
]


def heads(lines: list[str]) -> list[str]:
    """Lines, that of the outputs' order without the path of the data."""
    return [line.partition(":")[0] if line.startswith("order of") else line for line in lines]


def by_name(metrics: list[Metric]) -> dict[str, Metric]:
    return {f"{metric.name} {metric.subset}" if metric.subset else metric.name: metric for metric in metrics}


def test_the_record_of_twelve_pictures(world: Path) -> None:
    warnings: list[str] = []
    result, path = classify(world, warnings=warnings)
    assert path == world / "out/reports/s/results/colours-s0/classify.json"
    assert read_record(path) == result
    assert heads(warnings) == HOW_LOADED
    assert (result.status, result.error) == ("complete", None)
    assert (result.task.name, result.task.version) == ("classify", 1)
    assert result.task.options == {
        "data": f"folder:{world / 'world'}",
        "split": None,
        "limit": None,
        "strict": False,
        "calibration_split": None,
        "conformal_alpha": 0.1,
    }
    found = by_name(result.metrics)
    top1 = found["Top-1 error"]
    assert (top1.value, top1.n, top1.higher_is_better, top1.unit) == (0.25, 12, False, "fraction")
    assert top1.interval == pytest.approx(wilson_interval(3, 12))
    assert top1.method == "Wilson score"
    assert found["Top-5 error"].value is None
    assert found["Top-5 error"].reason == "there are no more than five classes"
    sure = math.exp(GAIN) / (math.exp(GAIN) + 2)
    nll = (9 * -math.log(sure) + 3 * -math.log((1 - sure) / 2)) / 12
    assert found["NLL"].value == pytest.approx(nll, rel=1e-6)
    assert found["NLL"].unit == "nats"
    assert found[ECE_NAME].value == pytest.approx(abs(0.75 - sure), rel=1e-6)
    accuracy = {name: found[f"Accuracy {name}"] for name in COLOURS}
    assert {name: metric.value for name, metric in accuracy.items()} == {"blue": 1, "green": 0.75, "red": 0.5}
    assert {metric.n for metric in accuracy.values()} == {4}
    assert found["Mean per-class accuracy"].value == pytest.approx(0.75)
    assert len(found) == len(result.metrics) == 15
    for metric in result.metrics:
        if metric.interval is not None and metric.value is not None:
            assert metric.interval[0] <= metric.value <= metric.interval[1]


def test_the_record_tells_the_data_the_backbone_and_the_run(world: Path) -> None:
    result, path = classify(world)
    data = result.data
    assert data is not None
    assert (data.name, data.split) == ("world", "val")
    assert (data.n_available, data.n_requested, data.n_scored, data.n_failed) == (12, 12, 12, 0)
    assert len(data.sha256) == 64
    card = result.backbone
    assert (card.name, card.num_classes, card.input_size) == ("colours", 3, (32, 32))
    assert card.load.notes == NOTES
    assert result.files.predictions == "classify/predictions.npz"
    assert result.files.outcomes == "classify/outcomes.npz"
    assert (path.parent / result.files.predictions).is_file()
    assert set(result.run.seconds) >= {"load", "fit", "predict", "score"}
    assert (result.run.device, result.run.precision, result.run.seed) == ("cpu", "fp32", 0)
    assert result.run.git.commit == "abc"
    curve = next(each for each in result.curves if each.name == "Reliability diagram")
    assert {each.name for each in result.curves} == {"Reliability diagram", "Selective risk"}
    assert len(curve.x) == 15
    assert [y for y in curve.y if y is not None] == [0.75]
    assert curve.x == sorted(curve.x)


def test_the_outcomes_are_the_metrics_item_by_item(world: Path) -> None:
    result, path = classify(world)
    with np.load(path.parent / "classify" / "outcomes.npz", allow_pickle=False) as archive:
        outcomes = {key: archive[key] for key in archive.files}
    ids = outcomes.pop("ids").tolist()
    assert ids == [f"val/{name}/{i}.png" for name in COLOURS for i in range(4)]
    wrong = {ids[i] for i in np.flatnonzero(outcomes[id_of("Top-1 error")])}
    assert wrong == {"val/green/3.png", "val/red/2.png", "val/red/3.png"}
    found = by_name(result.metrics)
    for name in ("Top-1 error", "NLL"):
        assert outcomes[id_of(name)].mean() == pytest.approx(found[name].value)


def test_the_predictions_are_the_logits_of_each_picture(world: Path) -> None:
    _, path = classify(world)
    found = read_predictions(path.parent / "classify" / "predictions.npz")
    expected = np.zeros((12, 3))
    expected[np.arange(12), [0, 0, 0, 0, 1, 1, 1, 0, 2, 2, 0, 0]] = GAIN
    np.testing.assert_allclose(found.logits, expected, atol=1e-6)
    assert found.classes == ["blue", "green", "red"]
    assert found.labels is not None
    assert found.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert found.about.n_available == 12


@pytest.mark.parametrize("batch_size", [1, 12, 100])
def test_the_batch_size_does_not_matter(batch_size: int, world: Path) -> None:
    one, _ = classify(world)
    other, _ = classify(world, batch_size=batch_size)
    assert other.metrics == one.metrics
    assert other.data == one.data


def test_a_limit_makes_the_record_partial(world: Path) -> None:
    warnings: list[str] = []
    result, _ = classify(world, limit=5, warnings=warnings)
    assert result.status == "partial"
    assert result.data is not None
    assert (result.data.n_available, result.data.n_requested, result.data.n_scored) == (12, 5, 5)
    assert result.metrics[0].n == 5
    assert heads(warnings) == [*HOW_LOADED, "warning: partial: scored 5 of 12 items"]
    assert result.task.options["limit"] == 5
    assert classify(world, limit=12).result.status == "complete"


def break_one(world: Path) -> Path:
    """A JPEG cut off in the middle, among the pictures of class blue."""
    path = world / "world" / "val" / "blue" / "9.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def test_a_truncated_picture_is_counted_and_named(world: Path) -> None:
    break_one(world)
    warnings: list[str] = []
    result, path = classify(world, warnings=warnings)
    assert result.status == "partial"
    data = result.data
    assert data is not None
    assert (data.n_available, data.n_requested, data.n_scored, data.n_failed) == (13, 13, 12, 1)
    assert data.failed == ["val/blue/9.jpg"]
    assert heads(warnings[:4]) == HOW_LOADED
    assert "val/blue/9.jpg" in warnings[4]
    assert warnings[5:] == ["warning: partial: scored 12 of 13 items, 1 could not be read"]
    assert by_name(result.metrics)["Top-1 error"].value == 0.25
    assert read_predictions(path.parent / "classify" / "predictions.npz").about.failed == ["val/blue/9.jpg"]


def test_strict_stops_at_a_truncated_picture_and_leaves_nothing(world: Path) -> None:
    break_one(world)
    with pytest.raises(InputError, match=r"cannot read val/blue/9.jpg of .*drop --strict"):
        classify(world, strict=True)
    assert list((world / "out").iterdir()) == []


def test_an_expected_cell_leaves_a_failed_record(world: Path) -> None:
    break_one(world)
    with pytest.raises(InputError):
        classify(world, strict=True, expected=True)
    record = read_record(world / "out/reports/s/results/colours-s0/classify.json")
    assert record.status == "failed"
    assert record.error is not None
    assert record.error.type == "InputError"
    assert "val/blue/9.jpg" in record.error.message
    assert (record.metrics, record.data) == ([], None)
    assert record.backbone.arch.endswith("model.py:colours")


def test_weights_that_give_nan_leave_a_failed_record(world: Path) -> None:
    with pytest.raises(EvalSuiteError, match="gives NaN or infinite logits") as caught:
        classify(world, factory="broken")
    assert caught.value.exit_code == 1
    record = read_record(world / "out/reports/s/results/colours-s0/classify.json")
    assert record.status == "failed"
    assert record.error is not None
    assert "its weights are unusable" in record.error.message


def test_another_number_of_classes_is_wrong_input_and_leaves_nothing(world: Path) -> None:
    with pytest.raises(InputError) as refused:
        classify(world, factory="four")
    assert (refused.value.where, "--classes" in refused.value.remedy) == (f"folder:{world / 'world'}", True)
    assert list((world / "out").iterdir()) == []


def checkpoint(folder: Path, classes: list[str]) -> str:
    torch.manual_seed(0)
    options = {"blocks": 1, "channels": [4, 8, 16]}
    net = build_net("resnet14_demo", len(classes), options)
    card = BackboneCard(
        name="c",
        source="",
        arch="resnet14_demo",
        arch_options=options,
        classes=classes,
        input_size=(32, 32),
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
    )
    save_checkpoint(folder, net.state_dict(), finish(net, card).card)
    return str(folder)


def test_a_checkpoint_is_evaluated_on_its_own_classes_in_any_order(world: Path) -> None:
    source = checkpoint(world / "ck", ["blue", "green", "red"])
    result, _ = classify(world, source=source)
    assert result.status == "complete"
    assert result.backbone.classes == ["blue", "green", "red"]
    source = checkpoint(world / "moved", ["red", "blue", "green"])
    moved, path = classify(world, source=source, expected=True)
    labels = read_predictions(path.parent / "classify" / "predictions.npz").labels
    assert labels is not None
    assert labels.tolist() == [1] * 4 + [2] * 4 + [0] * 4
    assert moved.data == result.data
    source = checkpoint(world / "other", ["blue", "red", "yellow"])
    with pytest.raises(InputError) as refused:
        classify(world, source=source, expected=True)
    assert "green" in refused.value.found


def test_a_tampered_checkpoint_is_not_evaluated(world: Path) -> None:
    source = checkpoint(world / "ck", ["blue", "green", "red"])
    state = load_file(world / "ck" / "model.safetensors")
    save_file({**state, "fc.bias": state["fc.bias"] + 1}, world / "ck" / "model.safetensors")
    with pytest.raises(InputError, match="not the file that its card"):
        classify(world, source=source)


def test_two_runs_do_not_write_the_same_cell(world: Path) -> None:
    folder = Cell("s", "colours", 0, world / "out").results / "classify"
    with (
        exclusive(folder, "evaluating classify"),
        pytest.raises(BusyError, match="is already evaluating classify"),
    ):
        classify(world)


# Scoring a predictions file.


def test_scoring_the_saved_predictions_gives_the_record_again(world: Path) -> None:
    break_one(world)
    result, path = classify(world)
    saved = path.parent / "classify" / "predictions.npz"
    score = score_file(ClassifyTask(), saved, None, None)
    assert score.metrics == result.metrics
    assert score.curves == result.curves
    assert score.data == result.data
    from_truth = score_file(ClassifyTask(), saved, f"folder:{world / 'world'}", None)
    assert from_truth.metrics == result.metrics


def saved(path: Path, **changes: Any) -> Path:
    fields: dict[str, Any] = {
        "logits": np.eye(3, dtype=np.float32) * 3,
        "ids": ["val/red/0.png", "val/blue/1.png", "val/green/2.png"],
        "labels": None,
        "classes": [],
        "about": About("p", "unknown", 3, "", []),
    }
    write_predictions(path / "p.npz", Predictions(**(fields | changes)))
    return path / "p.npz"


def scored(path: Path, truth: str | None = None, split: str | None = None) -> Score:
    return score_file(ClassifyTask(), path, truth, split)


def test_the_labels_come_from_the_truth_by_id(world: Path) -> None:
    truth = f"folder:{world / 'world'}"
    score = scored(saved(world), truth)
    assert by_name(score.metrics)["Top-1 error"].value == 1.0  # 0 is not red, 1 not blue, 2 not green
    score = scored(saved(world, ids=["val/blue/0.png", "val/red/1.png", "val/green/2.png"]), truth, "val")
    assert score.outcomes[id_of("Top-1 error")].tolist() == [0, 1, 1]
    assert (score.data.n_available, score.data.n_scored, score.data.split) == (12, 3, "val")
    # Where the file has labels of its own, the truth that is named wins, and that is said.
    before = score.warnings
    score = scored(saved(world, labels=np.array([0, 1, 2])), truth)
    assert score.outcomes[id_of("Top-1 error")].tolist() == [1, 1, 1]
    (line,) = [line for line in score.warnings if line not in before]
    assert line.startswith("3 of the 3 labels in ")
    same = scored(saved(world, labels=np.array([2, 0, 1])), truth)
    assert [line for line in same.warnings if "labels in" in line] == []


def test_without_ids_the_items_are_those_of_the_truth_in_order(world: Path) -> None:
    truth = f"folder:{world / 'world'}"
    logits = np.eye(3, dtype=np.float32)[np.repeat([0, 1, 2], 4)]
    np.savez(world / "p.npz", logits=logits)
    assert by_name(scored(world / "p.npz", truth).metrics)["Top-1 error"].value == 0
    np.savez(world / "p.npz", logits=logits[:5])
    with pytest.raises(InputError, match=r"holds 5 items without ids, but .* has 12; add an array 'ids'"):
        scored(world / "p.npz", truth)


def test_without_labels_and_truth_nothing_is_scored(world: Path) -> None:
    with pytest.raises(InputError, match="holds no labels; give the ground truth as --truth KIND:PATH"):
        scored(saved(world))


def test_ids_that_the_truth_does_not_have_are_told(world: Path) -> None:
    path = saved(world, ids=["val/red/0.png", "val/red/99.png", "x"])
    with pytest.raises(
        InputError, match=r"such as 'val/blue/0.png' in .*, found 2 others, first 'val/red/99.png'"
    ):
        scored(path, f"folder:{world / 'world'}")


@pytest.mark.parametrize(
    "changes",
    [{"logits": np.eye(3, 4, dtype=np.float32)}, {"classes": ["blue", "red", "gold"]}],
)
def test_a_truth_with_other_classes_is_refused(changes: dict[str, Any], world: Path) -> None:
    with pytest.raises(InputError) as refused:
        scored(saved(world, **changes), f"folder:{world / 'world'}")
    assert refused.value.where == f"folder:{world / 'world'}"
    assert "green" in refused.value.found


def test_a_truth_is_joined_by_the_names_of_classes(world: Path) -> None:
    """The items are red, blue and green, and the outputs in that order."""
    score = scored(saved(world, classes=["red", "blue", "green"]), f"folder:{world / 'world'}")
    assert by_name(score.metrics)["Top-1 error"].value == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.array([0, 1, 3])}, r"0\.\.2 as 'labels' in .*, found 0\.\.3"),
        ({"labels": np.array([-1, 1, 2])}, r"0\.\.2 as 'labels' in .*, found -1\.\.2"),
        (
            {"labels": np.array([0, 1, 1]), "classes": ["a", "b"]},
            "expected 3 names in 'classes'.*, found 2",
        ),
        (
            {"labels": np.zeros(0, int), "ids": [], "logits": np.zeros((0, 3), np.float32)},
            "expected items in .*, found none",
        ),
    ],
)
def test_labels_that_do_not_fit_the_logits_are_refused(
    changes: dict[str, Any], message: str, world: Path
) -> None:
    with pytest.raises(InputError, match=message):
        scored(saved(world, **changes))


def test_nan_in_predictions_is_refused(world: Path) -> None:
    logits = np.eye(3, dtype=np.float32)
    logits[1, 1] = np.nan
    np.savez(world / "p.npz", logits=logits, labels=[0, 1, 2])
    with pytest.raises(InputError, match="found 1 of 3 items with NaN or infinity"):
        scored(world / "p.npz")


def elsewhere(path: Path, n: int = 400, classes: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes - 1, n)  # the last class has no item
    logits = rng.normal(0, 1, (n, classes)).astype(np.float32)
    logits[np.arange(n), labels] += 1
    np.savez(path, logits=logits, labels=labels)
    return logits, labels


def test_predictions_made_elsewhere_agree_with_scikit_learn(tmp_path: Path) -> None:
    logits, labels = elsewhere(tmp_path / "mine.npz")
    score = scored(tmp_path / "mine.npz")
    found = by_name(score.metrics)
    probability = np.exp(logits.astype(np.float64))
    probability /= probability.sum(1, keepdims=True)
    ranks = (-logits).argsort(1)
    assert found["Top-1 error"].value == pytest.approx((ranks[:, 0] != labels).mean())
    assert found["Top-5 error"].value == pytest.approx(1 - (ranks[:, :5] == labels[:, None]).any(1).mean())
    assert found["NLL"].value == pytest.approx(log_loss(labels, probability, labels=np.arange(8)))
    ece = expected_calibration_error(probability.max(1), ranks[:, 0] == labels)
    assert found[ECE_NAME].value == pytest.approx(ece)
    for name in ("NLL", ECE_NAME):
        interval = found[name].interval
        assert interval is not None
        assert interval[0] < interval[1]
    # The classes have no names here; one without items has no accuracy, and does not count in the mean.
    assert "Accuracy 7" not in found
    each = [found[f"Accuracy {i}"].value for i in range(7)]
    assert found["Mean per-class accuracy"].value == pytest.approx(np.mean(each))
    assert (score.data.name, score.data.split, score.data.n_available) == ("mine", "unknown", 400)


def test_the_accuracies_of_the_classes_add_up_to_the_top1_error_also_with_ties(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.integers(0, 3, (300, 6)).astype(np.float32), rng.integers(0, 6, 300)
    np.savez(tmp_path / "p.npz", logits=logits, labels=labels)
    found = by_name(scored(tmp_path / "p.npz").metrics)
    right = sum(
        (metric.value or 0) * metric.n for name, metric in found.items() if name.startswith("Accuracy")
    )
    top1 = found["Top-1 error"].value
    assert top1 is not None
    assert right / 300 == pytest.approx(1 - top1)
    np.savez(tmp_path / "p.npz", logits=np.zeros((6, 6)), labels=np.arange(6))
    constant = by_name(scored(tmp_path / "p.npz").metrics)
    assert (constant["Top-1 error"].value, constant["Mean per-class accuracy"].value) == (1.0, 0.0)


def test_the_mean_over_classes_is_scikit_learns_and_that_of_its_outcomes() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(4, 600, p=[0.6, 0.25, 0.1, 0.05])
    logits = rng.normal(size=(600, 4)).astype(np.float32)
    logits[np.arange(600), labels] += np.array([3.0, 1.0, 0.0, 2.0], np.float32)[labels]
    metrics = metrics_of(logits, labels, list("abcd"))
    found = by_name(metrics.metrics)["Mean per-class accuracy"]
    assert found.value == pytest.approx(balanced_accuracy_score(labels, logits.argmax(1)), abs=1e-15)
    assert metrics.outcomes[found.id].mean() == pytest.approx(found.value, abs=1e-12)
    # The mean of independent shares: their standard errors add up in squares.
    shares = [float((logits.argmax(1) == labels)[labels == label].mean()) for label in range(4)]
    counts = np.bincount(labels)
    spread = np.sqrt(sum(p * (1 - p) / n for p, n in zip(shares, counts, strict=True))) / 4
    assert found.interval is not None
    low, high = found.interval
    # Somewhat wider, since how many items a class has is chance too.
    assert 2 * 1.96 * spread < high - low < 2 * 2 * 1.96 * spread


def test_classes_of_equal_size_make_the_accuracy_and_its_interval() -> None:
    rng = np.random.default_rng(0)
    labels, logits = np.repeat(np.arange(5), 40), rng.normal(size=(200, 5)).astype(np.float32)
    metrics = metrics_of(logits, labels, list("abcde"))
    found = by_name(metrics.metrics)["Mean per-class accuracy"]
    right = logits.argmax(1) == labels
    assert found.interval == pytest.approx(bootstrap_mean(right.astype(float)))
    # That no image is wrong is no proof that none could be.
    logits[np.arange(200), labels] += 100
    whole = by_name(metrics_of(logits, labels, list("abcde")).metrics)["Mean per-class accuracy"]
    assert whole.value == 1
    assert whole.interval == pytest.approx(wilson_interval(200, 200))


def test_scores_do_not_depend_on_the_order_of_items(tmp_path: Path) -> None:
    logits, labels = elsewhere(tmp_path / "a.npz")
    order = np.random.default_rng(1).permutation(len(labels))
    np.savez(tmp_path / "b.npz", logits=logits[order], labels=labels[order])
    one, other = by_name(scored(tmp_path / "a.npz").metrics), by_name(scored(tmp_path / "b.npz").metrics)
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].value == pytest.approx(other[name].value)


# What surrounds the task.


@pytest.mark.parametrize("name", ["clasify", "Classify"])
def test_a_wrong_task_name_gets_the_nearest(name: str) -> None:
    assert isinstance(task_named("classify"), ClassifyTask)
    with pytest.raises(InputError, match="Did you mean 'classify'"):
        task_named(name)


def test_a_task_that_could_not_start_leaves_a_failed_record(tmp_path: Path) -> None:
    cell = Cell("s", "cutmix", 2, tmp_path)
    path = write_failed(
        ClassifyTask(),
        ClassifyOptions(data="folder:x"),
        cell=cell,
        runtime=RuntimeOptions(),
        type_name="DivergenceError",
        message="the loss is NaN",
    )
    assert path == cell.record("classify")
    content = json.loads(path.read_text())
    assert (content["status"], content["error"]) == (
        "failed",
        {"type": "DivergenceError", "message": "the loss is NaN"},
    )
    assert read_record(path).backbone.load.notes == ["not loaded"]


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (
            lambda: Metric(
                key="e", name="E", value=0.25, higher_is_better=False, n=1200, interval=(0.2, 0.3)
            ),
            "E 25.00 % [20.00 %, 30.00 %] (n = 1,200)",
        ),
        (
            lambda: Metric(key="nll", name="NLL", value=1.5, unit="nats", higher_is_better=False, n=3),
            "NLL 1.5 nats (n = 3)",
        ),
        (
            lambda: Metric(key="e", name="E", value=0.5, higher_is_better=False, n=3, subset="svhn"),
            "E [svhn] 50.00 % (n = 3)",
        ),
        (
            lambda: Metric(key="e", name="E", value=None, reason="why", higher_is_better=False, n=3),
            "E: none (why)",
        ),
    ],
)
def test_the_headline_is_the_first_metric_as_one_line(make: Callable[[], Metric], line: str) -> None:
    assert headline([make()]) == line


def test_a_record_is_repeated_but_not_replaced_by_another(world: Path) -> None:
    _, path = classify(world)
    classify(world)
    whole = path.read_bytes()
    with pytest.raises(
        InputError,
        match=r"holds the record of .* on 12 items .*, more than the 3 asked for; .*another --name or --out",
    ):
        classify(world, limit=3)
    shutil.copy(world / "model.py", world / "copy.py")
    with pytest.raises(InputError, match=r"holds the record of .*, made with other source"):
        classify(world, source=f"{world / 'copy.py'}:colours")
    assert path.read_bytes() == whole
    classify(world, limit=4, expected=True)
    with pytest.raises(InputError, match=r"on 4 items of .*, more than the 3 asked for"):
        classify(world, limit=3)
    classify(world, limit=4, strict=True)
    classify(world, limit=5)
    with pytest.raises(InputError, match="made with other mean; keep it"):
        classify(world, backbone_options=BackboneOptions(mean=(0.5, 0.5, 0.5), std=(1, 1, 1)))
    assert classify(world).result.status == "complete"
    assert classify(world, limit=12).result.status == "complete"


def test_a_wrong_request_is_named_before_the_record_that_it_would_replace(world: Path) -> None:
    _, path = classify(world)
    whole = path.read_bytes()
    with pytest.raises(InputError, match="expected a folder with images at absent"):
        classify(world, data="folder:absent")
    with pytest.raises(InputError, match=r"unknown factory .*Did you mean 'colours'"):
        classify(world, factory="colour")
    assert path.read_bytes() == whole


def test_assumed_statistics_are_said(world: Path) -> None:
    def assumed(mean: tuple[float, float, float] | None, std: tuple[float, float, float] | None) -> str:
        warnings = load_backbone(f"{world / 'model.py'}:colours", mean=mean, std=std).card.load.warnings
        return next((warning for warning in warnings if "assumed" in warning), "")

    zeros, ones = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    assert "mean and std" in assumed(None, None)
    assert assumed(zeros, None).startswith("std")
    assert assumed(zeros, ones) == ""


def test_probability_0_for_the_label_leaves_the_nll_infinite(tmp_path: Path) -> None:
    rows = np.array([[1.0, 0, 0], [0, 0.5, 0.5], [0.2, 0.3, 0.5]])
    np.savez(tmp_path / "p.npz", probabilities=rows, labels=[0, 0, 2], ids=["a", "b", "c"], temperature=2.0)
    found = scored(tmp_path / "p.npz")
    metrics = {metric.key: metric for metric in found.metrics}
    for key in ("nll", "nll_scaled"):
        assert metrics[key].value is None, key
        assert "1 of 3" in (metrics[key].reason or "")
    assert [line for line in found.warnings if "'b'" in line]
    assert metrics["brier"].value == pytest.approx((0 + 1.5 + (0.04 + 0.09 + 0.25)) / 3)
    np.savez(tmp_path / "p.npz", probabilities=rows, labels=[0, 1, 2])
    whole = scored(tmp_path / "p.npz")
    nll = {metric.key: metric.value for metric in whole.metrics}["nll"]
    assert nll == pytest.approx(2 * np.log(2) / 3)
    assert not [line for line in whole.warnings if "probability 0" in line]
