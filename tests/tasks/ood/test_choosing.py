"""Hyper-parameters are chosen on validation sets, by the AUROC there, and on nothing else."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from eval_suite.core.errors import InputError
from eval_suite.tasks.ood.choosing import Validation, confidences, fitted
from eval_suite.tasks.ood.confidences import FitOptions, TrainingFeatures
from eval_suite.tasks.ood.confidences.knn import Neighbours
from eval_suite.tasks.ood.confidences.of_logits import Energy
from eval_suite.tasks.ood.confidences.vra import RectifiedActivation
from eval_suite.tasks.ood.features import Outputs
from eval_suite.tasks.ood.options import OodOptions
from eval_suite.tasks.ood.predictions import read_predictions
from tests.tasks.ood.test_task import Evaluated, ood, source

__all__ = ["ood", "source"]
OPTIONS = FitOptions.of(OodOptions(data="folder:x"))
WIDTH = 12


def some_features(n: int, seed: int, shift: float = 0.0) -> Tensor:
    return (torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(seed)) + shift).relu()


def outputs(features: Tensor, layer: nn.Linear) -> Outputs:
    with torch.no_grad():
        logits = layer(features)
    n = len(features)
    return Outputs(
        logits, features, None, {}, np.zeros(n, np.int64), np.arange(n), [b"%d" % i for i in range(n)]
    )


@pytest.fixture
def world() -> tuple[TrainingFeatures, Validation]:
    torch.manual_seed(0)
    layer = nn.Linear(WIDTH, 3)
    training = TrainingFeatures(some_features(300, 0), torch.arange(300) % 3, layer)
    outside = {name: outputs(some_features(80, seed, 0.2), layer) for name, seed in (("a", 2), ("b", 3))}
    return training, Validation(outputs(some_features(100, 1), layer), outside, "val")


def auroc(score: Any, validation: Validation) -> float:
    inside = confidences(score, validation.inside)
    found = []
    for each in validation.outside.values():
        values = torch.cat([inside, confidences(score, each)]).numpy()
        truth = np.arange(len(values)) < len(inside)
        found.append(roc_auc_score(truth, values))
    return float(np.mean(found))


@pytest.mark.parametrize("kind", [Neighbours, RectifiedActivation])
def test_the_candidate_with_the_highest_mean_auroc_is_taken(kind: Any, world: Any) -> None:
    training, validation = world
    ((option, candidates),) = kind.candidates.items()
    reached = []
    for value in candidates:
        score = kind()
        score.fit(training, OPTIONS._replace(**{option: value}))
        reached.append(auroc(score, validation))
    assert len(set(reached)) > 1
    found = fitted(kind(), training, OPTIONS, validation)
    assert auroc(found.score, validation) == pytest.approx(max(reached))
    best = candidates[int(np.argmax(reached))]
    shown = " ".join(f"{each:g}" for each in best) if isinstance(best, tuple) else f"{best:g}"
    assert found.how.startswith(
        f"{option} {shown}, chosen by AUROC ({max(reached):.4f}) on a, b against 'val'"
    )


def test_nothing_is_chosen_without_validation_or_candidates(world: Any) -> None:
    training, validation = world
    assert fitted(Energy(), training, OPTIONS, validation).how == ""
    found = fitted(Neighbours(), training, OPTIONS, None)
    assert found.how == ""
    expected = Neighbours()
    expected.fit(training, OPTIONS)
    given = validation.inside
    np.testing.assert_array_equal(confidences(found.score, given), confidences(expected, given))


def test_candidates_beyond_the_training_images_are_passed_over(world: Any) -> None:
    training, validation = world
    few = training._replace(features=training.features[:30], labels=training.labels[:30])
    found = fitted(Neighbours(), few, OPTIONS, validation)
    assert found.how.startswith(("knn_k 10,", "knn_k 20,"))
    with pytest.raises(InputError, match="at least 50 training images"):
        fitted(Neighbours(), few._replace(features=few.features[:3]), OPTIONS, validation)


def splits(world: Path, into: Path) -> str:
    """The demo's training and validation images, and a third split of other images for choosing."""
    for name in ("train", "val"):
        (into / name).parent.mkdir(exist_ok=True, parents=True)
        (into / name).symlink_to(world / "images" / name)
    for label in sorted((world / "images/train").iterdir()):
        (into / "test" / label.name).mkdir(parents=True)
        for image in sorted(label.iterdir())[:3]:
            (into / "test" / label.name / image.name).symlink_to(image)
    return f"folder:{into}"


