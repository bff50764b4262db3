import json
from pathlib import Path
from typing import Any

import pytest

from eval_suite.core.errors import InputError
from eval_suite.core.records import DataInfo
from eval_suite.report.collate import Key, collate
from eval_suite.report.render import write_report
from tests.report.fake_suite import FakeSuite, errors


def test_order_is_the_suites(four: FakeSuite) -> None:
    found = collate(four.folder)
    assert found.suite.backbones == ["baseline", "mixup", "cutout", "cutmix"]
    assert [key.backbone for key in found.entries][::2] == ["baseline", "mixup", "cutout", "cutmix"]


def test_without_a_description_names_are_sorted_and_baseline_is_found(suite: FakeSuite) -> None:
    for name in ("mixup", "baseline", "cutmix"):
        suite.add(name)
    found = collate(suite.folder)
    assert found.suite.backbones == ["baseline", "cutmix", "mixup"]
    assert found.suite.name == "fake"
    assert found.baseline == "baseline"
    assert collate(suite.folder, "mixup").baseline == "mixup"


def test_without_a_baseline_the_first_is_taken(suite: FakeSuite) -> None:
    suite.add("mixup")
    suite.add("cutmix")
    assert collate(suite.folder).baseline == "cutmix"


def test_a_backbone_taken_as_it_is_is_expected_once(suite: FakeSuite) -> None:
    suite.describe(
        backbones=["baseline", "theirs"], seeds=[0, 1], tasks=["classify"], taken_as_they_are=["theirs"]
    )
    suite.add("baseline", 0)
    suite.add("baseline", 1)
    suite.add("theirs", 0)
    found = collate(suite.folder)
    assert {(key.backbone, key.seed) for key in found.entries} == {
        ("baseline", 0),
        ("baseline", 1),
        ("theirs", 0),
    }
    assert not [notice for notice in found.notices if notice.state == "missing"]


def test_every_expected_cell_has_a_state(four: FakeSuite) -> None:
    found = collate(four.folder)
    states = {(key.backbone, key.seed): entry.state for key, entry in found.entries.items()}
    assert len(states) == 8
    assert states["mixup", 1] == "missing"
    assert states["cutout", 1] == "failed"
    assert states["cutmix", 1] == "partial"
    assert states["baseline", 1] == "complete"
    texts = {notice.state: notice.text for notice in found.notices}
    assert texts["failed"] == "ValueError: the loss ran away"
    assert texts["partial"] == "scored on 100 of 400 items"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"schema": 2}', "\xff\xfe", '{"schema": 1, "status": "complete"}']
)
def test_a_file_that_is_no_record_is_a_broken_cell(suite: FakeSuite, content: str) -> None:
    suite.add("baseline")
    suite.add("cutmix").write_bytes(content.encode("latin-1"))
    entry = collate(suite.folder).entries[Key("cutmix", 0, "classify")]
    assert entry.state == "broken"
    assert entry.problem
    assert "\n" not in entry.problem


def test_a_backbone_without_a_readable_record_is_no_baseline_by_default(suite: FakeSuite) -> None:
    for name in ("a", "baseline"):
        suite.add(name).write_text("{")
    assert collate(suite.folder).baseline == "baseline"
    suite.add("cutmix")
    assert collate(suite.folder).baseline == "cutmix"
    assert collate(suite.folder, "a").baseline == "a"
    assert write_report(suite.folder).broken.startswith("2 records")
    for name in ("a", "baseline"):
        suite.add(name)
    assert collate(suite.folder).baseline == "baseline"
    assert write_report(suite.folder).broken == ""


def test_backbone_names_may_hold_dashes_and_seeds(suite: FakeSuite) -> None:
    suite.add("resnet-s2-big", 12)
    assert list(collate(suite.folder).entries) == [Key("resnet-s2-big", 12, "classify")]


