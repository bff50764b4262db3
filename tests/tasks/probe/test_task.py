"""The probe task from a backbone to its record, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from pydantic import ValidationError
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn

import eval_suite
from eval_suite.backbones.backbone import Backbone
from eval_suite.core.errors import EvalSuiteError, InputError
from eval_suite.core.predictions import About
from eval_suite.core.records import Record
from eval_suite.data.images import open_images
from eval_suite.tasks.evaluate import evaluate
from eval_suite.tasks.probe import fit as fitting
from eval_suite.tasks.probe.options import ProbeOptions
from eval_suite.tasks.probe.predictions import Predictions, read_predictions, write_predictions
from eval_suite.tasks.probe.score import score


class Means(nn.Module):
    """The mean colour of each quarter of an image: features that need no training."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.fc = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(self.pool(x).flatten(1) * self.factor)
        return out


def backbone(factor: float = 1.0) -> Backbone:
    return Backbone.wrap(Means(factor), mean=(0.5,) * 3, std=(0.25,) * 3, input_size=(64, 64))


def run(data: Path, factor: float = 1.0, **options: Any) -> Record:
    settings = {"knn_k": 5, "linear_c": [0.1, 1.0, 10.0], **options}
    return evaluate(
        backbone(factor), "probe", data=f"folder:{data / 'images'}", device="cpu", workers=0, **settings
    )


def test_a_record_of_both_probes(demo_world: Path, tmp_path: Path) -> None:
    record = run(demo_world, out=tmp_path / "reports" / "x", fractions=[0.5, 1.0])
    ids = [metric.id for metric in record.metrics]
    assert len(set(ids)) == len(ids) == 12
    assert "probe_top1_error{k=5,probe=knn}" in ids
    assert "probe_top1_error{fraction=0.5,probe=linear}" in ids
    # Against scikit-learn on the same features.
    cached = sorted((tmp_path / "checkpoints").rglob("features/*.npy"))
    index = {n: open_images(f"folder:{demo_world / 'images'}", n) for n in ("train", "val")}
    by_size = {len(np.load(path)): np.load(path) for path in cached}
    assert set(by_size) == {len(index["train"]), len(index["val"])}
    model = KNeighborsClassifier(
        5, metric="cosine", algorithm="brute", weights=lambda d: np.exp((1 - d) / 0.07)
    ).fit(by_size[len(index["train"])], index["train"].labels)
    wrong = model.predict(by_size[len(index["val"])]) != index["val"].labels
    found = record.metric("probe_top1_error", probe="knn", k=5)
    assert found is not None
    assert found.value == pytest.approx(wrong.mean())
    assert found.interval is not None
    assert record.fitted_to is not None
    assert record.fitted_to.n_scored == len(index["train"])
    assert "probe" in record.backbone.fitted_sha256


def test_the_images_that_neighbours_know_least_are_shown_with_them(demo_world: Path, tmp_path: Path) -> None:
    record = run(demo_world, out=tmp_path / "reports" / "x", probes=["knn"])
    folder = next((tmp_path / "reports/x").rglob("probe/predictions.npz")).parent
    assert len(record.examples) == 4
    with np.load(folder / "predictions.npz") as file:
        of_true = file["scores/knn"][np.arange(len(file["labels"])), file["labels"]]
        worst = file["ids"][np.argsort(of_true, kind="stable")[:4]].tolist()
    assert [example.alt for example in record.examples] == worst
    for example in record.examples:
        assert example.caption.count("(") == 4
        with Image.open(folder.parent / example.image) as picture:
            assert picture.size == (5 * 90 + 4 * 4, 90)


