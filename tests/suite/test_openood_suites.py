"""The suites of OpenOOD's benchmarks: their groups as published, a dry run, and one of them in small from end to end."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from eval_suite.core.parts import parts
from eval_suite.core.store import read_record
from eval_suite.data.outliers import parse_all_outliers
from eval_suite.report.printed import published_numbers
from eval_suite.suite.file import bundled_suites
from eval_suite.suite.suite import load_suite
from eval_suite.tasks.ood.options import OodOptions

Cli = Callable[..., Any]
FAR_OF_CIFAR = ["mnist", "svhn", "texture", "places365"]
FAR_OF_IMAGENET = ["inaturalist", "textures", "openimage-o"]
GROUPS = {
    "openood-cifar10": {"near": ["cifar100", "tin"], "far": FAR_OF_CIFAR},
    "openood-cifar100": {"near": ["cifar10", "tin"], "far": FAR_OF_CIFAR},
    "openood-imagenet200": {"near": ["ssb-hard", "ninco"], "far": FAR_OF_IMAGENET},
    "openood-imagenet1k": {"near": ["ssb-hard", "ninco"], "far": FAR_OF_IMAGENET},
}
LISTS = Path("data/openood/benchmark_imglist")


@cache
def options(suite: str, row: str | None = None) -> OodOptions:
    found = load_suite(suite)
    given = found.task_options("ood", row or next(iter(found.backbones)))
    assert isinstance(given, OodOptions)
    return given


def test_there_is_a_suite_for_every_benchmark() -> None:
    assert {name for name in bundled_suites() if name.startswith("openood")} == GROUPS.keys()


@pytest.mark.parametrize("name", list(GROUPS))
def test_groups_are_the_published_ones(name: str) -> None:
    given, found = options(name), {}
    for source in parse_all_outliers(given.outliers):
        found.setdefault(source.group, []).append(source.name)
    assert found == GROUPS[name]
    shifted = [source.name for source in parse_all_outliers(given.shifted)]
    assert shifted == (["imagenet-v2", "imagenet-c", "imagenet-r"] if "imagenet" in name else [])
    assert (given.split, given.validation_split, len(given.validation_outliers)) == ("test", "val", 1)


def test_scores_are_all_that_there_are() -> None:
    every = set(parts("ood_score"))
    assert set(options("openood-cifar10").scores) == every - {"ash-p", "ash-s"}  # OpenOOD's ASH is ASH-B
    assert set(options("openood-imagenet1k").scores) == every - {"ash-p", "ash-s", "gram"}
    assert "rankfeat" not in options("openood-imagenet1k", "swin-t").scores


def test_published_numbers_are_of_scores_and_groups_that_the_suites_have() -> None:
    seen = set()
    for printed in published_numbers():
        if not printed.suite.startswith("openood"):
            continue
        given = options(printed.suite, printed.backbone)
        assert str(printed.params["score"]) in {score.replace("-", "_") for score in given.scores} | {"gram"}
        assert printed.params["sets"] in GROUPS[printed.suite]
        assert 0.3 < printed.value < 1
        assert ("known" in printed.params) <= bool(given.shifted)
        assert printed.source.startswith("OpenOOD v1.5 leaderboard, results/")
        key = (printed.suite, printed.backbone, printed.id)
        assert key not in seen
        seen.add(key)
    assert len(seen) == 258


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few images for every list that the suites name."""
    folder = tmp_path_factory.mktemp("lists")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        _write_lists()
    return folder / "data"


@pytest.fixture
def data(lists: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those lists where the suites look for them, in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    Path("data").symlink_to(lists)


def _write_lists() -> None:
    texts = [(name, text) for name in GROUPS for text in _texts(options(name))]
    for place, (_, text) in enumerate(texts):
        path = Path(text.partition(":")[2])
        _write(path, [f"{path.stem}/{i}.png" for i in range(6)], [-1] * 6, place)
    for name in ("cifar10", "cifar100", "imagenet200", "imagenet"):
        classes = {"cifar10": 10, "cifar100": 100, "imagenet200": 200, "imagenet": 1000}[name]
        for split, each in (("train", 6 if name == "cifar10" else 1), ("val", 3), ("test", 3)):
            labels = [label for label in range(classes) for _ in range(each)][
                : 200 if split == "val" else None
            ]
            # A folder of each class in every list, as the real ones of CIFAR have.
            names = [f"{name}/{split}/c{label:03d}/{i}.png" for i, label in enumerate(labels)]
            _write(LISTS / name / f"{split}_{name}.txt", names, labels, 7 if split == "val" else len(split))


def _texts(given: OodOptions) -> list[str]:
    return [*given.outliers, *given.shifted, *given.validation_outliers]


def _write(path: Path, names: list[str], labels: list[int], seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name} {label}\n" for name, label in zip(names, labels, strict=True)))
    for i, (name, label) in enumerate(zip(names, labels, strict=True)):
        image = Path("data/openood/images_classic") / name
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), ((13 * seed) % 256, (23 * label) % 256, (7 * i) % 256)).save(image)


@pytest.mark.long
@pytest.mark.parametrize("name", list(GROUPS))
def test_the_dry_run_names_every_job(data: None, cli: Cli, name: str) -> None:
    said = cli("run", name, "--dry-run")
    assert said.code == 0, said.err
    jobs = {"openood-imagenet1k": 3, "openood-imagenet200": 12}.get(name, 18)
    assert said.out.splitlines()[-1] == f"0 done, {jobs} to run"


@pytest.mark.parametrize("name", list(GROUPS))
def test_missing_lists_are_one_line_each(
    name: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = cli("run", name, "--dry-run")
    assert said.code == 2
    assert all("data/openood/" in line for line in said.err.splitlines()[1:])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_cifar_10_in_small_from_end_to_end(data: None, cli: Cli) -> None:
    content = yaml.safe_load(bundled_suites()["openood-cifar10"].read_text())
    content |= {"seeds": [0], "runtime": {"device": "cpu", "workers": 0}}
    content["recipe"] |= {"epochs": 1, "batch_size": 20, "arch_options": {"width": 4}}
    content["recipe"]["arch"], content["recipe"]["arch_options"] = (
        "resnet14_demo",
        {"blocks": 1, "channels": [4, 8, 16]},
    )
    content["backbones"] = {"baseline": {}}
    content["tasks"]["ood"]["nnguide_k"] = 5
    Path("openood-cifar10.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    said = cli("run", "openood-cifar10.yaml", "--jobs", 1)
    assert said.code == 0, said.out + said.err
    record = read_record(Path("reports/openood-cifar10/results/baseline-s0/ood.json"))
    for group in ("near", "far"):
        for score in record.task.options["scores"]:
            metric = record.metric("auroc", score=score.replace("-", "_"), sets=group)
            assert metric is not None, score
            assert metric.value is not None
    page = Path("reports/openood-cifar10/index.html").read_text()
    assert "near-OOD" in page
    assert "paper 88.03" in page
