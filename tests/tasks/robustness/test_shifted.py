"""Natural shifts: other images of some or all of the classes, by hand."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eval_suite.core.errors import InputError
from eval_suite.tasks.external import score_file
from eval_suite.tasks.robustness.options import RobustnessOptions
from eval_suite.tasks.robustness.predictions import read_predictions
from eval_suite.tasks.robustness.shifted import parse_shifted
from eval_suite.tasks.robustness.task import RobustnessTask
from tests.tasks.robustness.test_task import COLOURS, run, world

__all__ = ["world"]
ALONE: dict[str, Any] = {
    "fgsm_epsilons": [],
    "pgd_epsilons": [],
    "occlusion_sizes": 0,
    "pairs_per_image": 0,
    "corruptions": [],
}


@pytest.fixture
def shifts(world: Path) -> list[str]:
    """``same``: the evaluated images, under another name. ``some``: of red and green, one picture each of five colours."""
    shutil.copytree(world / "world" / "val", world / "same")
    # Between red and green, blue is none: it has no say about the third and fourth.
    shown = {"green": ["green", "red", "blue"], "red": ["red", "blue", "red", "green"]}
    for name, pictures in shown.items():
        (world / "some" / name).mkdir(parents=True)
        for number, colour in enumerate(pictures):
            Image.new("RGB", (40, 32), COLOURS[colour]).save(world / "some" / name / f"{number}.png")
    return [f"folder:{world / 'same'}", f"few=folder:{world / 'some'}"]


def test_errors_among_all_and_among_some_classes(world: Path, shifts: list[str]) -> None:
    """Among red and green a blue picture is a tie, which counts as wrong."""
    result, path = run(world, **ALONE, shifted=shifts)
    errors = {(m.key, m.params["images"]): m for m in result.metrics if m.key.startswith("shift")}
    assert errors["shift_error", "same"].value == 0.25
    assert errors["shift_reference_error", "same"].value == 0.25
    few = errors["shift_error", "few"]
    assert (few.value, few.n, few.params) == (pytest.approx(4 / 7), 7, {"images": "few", "outputs": 2})
    # Of the evaluated green and red ones: green/3, red/2 and red/3 are blue.
    reference = errors["shift_reference_error", "few"]
    assert (reference.value, reference.n) == (pytest.approx(3 / 8), 8)
    assert few.interval is not None
    assert "among 2 outputs" in few.name
    assert result.outcomes is not None
    assert few.id not in result.outcomes.values
    saved = path.parent / "robustness" / "predictions.npz"
    assert score_file(RobustnessTask(), saved, None, None).metrics == result.metrics
    same, some = read_predictions(saved).shifted
    assert (same.name, same.outputs, same.reference) == ("same", 3, None)
    assert some.reference_labels is not None
    assert np.bincount(some.reference_labels).tolist() == [0, 4, 4]


def test_the_same_answers_whatever_the_batches(world: Path, shifts: list[str]) -> None:
    results = [run(world, **ALONE, shifted=shifts, batch_size=size, out=f"out{size}")[0] for size in (1, 64)]
    assert results[0].metrics == results[1].metrics


def test_other_classes_than_the_evaluated_ones_are_refused_before_anything_runs(
    world: Path, shifts: list[str]
) -> None:
    (world / "some" / "yellow").mkdir()
    shutil.copy(world / "some" / "red" / "0.png", world / "some" / "yellow")
    with pytest.raises(InputError) as refused:
        run(world, **ALONE, shifted=shifts)
    assert "yellow" in refused.value.found
    assert not (world / "out" / "reports").exists()


def test_sources_are_found_with_and_without_a_name() -> None:
    options = RobustnessOptions(data="x", shifted=["v2=folder:a/b=c", "folder:d=e"])
    assert options.sources() == {"data": "x", "shifted.0": "folder:a/b=c", "shifted.1": "folder:d=e"}
    assert [parse_shifted(text).name for text in options.shifted] == ["v2", "d=e"]
    with pytest.raises(InputError):
        parse_shifted("v2=nowhere")