def test_what_was_fitted_is_read_again(
    demo_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(demo_world, out=tmp_path / "reports" / "x")
    monkeypatch.setattr(fitting, "fit_linear", None)
    again = run(demo_world, out=tmp_path / "reports" / "x", overwrite=True)
    assert [metric.value for metric in again.metrics] == [metric.value for metric in first.metrics]
    description = json.loads(next((tmp_path / "checkpoints").rglob("probes.json")).read_text())
    assert set(description["fitted"]["1"]["accuracies"]) == {"0.1", "1", "10"}


def test_the_same_weights_behind_another_pooling_are_fitted_anew(demo_world: Path, tmp_path: Path) -> None:
    run(demo_world, out=tmp_path / "reports" / "x")
    other = backbone()
    other.net.pool = nn.AdaptiveMaxPool2d(2)
    given: dict[str, Any] = {"data": f"folder:{demo_world / 'images'}", "device": "cpu", "workers": 0}
    given |= {"knn_k": 5, "linear_c": [0.1, 1.0, 10.0]}
    with pytest.raises(InputError, match="other behaviour"):
        evaluate(other, "probe", out=tmp_path / "reports" / "x", **given)
    again = evaluate(other, "probe", out=tmp_path / "reports" / "x", overwrite=True, **given)
    alone = evaluate(other, "probe", **given)
    assert [metric.value for metric in again.metrics] == [metric.value for metric in alone.metrics]


def test_backbones_are_compared_in_pairs(demo_world: Path) -> None:
    records = [run(demo_world, name=name, factor=factor) for name, factor in (("a", 1.0), ("b", 2.0))]
    table = eval_suite.compare(records, baseline="a")
    row = table[(table.key == "probe_top1_error") & (table.backbone == "b")].iloc[0]
    # Twice the features are the same directions, so that no vote changes.
    assert (row.difference, row.verdict, row.refused) == (0.0, "tied", "")


@pytest.mark.parametrize("factor", [0.0, float("nan")])
def test_unusable_features_are_an_error(factor: float, demo_world: Path) -> None:
    with pytest.raises(EvalSuiteError, match="unusable"):
        run(demo_world, factor=factor)


def test_more_neighbours_than_training_images_are_refused(demo_world: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        run(demo_world, knn_k=1000, out=tmp_path / "reports" / "x")
    assert "1000" in caught.value.expected
    assert not list(tmp_path.rglob("*.npz"))
    with pytest.raises(InputError, match="--fractions"):
        run(demo_world, knn_k=15, fractions=[0.1, 1.0])


def test_a_probe_is_not_fitted_to_the_evaluated_split(demo_world: Path) -> None:
    for options in ({"split": "train"}, {"train_split": "val"}):
        with pytest.raises(InputError, match="another split"):
            run(demo_world, **options)
    with pytest.raises(ValidationError):
        ProbeOptions(data="folder:x", split="a", train_split="a")


@pytest.mark.parametrize(
    "wrong",
    [
        {"fractions": [0.0]},
        {"fractions": [1.5]},
        {"knn_k": 0},
        {"knn_temperature": 0},
        {"linear_c": []},
        {"probes": []},
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ProbeOptions(data="folder:x", **wrong)


def test_a_classifier_is_probed_at_the_input_of_its_last_layer(demo_world: Path) -> None:
    torch.manual_seed(0)
    net = timm.create_model("resnet10t", num_classes=3)
    record = evaluate(
        Backbone.wrap(net, input_size=(32, 32)),
        "probe",
        data=f"folder:{demo_world / 'images'}",
        probes=["knn"],
        knn_k=3,
        device="cpu",
        workers=0,
    )
    assert not record.backbone.headless
    assert record["probe_top1_error"].value is not None


def predictions(**changes: Any) -> Predictions:
    scores = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.5, 0.5, 0.0]], np.float32)
    given: dict[str, Any] = {
        "scores": {"knn@0.1": scores},
        "ids": ["a", "b", "c"],
        "labels": np.array([0, 2, 1]),
        "classes": ["x", "y", "z"],
        "about": About("set", "val", 3, "", []),
        "settings": {"knn_k": "20"},
    }
    return Predictions(**{**given, **changes})


def test_scores_by_hand_where_ties_count_against(tmp_path: Path) -> None:
    write_predictions(tmp_path / "p.npz", predictions())
    found = score(tmp_path / "p.npz", None, None, None)
    top1 = found.metrics[0]
    assert top1.controls == pytest.approx({"chance": 2 / 3, "most frequent class": 2 / 3})
    assert (top1.id, top1.value) == ("probe_top1_error{fraction=0.1,k=20,probe=knn}", pytest.approx(2 / 3))
    assert found.metrics[2].value == pytest.approx(1 / 3)  # classes 0, 2, 1 by themselves: 1, 0, 0
    assert read_predictions(tmp_path / "p.npz").scores["knn@0.1"].shape == (3, 3)


@pytest.mark.parametrize(
    "changes",
    [
        {"scores": {}},
        {"scores": {"knn@many": np.zeros((3, 3), np.float32)}},
        {"scores": {"knn": np.full((3, 3), np.nan, np.float32)}},
        {"labels": np.array([0, 1, 3])},
        {"labels": None},
    ],
)
def test_files_that_do_not_fit_together_are_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    write_predictions(tmp_path / "p.npz", predictions(**changes))
    with pytest.raises(InputError):
        score(tmp_path / "p.npz", None, None, None)
