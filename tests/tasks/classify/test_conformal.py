"""Conformal sets: by hand, by what they promise, and against a plain reference."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eval_suite.core.errors import InputError
from eval_suite.core.predictions import About
from eval_suite.tasks.classify.conformal import (
    METHODS,
    RAPS_RANK,
    RAPS_WEIGHT,
    ConformalMethod,
    PredictionSets,
    conformal_quantile,
    prediction_sets,
    scores,
)
from eval_suite.tasks.classify.options import ClassifyOptions
from eval_suite.tasks.classify.predictions import Predictions, read_predictions, write_predictions
from eval_suite.tasks.classify.score import score
from tests.tasks.classify.test_temperature import run

Floats = NDArray[np.float64]


class Fixed:
    """Gives one number in the place of random ones."""

    def __init__(self, value: float) -> None:
        self.value = value

    def random(self, shape: tuple[int, ...]) -> Floats:
        return np.full(shape, self.value)


def problem(n: int, classes: int = 8, seed: int = 0) -> tuple[Floats, NDArray[np.int64]]:
    """Probabilities that labels are drawn from, so that the network is calibrated."""
    rng = np.random.default_rng(seed)
    raw = np.exp(2 * rng.normal(size=(n, classes)))
    probabilities = raw / raw.sum(1, keepdims=True)
    labels = np.array([rng.choice(classes, p=row) for row in probabilities])
    return probabilities, labels


def test_the_quantile_by_hand() -> None:
    values = np.array([3.0, 1, 4, 2, 5, 9, 8, 7, 6])
    assert conformal_quantile(values, 0.1) == 9  # the ninth of nine
    assert conformal_quantile(values, 0.5) == 5
    assert conformal_quantile(values, 0.05) == np.inf  # the tenth of nine
    assert conformal_quantile(np.arange(1, 20), 0.1) == 18


def test_scores_by_hand() -> None:
    given = np.array([[0.5, 0.1, 0.4]])
    np.testing.assert_allclose(scores(given, "lac", Fixed(0)), [[0.5, 0.9, 0.6]])  # type: ignore[arg-type]
    np.testing.assert_allclose(scores(given, "aps", Fixed(0)), [[0, 0.9, 0.5]])  # type: ignore[arg-type]
    np.testing.assert_allclose(scores(given, "aps", Fixed(1)), [[0.5, 1, 0.9]])  # type: ignore[arg-type]
    np.testing.assert_allclose(scores(given, "aps", Fixed(0.5)), [[0.25, 0.95, 0.7]])  # type: ignore[arg-type]
    many = np.array([[0.4, 0.2, 0.1, 0.1, 0.08, 0.07, 0.05]])
    plain, penal = (scores(many, method, Fixed(0)) for method in ("aps", "raps"))  # type: ignore[arg-type]
    assert RAPS_RANK == 5
    np.testing.assert_allclose(penal - plain, RAPS_WEIGHT * np.array([[0, 0, 0, 0, 0, 1, 2]]), atol=1e-12)


def sets_of(
    calibration: Floats,
    calibration_labels: NDArray[np.int64],
    new: Floats,
    labels: NDArray[np.int64],
    **options: Any,
) -> PredictionSets:
    """`prediction_sets` of images in blocks of several sizes, which may not matter."""
    blocks = np.array_split(calibration, 2), np.array_split(new, 3)
    return prediction_sets(blocks[0], calibration_labels, blocks[1], labels, **options)


def test_sets_by_hand() -> None:
    calibration = np.array([[0.9, 0.1], [0.7, 0.3], [0.4, 0.6]])
    labels = np.array([0, 0, 0])  # scores 0.1, 0.3, 0.6; the third of three at alpha 0.25
    new = np.array([[0.95, 0.05], [0.5, 0.5], [0.61, 0.39]])
    found = sets_of(calibration, labels, new, np.array([1, 1, 0]), method="lac", alpha=0.25)
    assert found.sizes.tolist() == [1, 2, 1]
    assert found.covered.tolist() == [False, True, True]


@pytest.mark.parametrize("method", METHODS)
def test_a_threshold_from_too_few_images_accepts_every_class(method: ConformalMethod) -> None:
    probabilities, labels = problem(30)
    few = (probabilities[:5], labels[:5])
    found = sets_of(*few, probabilities, labels, method=method, alpha=0.1)
    assert (found.sizes == 8).all()
    assert found.covered.all()


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.3])
@pytest.mark.parametrize("method", METHODS)
def test_the_promised_share_is_covered(method: ConformalMethod, alpha: float) -> None:
    covered = []
    for seed in range(20):
        probabilities, labels = problem(1200, seed=seed)
        found = sets_of(
            probabilities[:600],
            labels[:600],
            probabilities[600:],
            labels[600:],
            method=method,
            alpha=alpha,
            seed=seed,
        )
        covered.append(found.covered.mean())
    # Of 20 x 600 images; the threshold of 600 has a standard deviation of about 0.012 too, so of their mean 0.004.
    assert np.mean(covered) == pytest.approx(1 - alpha, abs=0.013)


def reference(
    calibration: Floats, calibration_labels: NDArray[np.int64], new: Floats, alpha: float
) -> list[set[int]]:
    """LAC written class by class."""
    kept = sorted(1 - row[label] for row, label in zip(calibration, calibration_labels, strict=True))
    place = int(np.ceil((len(kept) + 1) * (1 - alpha)))
    return [{c for c in range(len(row)) if 1 - row[c] <= kept[place - 1]} for row in new]


def test_lac_is_that_of_a_plain_reference() -> None:
    probabilities, labels = problem(400, seed=3)
    expected = reference(probabilities[:201], labels[:201], probabilities[201:], 0.13)
    found = sets_of(
        probabilities[:201], labels[:201], probabilities[201:], labels[201:], method="lac", alpha=0.13
    )
    assert found.sizes.tolist() == [len(each) for each in expected]
    assert found.covered.tolist() == [
        label in each for label, each in zip(labels[201:], expected, strict=True)
    ]


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_classes_does_not_matter(method: ConformalMethod) -> None:
    probabilities, labels = problem(300)
    order = np.random.default_rng(1).permutation(8)
    back = np.argsort(order)
    plain = sets_of(probabilities[:150], labels[:150], probabilities, labels, method=method, alpha=0.2)
    turned = sets_of(
        probabilities[:150, order],
        back[labels[:150]],
        probabilities[:, order],
        back[labels],
        method=method,
        alpha=0.2,
    )
    np.testing.assert_array_equal(plain.sizes, turned.sizes)
    np.testing.assert_array_equal(plain.covered, turned.covered)


def test_the_task_measures_them_with_the_calibration_split(demo_world: Path, tmp_path: Path) -> None:
    record = run(demo_world, calibration_split="train", conformal_alpha=0.2, out=tmp_path / "reports" / "x")
    file = read_predictions(next(tmp_path.rglob("predictions.npz")))
    assert file.calibration_logits is not None
    assert file.calibration_labels is not None
    assert file.temperature is not None
    assert file.logits is not None

    def probabilities(logits: NDArray[np.float32]) -> Floats:
        raw = np.exp(logits.astype(float) / float(file.temperature))  # type: ignore[arg-type]
        return np.asarray(raw / raw.sum(1, keepdims=True))

    for method in METHODS:
        found = sets_of(
            probabilities(file.calibration_logits),
            file.calibration_labels,
            probabilities(file.logits),
            np.asarray(file.labels),
            method=method,
            alpha=0.2,
        )
        coverage, size = (
            record.metric(key, method=method, alpha=0.2)
            for key in ("conformal_coverage", "conformal_set_size")
        )
        assert coverage is not None
        assert size is not None
        assert coverage.value == pytest.approx(found.covered.mean())
        assert size.value == pytest.approx(found.sizes.mean())
        assert size.unit == "classes"
        assert coverage.name == f"Coverage of {method.upper()} sets at 80 %"
    assert run(demo_world).metric("conformal_coverage") is None


def written(path: Path, **changes: object) -> Path:
    rng = np.random.default_rng(0)
    given = Predictions(
        rng.normal(size=(6, 3)).astype(np.float32),
        [str(i) for i in range(6)],
        np.arange(6) % 3,
        [],
        About("set", "val", 6, "", []),
        temperature=np.asarray(1.0),
        calibration_logits=rng.normal(size=(9, 3)).astype(np.float32),
        calibration_labels=np.arange(9) % 3,
    )
    write_predictions(path / "p.npz", given._replace(**changes))  # type: ignore[arg-type]
    return path / "p.npz"


def test_files_of_other_tools_may_hold_the_calibration_images(tmp_path: Path) -> None:
    found = score(written(tmp_path), None, None, None)
    assert {metric.params["method"] for metric in found.metrics if metric.key == "conformal_coverage"} == set(
        METHODS
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"calibration_labels": None},
        {"calibration_logits": None},
        {"calibration_labels": np.full(9, 3)},
        {"calibration_labels": np.zeros(4, int)},
        {"calibration_logits": np.zeros((9, 2), np.float32), "calibration_labels": np.zeros(9, int)},
        {"calibration_logits": np.full((9, 3), np.nan, np.float32)},
    ],
)
def test_calibration_images_that_do_not_fit_are_refused(changes: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="calibration"):
        score(written(tmp_path, **changes), None, None, None)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1])
def test_alpha_is_a_share(alpha: float) -> None:
    with pytest.raises(ValueError, match="conformal_alpha"):
        ClassifyOptions(data="folder:x", conformal_alpha=alpha)
