"""Records of predictions that other tools made."""

from pathlib import Path

import numpy as np
import pytest

import eval_suite as es
from eval_suite.core.store import read_record
from eval_suite.data.images import open_images


@pytest.fixture
def truth(demo_world: Path) -> str:
    return f"folder:{demo_world / 'images'}"


def hard(path: Path, truth: str, wrong: int) -> Path:
    """Predictions of classes, the first ``wrong`` of which are mistakes."""
    index = open_images(truth)
    predicted = index.labels.copy()
    predicted[:wrong] = (predicted[:wrong] + 1) % len(index.classes)
    np.savez(path, predicted=predicted, ids=index.ids, classes=index.classes)
    return path


def test_two_files_enter_one_comparison_with_paired_differences(truth: str, tmp_path: Path) -> None:
    out = tmp_path / "reports" / "theirs"
    for name, wrong in (("a", 3), ("b", 9)):
        path = hard(tmp_path / f"{name}.npz", truth, wrong)
        record = es.score("classify", path, truth=truth, out=out)
        assert record == read_record(out / "results" / f"{name}-s0" / "classify.json")
        assert record.files.predictions is not None
        copy = out / "results" / f"{name}-s0" / record.files.predictions
        assert copy.read_bytes() == path.read_bytes()
    a, b = (read_record(out / "results" / f"{name}-s0" / "classify.json") for name in "ab")
    assert a.data == b.data
    assert (a["top1_error"].value, a["nll"].value) == (3 / 30, None)
    frame = es.compare(
        [es.score("classify", tmp_path / f"{name}.npz", truth=truth) for name in "ab"], baseline="a"
    )
    row = frame[(frame["key"] == "top1_error") & (frame["backbone"] == "b")].iloc[0]
    assert row["difference"] == pytest.approx(6 / 30)
    assert row["difference_low"] > 0


def test_part_of_a_split_is_partial_and_a_whole_one_needs_no_ids(truth: str, tmp_path: Path) -> None:
    index = open_images(truth)
    np.save(tmp_path / "p.npy", index.labels)
    whole = es.score("classify", tmp_path / "p.npy", truth=truth)
    assert (whole.status, whole.outcomes is not None) == ("complete", True)
    assert whole.outcomes is not None
    assert whole.outcomes.ids.tolist() == index.ids
    np.savez(tmp_path / "p.npz", predicted=index.labels[::2], ids=index.ids[::2])
    part = es.score("classify", tmp_path / "p.npz", truth=truth)
    assert part.status == "partial"
    assert part.data is not None
    assert part.data.sha256 == index.select(np.arange(0, 30, 2)).sha256()


def test_wrong_input_leaves_nothing_and_no_record_is_replaced_by_another(truth: str, tmp_path: Path) -> None:
    out = tmp_path / "reports" / "theirs"
    with pytest.raises(es.InputError):
        es.score("classify", tmp_path / "absent.npz", truth=truth, out=out)
    assert not (tmp_path / "reports").exists()
    with pytest.raises(es.InputError):
        es.score("classify", hard(tmp_path / "a.npz", truth, 1), truth=truth, out=tmp_path / "theirs")
    es.score("classify", tmp_path / "a.npz", truth=truth, out=out)
    es.score("classify", tmp_path / "a.npz", truth=truth, out=out)
    hard(tmp_path / "a.npz", truth, 2)
    with pytest.raises(es.InputError):
        es.score("classify", tmp_path / "a.npz", truth=truth, out=out)
    assert read_record(out / "results" / "a-s0" / "classify.json")["top1_error"].value == 1 / 30
