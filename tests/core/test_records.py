"""The record: what it refuses, and that what is written is what is read."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from eval_suite.core.cards import BackboneCard
from eval_suite.core.errors import InputError
from eval_suite.core.records import (
    Curve,
    DataInfo,
    ErrorInfo,
    Example,
    Files,
    GitState,
    Metric,
    Paper,
    Record,
    RunInfo,
    TaskInfo,
)
from eval_suite.core.store import read_record, write_record

NOT_FINITE = [math.nan, math.inf, -math.inf]


def card(**changes: Any) -> BackboneCard:
    fields: dict[str, Any] = {
        "name": "cutmix",
        "source": "checkpoints/s/cutmix-s0",
        "arch": "resnet14_demo",
        "classes": ["cat", "dög"],
        "input_size": (64, 64),
        "mean": (0.5, 0.4, 0.3),
        "std": (0.2, 0.2, 0.2),
    }
    return BackboneCard(**(fields | changes))


def metric(**changes: Any) -> Metric:
    fields: dict[str, Any] = {
        "key": "top1_error",
        "name": "Top-1 error",
        "value": 0.25,
        "higher_is_better": False,
        "n": 8,
    }
    return Metric(**(fields | changes))


def result(**changes: Any) -> Record:
    fields: dict[str, Any] = {
        "status": "complete",
        "task": TaskInfo(
            name="classify", version=1, options={"data": "folder:x"}, paper=Paper("t", "v", 1, "u")
        ),
        "backbone": card(),
        "data": DataInfo(
            name="x", split="val", n_available=8, n_requested=8, n_scored=8, n_failed=0, sha256="ab"
        ),
        "metrics": [
            metric(interval=(0.1, 0.5), method="Wilson score"),
            metric(key="class_accuracy", name="Accuracy", subset="cat", value=None, reason="no items"),
        ],
        "curves": [Curve(name="c", x=[0, 1], y=[0.5, None], x_label="x", y_label="y")],
        "examples": [Example(image="a.png", alt="a", caption="b")],
        "files": Files(predictions="classify/predictions.npz"),
        "run": RunInfo(
            started="2026-01-01T00:00:00+00:00",
            seconds={"score": 0.5},
            device="cpu",
            precision="fp32",
            seed=0,
            command="eval-suite classify",
            git=GitState(commit=None, dirty=None),
            versions={"python": "3.11"},
        ),
    }
    return Record(**(fields | changes))


def failed(**changes: Any) -> Record:
    error = ErrorInfo(type="ValueError", message="why")
    return result(**({"status": "failed", "data": None, "metrics": [], "error": error} | changes))


@pytest.mark.parametrize("value", NOT_FINITE)
def test_a_metric_refuses_what_is_not_finite(value: float) -> None:
    with pytest.raises(ValidationError, match="'Top-1 error' is not finite"):
        metric(value=value)
    with pytest.raises(ValidationError, match="'Top-1 error' is not finite"):
        metric(interval=(0.0, value))


@pytest.mark.parametrize(
    "change",
    [
        {"value": -5.0},
        {"value": 25.0},
        {"n": -3},
        {"interval": (0.5, 0.1)},
        {"interval": (-7.0, 0.5)},
        {"value": 2.0, "interval": (0.8, 0.9)},
        {"value": 2.0},
        {"value": 0.9, "interval": (0.8, 1.1)},
        {"controls": {"chance": 1.5}},
        {"key": "cider_d", "value": 10.5},
        {"key": "nll", "unit": "nats", "value": -0.1},
        {"key": "brier", "unit": "points", "value": 2.1},
        {"key": "effective_robustness", "value": -1.1},
        {"key": "mce", "value": -0.1},
        {"value": 0.1, "interval": (0.8, 0.9), "unit": "nats"},
    ],
)
def test_a_metric_refuses_what_contradicts_itself(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        metric(**change)
    assert metric(value=-5.0, unit="degrees", key="angle")
    assert metric(value=1.0 + 1e-12)  # as a sum of shares may be
    for key, value in (("cider_d", 9.5), ("mce", 1.3), ("effective_robustness", -0.2)):
        assert metric(key=key, value=value)
    assert metric(value=0.79, interval=(0.8, 0.9))  # as percentiles of a bootstrap may have it


def test_a_record_refuses_counts_and_metrics_that_contradict_each_other() -> None:
    data = result().data
    assert data is not None
    facts = data.model_dump()
    for change in ({"n_scored": 9}, {"n_scored": -1}, {"n_available": 4}):
        with pytest.raises(ValidationError):
            DataInfo(**facts | change)
    with pytest.raises(ValidationError, match="7 of 8 items"):
        result(data=DataInfo(**facts | {"n_scored": 7}))
    with pytest.raises(ValidationError, match="occurs twice"):
        result(metrics=[metric(), metric()])


def test_a_record_of_a_rate_of_two_is_refused_when_read(tmp_path: Path) -> None:
    path = tmp_path / "classify.json"
    write_record(path, result())
    content = json.loads(path.read_text())
    content["metrics"][0] |= {"value": 2.0, "interval": None, "reason": "none"}
    path.write_text(json.dumps(content))
    with pytest.raises(InputError) as caught:
        read_record(path)
    assert caught.value.where == str(path)
    assert "metrics.0" in caught.value.found
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("reason", [None, ""])
def test_a_null_metric_needs_a_reason(reason: str | None) -> None:
    with pytest.raises(ValidationError, match="null without a reason"):
        metric(value=None, reason=reason)
    assert metric(value=None, reason="no items").value is None


def test_a_curve_is_as_long_in_x_as_in_y() -> None:
    with pytest.raises(ValidationError, match="curve 'c' has 2 x and 1 y values"):
        Curve(name="c", x=[0, 1], y=[0], x_label="x", y_label="y")


def test_a_record_holds_an_error_exactly_when_it_failed() -> None:
    assert failed().error is not None
    for make in (
        lambda: failed(error=None),
        lambda: result(error=ErrorInfo(type="E", message="m")),
        lambda: result(status="partial", error=ErrorInfo(type="E", message="m")),
    ):
        with pytest.raises(ValidationError, match="exactly when its status is 'failed'"):
            make()


@pytest.mark.parametrize("kept", [result(), result(status="partial"), failed()])
def test_what_is_written_is_what_is_read(kept: Record, tmp_path: Path) -> None:
    path = tmp_path / "a" / "classify.json"
    write_record(path, kept)
    assert read_record(path) == kept


def test_the_file_is_strict_json_with_the_key_schema(tmp_path: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"found {constant}")

    path = tmp_path / "r.json"
    write_record(path, result())
    content = json.loads(path.read_text("utf-8"), parse_constant=refuse)
    assert content["schema"] == 2
    assert "schema_version" not in content
    assert "dög" in path.read_text("utf-8")


@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("where", ["curve", "seconds", "training"])
def test_no_number_that_json_cannot_express_reaches_the_disk(
    where: str, value: float, tmp_path: Path
) -> None:
    broken = {
        "curve": result(curves=[Curve(name="c", x=[0], y=[value], x_label="x", y_label="y")]),
        "seconds": result(run=result().run.model_copy(update={"seconds": {"score": value}})),
        "training": result(backbone=card(training={"loss": value})),
    }[where]
    path = tmp_path / "r.json"
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_record(path, broken)
    assert list(tmp_path.iterdir()) == []


def changed(tmp_path: Path, change: Any) -> Path:
    path = tmp_path / "r.json"
    write_record(path, result())
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_text(json.dumps(content), "utf-8")
    return path


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda c: c.update(schema=3), "schema"),
        (lambda c: c.update(status="done"), "status"),
        (lambda c: c.update(extra=1), "extra"),
        (lambda c: c["metrics"][0].update(extra=1), "metrics.0.extra"),
        (lambda c: c["backbone"].update(extra=1), "backbone.extra"),
        (lambda c: c["metrics"][0].update(value="0.2x"), "metrics.0.value"),
        (lambda c: c.pop("run"), "run"),
    ],
)
def test_reading_refuses_unknown_keys_and_wrong_values(change: Any, where: str, tmp_path: Path) -> None:
    path = changed(tmp_path, change)
    with pytest.raises(
        InputError, match=f"expected a record of schema 2 in .*r.json, found a fault at '{where}'"
    ):
        read_record(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"schema": 1'])
def test_reading_what_is_no_record_is_wrong_input(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match="expected a record of schema 2"):
        read_record(path)


def test_reading_a_missing_record_or_a_folder_is_wrong_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found no such file"):
        read_record(tmp_path / "none.json")
    with pytest.raises(InputError, match="cannot read a record of schema 2"):
        read_record(tmp_path)


def test_a_metric_is_found_by_its_name_and_subset() -> None:
    record = result()
    found = record.metric("top1_error")
    assert found is not None
    assert found.value == 0.25
    assert record.metric("class_accuracy") is None
    accuracy = record.metric("class_accuracy", subset="cat")
    assert accuracy is not None
    assert accuracy.reason == "no items"


def test_a_metric_of_subsets_only_is_answered_with_how_to_ask() -> None:
    with pytest.raises(InputError) as raised:
        result()["class_accuracy"]
    assert "subset='cat'" in raised.value.remedy


def test_a_record_knows_its_file_wherever_the_process_works_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_record(Path("r.json"), result())
    assert read_record("r.json").path == tmp_path / "r.json"
