"""A temperature is chosen on a named split, never on the evaluated one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from eval_suite.backbones.backbone import Backbone
from eval_suite.core.calibration import fitted_temperature
from eval_suite.core.errors import InputError
from eval_suite.core.predictions import About
from eval_suite.core.records import Record
from eval_suite.tasks.classify.options import ClassifyOptions
from eval_suite.tasks.classify.predictions import Predictions, read_predictions, write_predictions
from eval_suite.tasks.classify.score import score
from eval_suite.tasks.evaluate import evaluate


def run(data: Path, **options: Any) -> Record:
    torch.manual_seed(0)
    net = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 10))
    net[2].weight.data *= 30
    backbone = Backbone.wrap(net, input_size=(32, 32))
    return evaluate(
        backbone, "classify", data=f"folder:{data / 'images'}", device="cpu", workers=0, **options
    )


def test_calibration_is_measured_before_and_after(demo_world: Path, tmp_path: Path) -> None:
    record = run(demo_world, calibration_split="train", out=tmp_path / "reports" / "x")
    before, after = record["nll"], record["nll_scaled"]
    assert before.value is not None
    assert after.value is not None
    assert after.value < before.value  # the network is far too sure
    assert "'train'" in (after.method or "")
    names = {curve.name for curve in record.curves}
    assert names == {"Reliability diagram", "Reliability diagram, temperature-scaled", "Selective risk"}
    assert record["top1_error"].value == run(demo_world)["top1_error"].value
    with pytest.raises(InputError):
        run(demo_world)["nll_scaled"]
    file = read_predictions(next(tmp_path.rglob("predictions.npz")))
    assert file.temperature is not None
    assert float(file.temperature) > 1


def test_the_evaluated_split_is_refused(demo_world: Path) -> None:
    with pytest.raises(InputError):
        run(demo_world, calibration_split="val")
    with pytest.raises(InputError, match="nowhere"):
        run(demo_world, calibration_split="nowhere")
    with pytest.raises(ValidationError):
        ClassifyOptions(data="folder:x", split="a", calibration_split="a")


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_that_is_none_is_refused(temperature: float, tmp_path: Path) -> None:
    logits = np.zeros((2, 3), np.float32)
    about = About("set", "val", 2, "", [])
    given = Predictions(logits, ["a", "b"], np.array([0, 1]), [], about, temperature=np.asarray(temperature))
    write_predictions(tmp_path / "p.npz", given)
    with pytest.raises(InputError, match="temperature"):
        score(tmp_path / "p.npz", None, None, None)


def test_dividing_by_it_is_dividing_the_logits(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    logits, labels = (5 * rng.normal(size=(60, 4))).astype(np.float32), rng.integers(0, 4, 60)
    value, about = fitted_temperature(logits, labels), About("set", "val", 60, "", [])
    ids = [str(number) for number in range(60)]
    for name, given in (
        ("scaled", Predictions(logits, ids, labels, [], about, temperature=np.asarray(value))),
        ("divided", Predictions((logits / value).astype(np.float32), ids, labels, [], about)),
    ):
        write_predictions(tmp_path / f"{name}.npz", given)
    scaled, divided = (score(tmp_path / f"{name}.npz", None, None, None) for name in ("scaled", "divided"))
    values = {m.key: m.value for m in divided.metrics if m.subset is None}
    for metric in scaled.metrics:
        if metric.key.endswith("_scaled"):
            assert metric.value == pytest.approx(values[metric.key.removesuffix("_scaled")], abs=1e-6)
