"""The predictions file of localisation: round trip, and what is refused in files made elsewhere."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval_suite.core.errors import InputError
from eval_suite.core.predictions import About
from eval_suite.tasks.wsol.geometry import EVALUATION_PAPER, Transform
from eval_suite.tasks.wsol.predictions import Predictions, read_predictions, write_predictions


def predictions(**changes: Any) -> Predictions:
    rng = np.random.default_rng(0)
    fields: dict[str, Any] = {
        "maps": rng.normal(size=(2, 7, 5)).astype(np.float32),
        "logits": rng.normal(size=(2, 3)).astype(np.float32),
        "ids": ["val/a/1.png", "val/ö/2.png"],
        "labels": np.array([2, 1]),
        "classes": ["a", "ö", "c=d"],
        "transform": Transform((64, 48), 0.875),
        "map_class": "predicted",
        "about": About("x", "val", 3, "ab=cd", ["val/a/broken.jpg"]),
    }
    return Predictions(**(fields | changes))


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    kept = predictions()
    path = tmp_path / "new" / "predictions.npz"
    write_predictions(path, kept)
    found = read_predictions(path)
    for name in ("maps", "logits", "labels"):
        assert np.array_equal(getattr(found, name), getattr(kept, name))
    rest = ("ids", "classes", "transform", "map_class", "about")
    assert [getattr(found, name) for name in rest] == [getattr(kept, name) for name in rest]
    assert found.maps.dtype == np.float32


def test_maps_and_ids_are_enough(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", maps=np.ones((2, 7, 7)), ids=["a", "b"])
    found = read_predictions(tmp_path / "p.npz")
    assert (found.logits.shape, len(found.labels), found.classes) == ((2, 0), 0, [])
    assert (found.transform, found.map_class) == (EVALUATION_PAPER, "ground-truth")
    assert found.about == About("p", "unknown", 2, "", [])


def test_double_precision_stays_as_a_rounded_score_could_fall_a_level(tmp_path: Path) -> None:
    maps = np.full((1, 2, 2), 100 / 255 - 1e-12)
    np.savez(tmp_path / "p.npz", maps=maps, ids=["a"])
    assert np.array_equal(read_predictions(tmp_path / "p.npz").maps, maps)


@pytest.mark.parametrize(
    ("changes", "expected", "found"),
    [
        ({"maps": None}, "an array 'maps' (items, height, width)", "['ids']"),
        ({"ids": None}, "an array 'ids' (items)", "['maps']"),
        ({"maps": np.zeros((2, 3))}, "an array 'maps' (items, height, width)", "shape (2, 3)"),
        ({"maps": np.zeros((0, 3, 3)), "ids": np.zeros(0, str)}, "items in 'maps'", "none"),
        ({"maps": np.zeros((2, 0, 3))}, "height in 'maps'", "none"),
        ({"maps": np.zeros((2, 3, 3), complex)}, "numbers as 'maps'", "complex128"),
        ({"ids": ["a"]}, "2 items in 'ids', as in 'maps'", "1"),
        ({"ids": ["a", "a"]}, "each id once", "'a' more than once"),
        ({"logits": np.zeros((3, 4))}, "2 items in 'logits', as in 'maps'", "3"),
        (
            {"logits": np.full((2, 4), np.nan)},
            "finite numbers as 'logits'",
            "2 of 2 items with NaN or infinity",
        ),
        ({"labels": [1]}, "2 items in 'labels', as in 'maps'", "1"),
        ({"labels": [0.5, 1]}, "whole numbers as 'labels'", "float64"),
        ({"input_size": [224]}, "an array 'input_size' (2)", "shape (1,)"),
        ({"input_size": [0, 224]}, "height and width from 1 to 8192 as 'input_size'", "[0, 224]"),
        ({"input_size": [224, 10**6]}, "height and width from 1 to 8192 as 'input_size'", "[224, 1000000]"),
        ({"input_size": [2.5, 3]}, "whole numbers as 'input_size'", "float64"),
        ({"crop_fraction": 0}, "a number in [0.05, 1] as 'crop_fraction'", "0"),
        ({"crop_fraction": np.nan}, "a number in [0.05, 1] as 'crop_fraction'", "nan"),
        ({"crop_fraction": [1, 1]}, "an array 'crop_fraction' (one value)", "shape (2,)"),
        ({"map_class": "mine"}, "ground-truth or predicted as 'map_class'", "'mine'"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    changes: dict[str, Any], expected: str, found: str, tmp_path: Path
) -> None:
    arrays = {"maps": np.ones((2, 3, 3)), "ids": ["a", "b"]} | changes
    np.savez(tmp_path / "p.npz", **{name: value for name, value in arrays.items() if value is not None})
    with pytest.raises(InputError) as caught:
        read_predictions(tmp_path / "p.npz")
    assert (caught.value.expected, caught.value.found) == (expected, found)
