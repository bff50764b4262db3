"""Which output is which class: by name, by WordNet id, by number, and what is assumed where nothing tells."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval_suite.core.errors import InputError
from eval_suite.data.class_order import (
    ClassMatch,
    class_names_in,
    match_classes,
    natural_order,
    read_class_names,
)
from eval_suite.data.imagenet_names import real_labels, synsets
from eval_suite.data.images import ImageIndex

TEN = [f"class_{i}" for i in range(1, 11)]


def match(classes: list[str], outputs: int, names: list[str] | None = None, **more: str) -> ClassMatch:
    return match_classes(classes, "folder:x", outputs=outputs, names=names or [], **more)  # type: ignore[arg-type]


def test_natural_order_takes_numbers_by_value_and_leaves_case_out() -> None:
    assert natural_order(sorted(TEN)) == TEN
    assert natural_order(["B", "a", "C", "b"]) == ["a", "B", "b", "C"]
    assert natural_order(["²", "2", "x²", "x10", "x9"]) == ["2", "x9", "x10", "x²", "²"]


def test_names_decide_whatever_the_order() -> None:
    found = match(["a", "b", "c"], 3, ["c", "a", "b"])
    assert (found.outputs.tolist(), found.names, found.assumed) == ([1, 2, 0], ["c", "a", "b"], False)
    assert found.subset is None


def test_names_may_differ_in_case_and_separators() -> None:
    assert match(["Great White", "cat"], 2, ["cat", "great_white"]).outputs.tolist() == [1, 0]
    with pytest.raises(InputError):
        match(["Cat", "cat "], 2, ["cat", "dog"])


def test_a_subset_of_named_outputs() -> None:
    found = match(["frog", "cat"], 3, ["cat", "dog", "frog"])
    assert found.outputs.tolist() == [2, 0]
    assert found.subset is not None
    assert found.subset.tolist() == [2, 0]


@pytest.mark.parametrize(("names", "outputs"), [(["cat", "dog"], 2), ([], 2), ([], 4)])
def test_what_no_output_stands_for_is_refused(names: list[str], outputs: int) -> None:
    with pytest.raises(InputError) as refused:
        match(["cat", "dog", "frog"], outputs, names)
    assert (refused.value.where, "--classes" in refused.value.remedy) == ("folder:x", True)
    assert "frog" in refused.value.found


def test_word_net_ids_are_matched_with_the_outputs_of_an_imagenet_network() -> None:
    imagenette = ["n01440764", "n02102040", "n02979186", "n03000684", "n03028079", "n03394916", "n03417042"]
    found = match(imagenette, 1000)
    assert found.outputs.tolist() == [0, 217, 482, 491, 497, 566, 569]
    assert not found.assumed
    large = match(imagenette[:2], 21841)
    assert [large.names[i] for i in large.outputs] == imagenette[:2]
    assert match(list(synsets(1000)), 1000).outputs.tolist() == list(range(1000))


def test_names_in_words_do_not_keep_word_net_ids_from_being_matched() -> None:
    words = [f"thing {i}" for i in range(1000)]
    found = match(["n02102040", "n01440764"], 1000, words)
    assert (found.outputs.tolist(), found.assumed) == ([217, 0], True)


def test_folders_of_all_numbers_are_the_outputs_numbers() -> None:
    folders = sorted(str(i) for i in range(1000))  # ImageNetV2
    assert match(folders, 1000).outputs.tolist() == [int(name) for name in folders]
    assert match(folders, 1000, list(synsets(1000))).outputs.tolist() == [int(name) for name in folders]
    assert match(["217", "9"], 1000).outputs.tolist() == [217, 9]
    assert match(["007", "010"], 1000).outputs.tolist() == [7, 10]
    assert match(["1", "2", "3"], 3).outputs.tolist() == [0, 1, 2]  # no output 3: the order decides


def test_an_assumed_order_says_so_and_what_the_other_would_be() -> None:
    found = match(sorted(TEN), 10)
    assert (found.outputs.tolist(), found.assumed) == (list(range(10)), True)
    assert "--class-order natural" in found.how
    assert "natural" not in match(["a", "b"], 2).how
    asked = match(sorted(TEN), 10, order="natural")
    assert (asked.names, asked.assumed) == (TEN, False)
    assert asked.outputs.tolist() == [TEN.index(name) for name in sorted(TEN)]
    with pytest.raises(InputError):
        match(TEN, 11, order="natural")


def test_labels_count_outputs_after_relabelling() -> None:
    labels = np.array([0, 0, 1])
    index = ImageIndex(
        "x", "folder:x", "val", ["a", "b"], ["1", "2", "3"], labels, Path("x"), [Path("x")] * 3, None
    )
    found = match(index.classes, 3, ["b", "c", "a"]).relabel(index)
    assert (found.labels.tolist(), found.classes) == ([2, 2, 0], ["b", "c", "a"])
    assert index.labels.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    "text",
    [
        "b\na\n",
        "\ufeffb\r\na\r\n\r\n",
        '["b", "a"]',
        '{"a": 1, "b": 0}',
        '{"1": "a", "0": "b"}',
        '{"0": ["b", "bee"], "1": ["a", "ay"]}',
        '{"class_to_idx": {"a": 1, "b": 0}}',
        '{"label_names": ["b", "a"], "num_classes": 2}',
    ],
)
def test_files_of_names(text: str, tmp_path: Path) -> None:
    (tmp_path / "names").write_text(text, "utf-8")
    assert read_class_names(tmp_path / "names") == ["b", "a"]


@pytest.mark.parametrize("content", [b"", b"a\nb\na\n", b"{", b"\xff\xfe", b'{"a": 0, "b": 2}', b"[1, 2]"])
def test_files_without_names_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "names").write_bytes(content)
    with pytest.raises(InputError) as refused:
        read_class_names(tmp_path / "names")
    assert refused.value.where == str(tmp_path / "names")
    with pytest.raises(InputError):
        read_class_names(tmp_path / "absent")


def test_the_lists_of_timm() -> None:
    assert (len(synsets(1000)), synsets(1000)[217], synsets(7)) == (1000, "n02102040", ())
    assert (len(real_labels()), real_labels()[:3]) == (50_000, ((), (970, 795), (230, 231)))
    assert json.dumps(real_labels()[4]) == "[516, 850]"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"class_to_idx": {"7": 0, "3": 1}}, ["7", "3"]),
        ({"idx_to_class": {0: "7", 1: "3"}}, ["7", "3"]),
        ({"id2label": {"0": "cat", "1": "dog"}}, ["cat", "dog"]),
        ({"label2id": {"cat": "1", "dog": "0"}}, ["dog", "cat"]),
        ({"meta": {"dataset_meta": {"CLASSES": ("cat", "dog")}}}, ["cat", "dog"]),
        ({"classes": 7, "class_names": np.array(["cat", "dog"])}, ["cat", "dog"]),
        ({"class_to_idx": {"cat": 1, "dog": 2}}, []),
        ({"id2label": {"0": None}}, []),
        ({"classes": ""}, []),
    ],
)
def test_class_names_stand_in_many_forms(entry: dict[str, Any], expected: list[str]) -> None:
    assert class_names_in(entry) == expected