def test_what_was_chosen_is_recorded(ood: Any, demo_world: Path, tmp_path: Path) -> None:
    data = splits(demo_world, tmp_path / "images")
    unseen, textures = (f"folder:{demo_world / 'ood' / name}" for name in ("unseen-creatures", "textures"))
    ran: Evaluated = ood(
        data=data,
        split="val",
        outliers=[f"near/{textures}"],
        validation_outliers=[unseen],
        validation_split="test",
        scores=["energy", "ash-s", "odin", "knn"],
        fit_limit=40,
    )
    settings = read_predictions(ran.path.parent / "ood" / "predictions.npz").settings
    for score in ("ash-s", "odin", "knn"):
        assert "chosen by AUROC" in settings[score]
        assert "on unseen-creatures against 'test'" in settings[score]
    assert settings["knn"].startswith("fitted to 40 images of 'train'; knn_k ")
    metric = ran.result.metric("auroc", score="ash_s", sets="near")
    assert metric is not None
    assert "ash_percentile 0." in (metric.method or "")
    assert "energy" not in settings


@pytest.mark.parametrize(
    "given",
    [
        {"outliers": ["near/a=folder:x"], "validation_outliers": ["b=folder:./x"], "validation_split": "val"},
        {"outliers": ["uniform"], "validation_outliers": ["uniform"], "validation_split": "val"},
        {"outliers": ["a=folder:x"], "shifted": ["b=folder:x"]},
        {"outliers": ["a=folder:x"], "validation_outliers": ["b=folder:y"]},
        {"outliers": ["a=folder:x"], "validation_split": "val"},
        {"split": "val", "validation_outliers": ["b=folder:y"], "validation_split": "val"},
        {"scores": ["knn"], "validation_outliers": ["b=folder:y"], "validation_split": "train"},
        {"outliers": ["non_noise/a=folder:x"]},
        {"vra_percentiles": [0.9, 0.5]},
        {"ash_percentile": 1.0},
        {"nnguide_k": 0},
    ],
)
def test_wrong_choices_are_refused_before_anything_runs(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        OodOptions(data="folder:z", **given)
    assert caught.value.error_count() == 1


def test_validation_images_that_are_reported_ones_are_refused(
    ood: Any, demo_world: Path, tmp_path: Path
) -> None:
    import shutil

    data = splits(demo_world, tmp_path / "images")
    textures = demo_world / "ood" / "textures"
    shutil.copytree(textures, tmp_path / "copied")
    common = {"data": data, "split": "val", "outliers": [f"folder:{textures}"], "scores": ["ash-s"]}
    with pytest.raises(InputError, match="those of validation set 'copied'"):
        ood(**common, validation_outliers=[f"folder:{tmp_path / 'copied'}"], validation_split="test")
    unseen = [f"folder:{demo_world / 'ood' / 'unseen-creatures'}"]
    shutil.rmtree(tmp_path / "images" / "test")
    shutil.copytree(demo_world / "images" / "val", tmp_path / "images" / "test")
    with pytest.raises(InputError, match="in validation split 'test'"):
        ood(**common, validation_outliers=unseen, validation_split="test")
    with pytest.raises(InputError, match="another validation_split"):
        ood(**(common | {"split": None}), validation_outliers=unseen, validation_split="val")


@pytest.mark.parametrize(
    "given",
    [lambda logits, _: logits.numpy().max(1), lambda logits, _: logits.max(), lambda logits, _: logits],
)
def test_a_score_that_gives_no_number_an_image_is_refused(given: Any, world: Any) -> None:
    given.name = "mine"
    with pytest.raises(InputError, match=r"tensor \(100,\) from the score 'mine'"):
        confidences(given, world[1].inside)
