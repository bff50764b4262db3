"""Rows of several processes, put together."""

from typing import Any

import numpy as np
import pytest

from eval_suite.backbones import shares
from eval_suite.backbones.shares import gathered, own_share, true_everywhere


def others(monkeypatch: pytest.MonkeyPatch, *theirs: Any) -> None:
    """This process is the first of several, of which the others have sent this."""
    monkeypatch.setenv("WORLD_SIZE", str(1 + len(theirs)))
    monkeypatch.setattr(shares, "_from_all", lambda mine: [mine, *theirs])


def test_one_process_has_all_there_is() -> None:
    columns = {"at": np.array([3, 1]), "names": ["d", "b"], "none": None}
    found = gathered(columns, "at", ["x"], ["x", "y"])
    assert found.columns == columns
    assert found.failed == ["x"]
    assert own_share() == (0, 1)
    assert true_everywhere(True)
    assert not true_everywhere(False)


def test_rows_come_in_the_order_of_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = {
        "at": np.array([0, 1, 4]),
        "v": np.array([[0.0], [1], [4]]),
        "names": ["a", "b", "e"],
        "none": None,
        "no": np.zeros(0),
    }
    second = {
        "at": np.array([2, 3]),
        "v": np.array([[2.0], [3]]),
        "names": ["c", "d"],
        "none": None,
        "no": np.zeros(0),
    }
    others(monkeypatch, (second, ["f2"]), ({"at": np.zeros(0, int), "v": np.zeros((0, 0))}, ["f0", "f2"]))
    found = gathered(mine, "at", ["f1"], ["f0", "f1", "f2", "f3"])
    assert found.columns["at"].tolist() == [0, 1, 2, 3, 4]
    assert found.columns["v"].tolist() == [[0], [1], [2], [3], [4]]
    assert found.columns["names"] == list("abcde")
    assert found.columns["none"] is None
    assert not len(found.columns["no"])
    assert found.failed == ["f0", "f1", "f2"]


def test_a_process_without_a_batch_gets_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = {"at": np.array([1, 0]), "v": np.array([5, 7])}
    others(monkeypatch, (theirs, []))
    assert gathered({}, "at").columns["v"].tolist() == [7, 5]
    others(monkeypatch, ({}, ["x"]))
    assert gathered({}, "at", [], ["x"]) == ({}, ["x"])


def test_what_one_process_denies_holds_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    others(monkeypatch, True)
    assert true_everywhere(True)
    others(monkeypatch, False)
    assert not true_everywhere(True)


def test_shares_are_every_so_many_th_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert list(range(8))[own_share().first :: own_share().of] == [1, 4, 7]
