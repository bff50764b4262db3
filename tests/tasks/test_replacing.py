"""A record is repeated or extended, never silently replaced by another or a lesser one."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from eval_suite.core.cards import BackboneCard
from eval_suite.core.errors import InputError
from eval_suite.core.papers import CUTMIX
from eval_suite.core.records import DataInfo, ErrorInfo, Record, TaskInfo
from eval_suite.core.runtime import Clock, run_info
from eval_suite.core.store import write_json, write_record
from eval_suite.tasks.base import TaskOptions
from eval_suite.tasks.replacing import require_replaceable


class Fit(TaskOptions):
    data: str = ""
    epochs: int = 3


class Options(TaskOptions):
    data: str = "folder:x"
    sigma: float = 0.15
    fit: Fit = Field(default_factory=Fit)


def card(**changes: Any) -> BackboneCard:
    facts = {"source": "m.py:make@w.pth", "arch": "make", "weights_sha256": "00"}
    frame = {"name": "n", "classes": [], "input_size": (32, 32), "mean": (0, 0, 0), "std": (1, 1, 1)}
    return BackboneCard(**{**frame, **facts, **changes})


def record(limit: int | None, **changes: Any) -> Record:
    scored = min(limit or 20, 20)
    options = Options(limit=limit)
    content = {
        "status": "complete" if scored == 20 else "partial",
        "task": TaskInfo(name="t", version=1, options=options.model_dump(mode="json"), paper=CUTMIX),
        "backbone": card(),
        "data": DataInfo(
            name="x", split="val", n_available=20, n_requested=scored, n_scored=scored, n_failed=0, sha256=""
        ),
        "run": run_info(Clock(), "cpu", "fp32", 0),
    }
    return Record(**{**content, **changes})


@pytest.mark.parametrize(
    ("before", "limit"), [(7, 7), (7, 8), (7, None), (None, None), (None, 20), (None, 100), (20, 20)]
)
def test_the_same_and_more_items_may_replace(tmp_path: Path, before: int | None, limit: int | None) -> None:
    write_record(tmp_path / "t.json", record(before))
    require_replaceable(tmp_path / "t.json", card(), Options(limit=limit, strict=True))


def test_data_without_a_spec_go_by_their_name(tmp_path: Path) -> None:
    write_record(tmp_path / "t.json", record(7))
    content = json.loads((tmp_path / "t.json").read_text())
    content["task"]["options"]["data"] = ""
    write_json(tmp_path / "t.json", content)
    with pytest.raises(InputError, match=r"on 7 items of x \(val\), made with other"):
        require_replaceable(tmp_path / "t.json", card(source="other"), Options())


@pytest.mark.parametrize(("before", "limit"), [(7, 6), (None, 19), (20, 1)])
def test_fewer_items_may_not(tmp_path: Path, before: int | None, limit: int) -> None:
    write_record(tmp_path / "t.json", record(before))
    with pytest.raises(
        InputError, match=rf"on {before or 20} items of folder:x, more than the {limit} asked"
    ):
        require_replaceable(tmp_path / "t.json", card(), Options(limit=limit))


@pytest.mark.parametrize(
    ("network", "options", "named"),
    [
        ({"source": "other.py:make"}, {}, "source"),
        ({"weights_sha256": "01"}, {}, "weights_sha256"),
        ({"std": (1, 1, 0.5), "input_size": (64, 64)}, {}, "input_size, std"),
        ({}, {"sigma": 0.2}, "sigma"),
        ({}, {"fit": Fit(epochs=4)}, "fit"),
        ({}, {"data": "folder:y"}, "data"),
        ({"crop_fraction": 1.0}, {"split": "train"}, "crop_fraction, split"),
    ],
)
def test_what_differs_is_named_also_with_more_items(
    tmp_path: Path, network: dict[str, Any], options: dict[str, Any], named: str
) -> None:
    write_record(tmp_path / "t.json", record(7))
    line = rf"t.json holds the record of m.py:make@w.pth on 7 items of folder:x, made with other {named}; keep it"
    with pytest.raises(InputError, match=line):
        require_replaceable(tmp_path / "t.json", card(**network), Options(**options))


def test_an_option_that_the_old_record_does_not_know_had_its_default(tmp_path: Path) -> None:
    old = record(None)
    del old.task.options["sigma"]
    write_record(tmp_path / "t.json", old)
    require_replaceable(tmp_path / "t.json", card(), Options())
    with pytest.raises(InputError, match="other sigma"):
        require_replaceable(tmp_path / "t.json", card(), Options(sigma=0.3))


def test_what_holds_no_result_may_be_replaced(tmp_path: Path) -> None:
    require_replaceable(tmp_path / "absent.json", card(), Options(limit=1))
    write_json(tmp_path / "t.json", {"schema": 1})
    require_replaceable(tmp_path / "t.json", card(), Options(limit=1))
    error = ErrorInfo(type="Error", message="no luck")
    write_record(tmp_path / "t.json", record(None, status="failed", data=None, error=error))
    require_replaceable(tmp_path / "t.json", card(source="other"), Options(limit=1))


def test_data_that_have_changed_may_not_replace_those_before(tmp_path: Path) -> None:
    write_record(tmp_path / "t.json", record(7, sets={"data": "aa", "fit_split": "bb"}))
    require_replaceable(tmp_path / "t.json", card(), Options(limit=8), {"data": "aa", "fit_split": "bb"})
    for changed in ({"data": "cc", "fit_split": "bb"}, {"data": "aa", "fit_split": "cc"}):
        with pytest.raises(InputError, match="--overwrite"):
            require_replaceable(tmp_path / "t.json", card(), Options(limit=7), changed)


def test_a_record_that_names_no_sets_is_held_to_none(tmp_path: Path) -> None:
    write_record(tmp_path / "t.json", record(7))
    require_replaceable(tmp_path / "t.json", card(), Options(limit=7), {"data": "aa"})
