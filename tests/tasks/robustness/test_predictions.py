"""The predictions file: round trip, what may be missing, and what is refused in files made elsewhere."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval_suite.core.errors import InputError
from eval_suite.core.predictions import About
from eval_suite.tasks.robustness.predictions import (
    Corruptions,
    Family,
    Predictions,
    read_predictions,
    write_predictions,
)


def predictions() -> Predictions:
    return Predictions(
        ids=["val/a/1.png", "val/ö/2.png", "val/b/3.png"],
        labels=np.array([0, 1, 2]),
        classes=["a", "ö", "b"],
        about=About("x", "val", 4, "ab=cd", ["val/a/broken.jpg"]),
        clean=np.array([0, 1, 1]),
        families={
            "fgsm": Family(np.array([[1], [1], [1]]), np.array([8 / 255])),
            "centre_occlusion": Family(np.array([[0, 1], [1, 2], [2, 0]]), np.array([0, 1.0])),
            "mixup": Family(np.array([[0, 1, 2], [2, 2, 2]]), np.array([0, 0.5, 1])),
        },
        pairs=np.array([[0, 1], [2, 0]]),
        notes={"no_gradient": np.array([True, False, False])},
        corruptions=Corruptions(np.array([[[0, 1]], [[1, 2]], [[2, 0]]]), ["fog"], [1, 5]),
        settings={"pgd_steps": "10", "occlusion_fill": "mean"},
    )


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "predictions.npz"
    write_predictions(path, predictions())
    found, kept = read_predictions(path), predictions()
    for name in ("ids", "classes", "about", "settings"):
        assert getattr(found, name) == getattr(kept, name)
    assert found.labels is not None
    assert found.labels.tolist() == [0, 1, 2]
    assert found.clean.tolist() == [0, 1, 1]
    assert list(found.families) == list(kept.families)
    for name, family in kept.families.items():
        assert (found.families[name].predicted == family.predicted).all()
        assert (found.families[name].grid == family.grid).all()
    assert found.pairs.tolist() == kept.pairs.tolist()
    assert found.notes["no_gradient"].tolist() == [True, False, False]
    assert found.corruptions is not None
    assert found.corruptions.predicted.tolist() == [[[0, 1]], [[1, 2]], [[2, 0]]]
    assert found.corruptions[1:] == (["fog"], [1, 5], None, None)
    with np.load(path, allow_pickle=False) as archive:
        assert archive["fgsm"].dtype == np.int16


def test_clean_predictions_alone_are_enough(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", clean=np.array([1, 0]))
    found = read_predictions(tmp_path / "p.npz")
    assert (found.ids, found.labels, found.families, found.corruptions) == ([], None, {}, None)
    assert found.about == About("p", "unknown", 2, "", [])


CLEAN = np.array([0, 1])
GRID = np.array([0.0, 1.0])


@pytest.mark.parametrize(
    ("arrays", "expected", "found"),
    [
        ({"clean": None, "logits": np.eye(2)}, "an array 'clean' (items)", "['logits']"),
        ({"clean": np.zeros(0, int)}, "items in 'clean'", "none"),
        ({"clean": np.array([0.5])}, "whole numbers as 'clean'", "float64"),
        ({"labels": np.array([1])}, "2 items in 'labels', as in 'clean'", "1"),
        ({"classes": np.array(["only"])}, "numbers in 0..0 as 'clean'", "0..1"),
        (
            {"fgsm": np.zeros((2, 1), int)},
            "an array 'fgsm_grid' (strengths of fgsm)",
            "none",
        ),
        ({"fgsm": np.zeros((3, 2), int), "fgsm_grid": GRID}, "2 items in 'fgsm', as in 'clean'", "3"),
        (
            {"fgsm": np.zeros((2, 3), int), "fgsm_grid": GRID},
            "3 strengths of fgsm in 'fgsm_grid', as in 'fgsm'",
            "2",
        ),
        (
            {"fgsm": np.zeros((2, 2), int), "fgsm_grid": GRID[::-1]},
            "ascending strengths in [0, 1] as 'fgsm_grid'",
            "[1.0, 0.0]",
        ),
        (
            {"fgsm": np.zeros((2, 2), int), "fgsm_grid": GRID * 8},
            "ascending strengths in [0, 1] as 'fgsm_grid'",
            "[0.0, 8.0]",
        ),
        (
            {"fgsm": np.zeros((2, 2), int), "fgsm_grid": GRID * np.nan},
            "ascending strengths in [0, 1] as 'fgsm_grid'",
            "[nan, nan]",
        ),
        ({"mixup": np.zeros((2, 2), int), "mixup_grid": GRID}, "an array 'pairs' (pairs, 2)", "none"),
        (
            {"mixup": np.zeros((1, 2), int), "mixup_grid": GRID, "pairs": np.array([[0, 2]])},
            "numbers in 0..1 as 'pairs'",
            "0..2",
        ),
        (
            {"mixup": np.zeros((1, 2), int), "mixup_grid": GRID, "pairs": np.array([[0, 1, 1]])},
            "an array 'pairs' (pairs, 2)",
            "shape (1, 3)",
        ),
        (
            {"corruption": np.zeros((2, 1, 1), int), "corruption_names": np.array(["fog"])},
            "an array 'severities' (severities)",
            "none",
        ),
        (
            {
                "corruption": np.zeros((2, 1, 2), int),
                "severities": np.array([1]),
                "corruption_names": np.array(["fog"]),
            },
            "2 severities in 'severities', as in 'corruption'",
            "1",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    arrays: dict[str, Any], expected: str, found: str, tmp_path: Path
) -> None:
    given = {name: value for name, value in ({"clean": CLEAN} | arrays).items() if value is not None}
    np.savez(tmp_path / "p.npz", **given)
    with pytest.raises(InputError) as caught:
        read_predictions(tmp_path / "p.npz")
    assert (caught.value.expected, caught.value.found) == (expected, found)
