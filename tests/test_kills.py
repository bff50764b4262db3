"""Every stage killed at ten random moments and started again ends with the artefacts of an uninterrupted one, byte for byte."""

import json
import multiprocessing
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import eval_suite as es
from eval_suite.suite.quickstart import quickstart

pytestmark = pytest.mark.long

KILLS = 10
# What a second of another day or a longer way round changes.
_OF_THE_MOMENT = {"run", "seconds", "step_seconds", "memory", "source"}

DATA: dict[str, dict[str, Any]] = {
    "classify": {"calibration_split": "train"},
    "ood": {
        "outliers": ["folder:{archive}", "uniform"],
        "noise_items": 20,
        "scores": ["energy", "knn"],
        "knn_k": 5,
    },
    "probe": {"fractions": (1.0, 0.5), "knn_k": 3, "linear_c": (0.1, 1.0)},
    "robustness": {"occlusion_sizes": 2, "pairs_per_image": 1, "mixup_lambdas": (0.5,), "cutmix_sizes": 2},
    "wsol": {"fit": {"preset": "custom", "epochs": 2, "batch_size": 16}},
    "caption": {"embed": 8, "hidden": 16, "epochs": 4, "min_count": 2, "num_beams": 2, "fine_tune": True},
    "detect": {
        "detectors": ["ssd"],
        "iterations": 12,
        "save_interval": 1e-9,
        "ssd": {"input_size": (64, 64), "batch_size": 2, "warmup": 0, "augmentation": "flip"},
    },
}


def _plain(value: Any) -> Any:
    """A record, card or log without what time alone decides."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items() if key not in _OF_THE_MOMENT}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def artefacts(folder: Path) -> dict[str, Any]:
    """Every file below a folder, by its path there."""
    held: dict[str, Any] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"):
        content: Any = path.read_bytes()
        if path.suffix in (".json", ".jsonl"):
            content = [_plain(json.loads(line)) for line in [content.decode()] if path.suffix == ".json"] or [
                _plain(json.loads(line)) for line in content.decode().splitlines()
            ]
        held[str(path.relative_to(folder))] = content
    return held


def _child(work: Callable[[Path], object], folder: Path) -> None:
    torch.set_num_threads(1)
    work(folder)


def kill_and_finish(work: Callable[[Path], object], folder: Path, seconds: float, seed: int) -> int:
    """Start the work ten times and kill it at a random moment of the time it takes, then let it finish; how often it died."""
    draw, died = random.Random(seed), 0
    context = multiprocessing.get_context("fork")
    for _ in range(KILLS):
        child = context.Process(target=_child, args=(work, folder))
        child.start()
        child.join(draw.uniform(0.05, 1.0) * seconds)
        if child.is_alive():
            died += 1
            child.kill()
        child.join()
    last = context.Process(target=_child, args=(work, folder))
    last.start()
    last.join(300)
    assert last.exitcode == 0
    return died


def check(work: Callable[[Path], object], folder: Path, seed: int) -> None:
    whole, killed = folder / "whole", folder / "killed"
    begin = time.monotonic()
    child = multiprocessing.get_context("fork").Process(target=_child, args=(work, whole))
    child.start()
    child.join(300)
    assert child.exitcode == 0
    died = kill_and_finish(work, killed, time.monotonic() - begin, seed)
    print(f"killed {died} of {KILLS} times")
    assert died >= 1
    assert artefacts(killed) == artefacts(whole)
    assert not list(killed.rglob("*.tmp"))


@pytest.fixture(scope="module")
def backbone(demo_world: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("net")
    recipe = _recipe(demo_world, epochs=1)
    es.train(recipe, out=folder, name="net", device="cpu", workers=0, threads=1)
    return str(folder / "net-s0")


def _recipe(demo_world: Path, **changes: Any) -> es.Recipe:
    settings = {
        "arch": "resnet14_demo",
        "arch_options": {"blocks": 1, "channels": [4, 8, 16]},
        "data": f"folder:{demo_world / 'images'}",
        "augmentation": "cifar",
        "input_size": [64, 64],
        "batch_size": 16,
        "regularizers": ["cutmix"],
        "save_interval": 1e-9,
        **changes,
    }
    return es.Recipe.model_validate(settings)


def test_a_training(demo_world: Path, tmp_path: Path) -> None:
    recipe = _recipe(demo_world, epochs=4)
    check(
        lambda folder: es.train(recipe, out=folder, name="net", device="cpu", workers=0, threads=1),
        tmp_path,
        seed=1,
    )


@pytest.fixture(scope="module")
def archive(demo_world: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Outliers that each process has to unpack into its cache first."""
    name = tmp_path_factory.mktemp("packed") / "textures"
    return shutil.make_archive(str(name), "zip", demo_world / "ood" / "textures")


@pytest.mark.parametrize("task", DATA)
def test_a_task(task: str, backbone: str, archive: str, demo_world: Path, tmp_path: Path) -> None:
    sources = {"wsol": f"cub:{demo_world / 'images'}", "caption": f"coco:{demo_world / 'coco'}"}
    sources["detect"] = f"voc:{demo_world}"
    data = sources.get(task, f"folder:{demo_world / 'images'}")
    options = dict(DATA[task])
    if "outliers" in options:
        options["outliers"] = [each.format(archive=archive) for each in options["outliers"]]

    def work(folder: Path) -> object:
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")  # of the child that does this work
        return es.evaluate(
            backbone,
            task,
            data=data,
            out=folder / "reports" / "one",
            name="net",
            device="cpu",
            workers=0,
            threads=1,
            **options,
        )

    check(work, tmp_path, seed=len(task))


def test_a_report(backbone: str, demo_world: Path, tmp_path: Path) -> None:
    data = f"folder:{demo_world / 'images'}"
    for folder in ("whole", "killed"):
        out = tmp_path / folder / "reports" / "one"
        es.evaluate(backbone, "classify", data=data, out=out, name="net", device="cpu", workers=0)

    def work(folder: Path) -> object:
        return es.write_report(folder / "reports" / "one")

    begin = time.monotonic()
    work(tmp_path / "whole")
    kill_and_finish(work, tmp_path / "killed", time.monotonic() - begin, seed=3)
    made = [artefacts(tmp_path / folder / "reports" / "one" / "tables") for folder in ("whole", "killed")]
    assert made[0].keys() == {name for name in made[1] if not name.endswith(".tmp")}
    assert all(made[1][name] == content for name, content in made[0].items())


def test_the_quickstart(tmp_path: Path) -> None:
    """From nothing: the images it draws, its records and their tables."""
    begin = time.monotonic()
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    child = multiprocessing.get_context("fork").Process(target=_child, args=(quickstart, whole))
    child.start()
    child.join(300)
    assert child.exitcode == 0
    died = kill_and_finish(quickstart, killed, time.monotonic() - begin, seed=4)
    print(f"killed {died} of {KILLS} times")
    assert died >= 1
    for part in ("data", "reports/quickstart/results", "reports/quickstart/tables"):
        assert artefacts(killed / part) == artefacts(whole / part)
    assert not list(killed.rglob("*.tmp"))