def test_wrong_input_is_one_line(suite: FakeSuite, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found none"):
        collate(tmp_path / "nowhere")
    suite.describe()
    with pytest.raises(InputError, match="expected records"):
        collate(suite.folder)
    suite.add("baseline")
    suite.add("cutmix")
    with pytest.raises(InputError, match="Did you mean 'cutmix'"):
        collate(suite.folder, "cutmx")
    (suite.folder / "suite.json").write_text(json.dumps({"name": 3}))
    with pytest.raises(InputError, match="description"):
        collate(suite.folder)


def test_mixed_data_options_and_commits_are_warned_of(suite: FakeSuite) -> None:
    suite.add("baseline")
    path = suite.add("cutmix", sha256="e" * 64)
    content = json.loads(path.read_text())
    content["task"]["options"]["limit"] = 5
    content["task"]["version"] = 2
    content["run"]["git"] = {"commit": "fedcba", "dirty": True}
    path.write_text(json.dumps(content))
    texts = " | ".join(notice.text for notice in collate(suite.folder).notices if notice.state == "warning")
    for part in ("different data", "dddddddddd: baseline-s0", "limit", "versions", "commits", "uncommitted"):
        assert part in texts


def test_fits_that_lacked_images_or_differ_are_warned_of(suite: FakeSuite) -> None:
    def learnt(n_failed: int, sha256: str) -> DataInfo:
        counts = {"n_available": 50, "n_requested": 50, "n_scored": 50 - n_failed, "n_failed": n_failed}
        return DataInfo(name="coco", split="train2014", sha256=sha256, **counts)

    suite.add("baseline", fitted_to=learnt(0, "a" * 64))
    suite.add("cutmix", fitted_to=learnt(2, "b" * 64))
    said = {(notice.where, notice.text) for notice in collate(suite.folder).notices}
    assert ("classify · cutmix · seed 0", "fitted to 48 of 50 items, 2 unreadable") in said
    groups = "(aaaaaaaaaa: baseline-s0; bbbbbbbbbb: cutmix-s0)"
    assert (
        "classify",
        f"fitted to different data, so not comparable across groups {groups}",
    ) in said
    assert not any("scored on different" in text for _, text in said)
    page = write_report(suite.folder).index.read_text("utf-8")
    assert "fitted to coco, train2014: 48 of 50 items" in page


@pytest.mark.parametrize(
    ("changed", "mixed"),
    [
        ({"method": {"adl": {"gamma": 0.9}}}, ""),
        ({"fit": {"epochs": 9, "regularizers": [{"cutmix": {}}]}}, ""),
        ({"data": "cub:elsewhere"}, ""),
        ({"fit": {"epochs": 3, "regularizers": None}}, "fit.epochs"),
        ({"method": {"adl": {}}, "transform": "evaluation-paper"}, "transform"),
        ({"maps": "gradcam"}, "maps"),
    ],
)
def test_methods_of_localisation_may_differ_and_the_protocol_may_not(
    suite: FakeSuite, changed: dict[str, Any], mixed: str
) -> None:
    options = {
        "data": "cub:x",
        "method": {"cam": {}},
        "maps": "cam",
        "transform": "paper",
        "fit": {"epochs": 9, "regularizers": None},
    }
    for backbone, own in (("baseline", options), ("other", {**options, **changed})):
        path = suite.add(backbone, task="wsol")
        content = json.loads(path.read_text())
        content["task"]["options"] = own
        path.write_text(json.dumps(content))
    texts = [notice.text for notice in collate(suite.folder).notices]
    assert texts == ([f"options differ between records: {mixed}"] if mixed else [])


def test_different_protocols_are_warned_of_apart_from_what_may_differ(suite: FakeSuite) -> None:
    for name, transform, method in (
        ("baseline", "paper", "cam"),
        ("a", "paper", "adl"),
        ("b", "short", "cam"),
    ):
        options = {"transform": transform, "method": method}
        suite.add(name, options=options, protocol={"transform": []})
    assert [notice.text for notice in collate(suite.folder).notices] == [
        "options differ between records: method",
        "transform differs, so what depends on it is not compared (paper: a-s0, baseline-s0; short: b-s0)",
    ]


def test_what_is_not_in_the_suite_is_shown_with_a_warning(suite: FakeSuite) -> None:
    suite.describe(backbones=["baseline"], seeds=[0], tasks=["classify"])
    suite.add("baseline")
    suite.add("old", 3)
    found = collate(suite.folder)
    assert Key("old", 3, "classify") in found.entries
    assert Key("old", 0, "classify") not in found.entries
    assert [n.text.rpartition(" ")[2] for n in found.notices if n.state == "warning"] == ["old", "3"]


@pytest.mark.parametrize(
    "path", ["../../../secret.txt", "/etc/passwd", "link.txt", "x\0y", "nothing.txt", "."]
)
def test_paths_stay_inside_the_results(suite: FakeSuite, path: str) -> None:
    record = suite.add("baseline", wrong=errors(0.5))
    secret = suite.folder / "secret.txt"
    secret.write_text("secret")
    (record.parent / "link.txt").symlink_to(secret)
    found = collate(suite.folder)
    with pytest.raises(InputError):
        found.file_beside(next(iter(found.entries.values())), path)
