"""Records of predictions that other tools made."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import eval_suite as es
from eval_suite.cli.main import main
from eval_suite.core.store import read_record
from eval_suite.data.images import open_images
from tests.data.voc_on_disk import write_devkit


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


def test_part_of_a_split_is_partial_and_a_whole_one_needs_no_ids(
    truth: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index = open_images(truth)
    np.save(tmp_path / "p.npy", index.labels)
    whole = es.score("classify", tmp_path / "p.npy", truth=truth)
    assert (whole.status, whole.outcomes is not None) == ("complete", True)
    assert whole.outcomes is not None
    assert whole.outcomes.ids.tolist() == index.ids
    np.savez(tmp_path / "p.npz", predicted=index.labels[::2], ids=index.ids[::2])
    part = es.score("classify", tmp_path / "p.npz", truth=truth)
    assert part.status == "partial"
    assert "15 of 30" in caplog.text
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
    with pytest.raises(es.InputError):
        es.score("classify", tmp_path / "a.npz", truth=truth, out=out, name="α")
    assert read_record(out / "results" / "a-s0" / "classify.json")["top1_error"].value == 1 / 30
    es.score("classify", tmp_path / "a.npz", truth=truth, out=out, overwrite=True)
    assert read_record(out / "results" / "a-s0" / "classify.json")["top1_error"].value == 2 / 30


def test_a_file_names_the_outputs_whatever_order_they_are_in(truth: str, tmp_path: Path) -> None:
    index = open_images(truth)
    names = index.classes[::-1]
    np.save(tmp_path / "p.npy", len(names) - 1 - index.labels)
    (tmp_path / "names.txt").write_text("\n".join(names))
    record = es.score("classify", tmp_path / "p.npy", truth=truth, classes=tmp_path / "names.txt")
    assert record["top1_error"].value == 0
    assert record.warnings == []
    assumed = es.score("classify", tmp_path / "p.npy", truth=truth)
    assert assumed["top1_error"].value == 1
    assert assumed.warnings


def test_an_order_is_for_outputs_without_names_only(truth: str, tmp_path: Path) -> None:
    index = open_images(truth)
    np.save(tmp_path / "p.npy", index.labels)
    record = es.score("classify", tmp_path / "p.npy", truth=truth, class_order="sorted")
    assert (record["top1_error"].value, record.warnings) == (0, [])
    with pytest.raises(es.InputError):
        es.score("classify", hard(tmp_path / "a.npz", truth, 1), truth=truth, class_order="sorted")


@pytest.mark.parametrize("options", [{"ious": [0.6]}, {"classes": "absent.txt"}, {"class_order": "random"}])
def test_options_of_scoring_that_a_task_has_not(truth: str, tmp_path: Path, options: dict[str, Any]) -> None:
    np.save(tmp_path / "p.npy", open_images(truth).labels)
    with pytest.raises(es.InputError):
        es.score("classify", tmp_path / "p.npy", truth=truth, **options)


def test_detections_at_further_overlaps_and_in_own_classes(tmp_path: Path) -> None:
    devkit = write_devkit(tmp_path)  # one dog with the corners 1, 2, 19, 14, counted from 0
    box = [1, 2, 15, 14]  # 15 x 13 of 19 x 13 pixels: an overlap of 0.789
    found = [{"image_id": 1, "category_id": 2, "bbox": [*box[:2], 15, 13], "score": 0.9}]
    (tmp_path / "found.json").write_text(json.dumps(found))
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    record = es.score(
        "detect",
        tmp_path / "found.json",
        truth=f"voc:{devkit}",
        ious=[0.75, 0.85],
        classes=tmp_path / "names.txt",
    )
    by_iou = {m.params["iou"]: m.value for m in record.metrics if m.key == "map" and "iou" in m.params}
    assert by_iou == {0.75: pytest.approx(1), 0.85: 0}
    assert next(metric.subset for metric in record.metrics if metric.key == "class_ap") == "dog"


def test_the_command_takes_the_options_of_the_task(truth: str, tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", open_images(truth).labels)
    words = ["classify", "--predictions", str(tmp_path / "p.npy"), "--truth", truth]
    assert main(["score", *words, "--class-order", "sorted"]) == 0
    assert main(["score", *words, "--ious", "0.6"]) == 2


def test_files_of_other_labels_are_not_compared(tmp_path: Path) -> None:
    ids, labels = np.array(list("abcdef")), np.arange(6) % 3
    order = np.array([5, 2, 0, 1, 4, 3])

    def scored(name: str, **arrays: Any) -> es.Record:
        held = {"predicted": (labels + 1) % 3, "ids": ids, "labels": labels} | arrays
        np.savez(tmp_path / f"{name}.npz", **held)
        return es.score("classify", tmp_path / f"{name}.npz")

    first = scored("first")
    turned = {
        key: values[order] for key, values in {"predicted": labels, "ids": ids, "labels": labels}.items()
    }
    # In another order, and with the outputs in another order too, whose names are known.
    renamed = {"predicted": labels, "labels": 2 - labels, "classes": np.array(["z", "y", "x"])}
    found = {
        "same": scored("same", **turned),
        "others": scored("others", labels=(labels + 1) % 3),
    }
    table = es.compare([first, *found.values()], baseline="first")
    top1 = table[table["key"] == "top1_error"].set_index("backbone")
    assert top1.loc["same", "difference"] == -1
    assert "different data" in top1.loc["others", "refused"]
    named = scored("named", classes=np.array(["x", "y", "z"]))
    assert scored("renamed", **renamed).data.sha256 == named.data.sha256 != first.data.sha256  # type: ignore[union-attr]


def test_arrays_in_memory_are_scored_as_their_file_is(tmp_path: Path) -> None:
    logits, labels = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32), np.arange(6) % 3
    held: dict[str, Any] = {"logits": logits, "labels": labels, "ids": np.array(list("abcdef"))}
    np.savez(tmp_path / "p.npz", **held)
    of_file = es.score("classify", tmp_path / "p.npz")
    as_lists = {name: values.tolist() for name, values in held.items()}
    tensors = {"logits": torch.tensor(logits, requires_grad=True), "labels": torch.tensor(labels)}
    for arrays in (held, as_lists, held | tensors, held | {"ids": np.array(list("abcdef"), object)}):
        record = es.score("classify", arrays)
        assert record.metrics == of_file.metrics
        assert (record.backbone.name, record.path) == ("model", None)
        assert record.backbone.source.startswith("arrays in memory (")
    out = tmp_path / "reports" / "r"
    written = es.score("classify", held, out=out, name="mine")
    assert written.path == out / "results" / "mine-s0" / "classify.json"
    assert read_record(written.path) == written
    assert written.files.predictions == "classify/predictions.npz"
    assert es.score("classify", held)["top1_error"].value == written["top1_error"].value


def test_a_path_as_truth_is_read_as_text() -> None:
    with pytest.raises(es.InputError, match="KIND:PATH"):
        es.score("classify", {"logits": [[1.0, 2.0]]}, truth=Path("images"))  # type: ignore[arg-type]


def test_half_precision_and_an_array_without_a_name(truth: str) -> None:
    index = open_images(truth)
    one_hot = 4 * np.eye(len(index.classes))[index.labels]
    for whole in (index.labels, one_hot, one_hot.tolist(), torch.tensor(one_hot).bfloat16()):
        assert es.score("classify", whole, truth=truth)["top1_error"].value == 0


@pytest.mark.parametrize(
    ("task", "given"),
    [
        ("classify", None),
        ("classify", {"logits": [[1, 2], [3]], "labels": [0, 1]}),
        ("classify", {"logits": [[{}]], "labels": [0]}),
        ("wsol", np.zeros((2, 3, 3))),
        ("detect", {"logits": np.zeros((2, 3))}),
    ],
)
def test_what_is_no_array_that_a_task_reads_is_refused(task: str, given: Any) -> None:
    with pytest.raises(es.InputError) as raised:
        es.score(task, given)
    assert raised.value.expected
