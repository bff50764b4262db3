"""Every stage killed at ten random moments and started again ends with the artefacts of an uninterrupted one, byte for byte."""

import json
import multiprocessing
import os
import random
import shutil
import time
from collections.abc import Callable
from contextlib import chdir
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

import eval_suite as es
from eval_suite.demo.layouts import DemoSize
from eval_suite.demo.world import SIZES
from eval_suite.report import figures
from eval_suite.suite import quickstart as quickstart_module
from eval_suite.training.fit_run import FitRun
from tests.data.masks_on_disk import write_devkit

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("few_resamples")]

KILLS = 10
# What a second of another day or a longer way round changes.
_OF_THE_MOMENT = {"run", "seconds", "step_seconds", "memory", "source"}

Work = Callable[[Path], object]

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
    "caption": {"embed": 8, "hidden": 16, "epochs": 3, "min_count": 2, "num_beams": 2, "fine_tune": True},
    "detect": {
        "detectors": ["ssd"],
        "iterations": 6,
        "ssd": {"input_size": (64, 64), "batch_size": 2, "warmup": 0, "augmentation": "flip"},
    },
    "segment": {"short_side": 48, "iterations": 6, "fit_batch_size": 2, "warmup": 2},
}


def artefacts(folder: Path) -> dict[str, Any]:
    """Every file below a folder, by its path there; those of JSON are read. The page says when it was made."""
    held: dict[str, Any] = {}
    files = (
        path for path in folder.rglob("*") if path.is_file() and path.name not in (".lock", "index.html")
    )
    of_others = set((folder / "cache").glob("*")) - {folder / "cache" / "eval-suite"}
    files = (path for path in files if not of_others & set(path.parents))
    for path in sorted(files):
        content = path.read_bytes()
        if path.suffix == ".json":
            held[str(path.relative_to(folder))] = json.loads(content)
        elif path.suffix == ".jsonl":
            held[str(path.relative_to(folder))] = [json.loads(line) for line in content.splitlines()]
        else:
            held[str(path.relative_to(folder))] = content
    return held


def first_difference(whole: Any, other: Any, where: str = "") -> str | None:
    """Where two trees of artefacts differ first, in one line; None where they are equal but for what time alone decides."""
    if isinstance(whole, dict) and isinstance(other, dict):
        for key in dict.fromkeys([*whole, *other]):
            at = f"{where} > {key}" if where else str(key)
            if key in _OF_THE_MOMENT:
                continue
            if key not in whole or key not in other:
                return f"{at}: only in the {'uninterrupted' if key in whole else 'killed'} one"
            if found := first_difference(whole[key], other[key], at):
                return found
        return None
    if isinstance(whole, list) and isinstance(other, list) and len(whole) == len(other):
        pairs = enumerate(zip(whole, other, strict=True))
        return next(
            (found for i, (a, b) in pairs if (found := first_difference(a, b, f"{where} > {i}"))), None
        )
    if whole == other and type(whole) is type(other):
        return None
    if isinstance(whole, bytes) and isinstance(other, bytes):
        at = next(
            (i for i, (a, b) in enumerate(zip(whole, other, strict=False)) if a != b),
            min(len(whole), len(other)),
        )
        return f"{where}: {len(whole)} and {len(other)} bytes, which differ from byte {at} on"
    return f"{where}: {str(whole)[:200]} uninterrupted, {str(other)[:200]} killed"


def test_the_first_difference_is_named_and_nothing_else() -> None:
    whole = {"a.json": {"run": 1, "metrics": [{"value": 0.5}, {"value": 0.25}]}, "b.png": b"abc"}
    later = {"a.json": {"run": 2, "metrics": [{"value": 0.5}, {"value": 0.25}]}, "b.png": b"abc"}
    assert first_difference(whole, later) is None
    later["a.json"]["metrics"][1]["value"] = 0.75  # type: ignore[index]
    assert first_difference(whole, later) == "a.json > metrics > 1 > value: 0.25 uninterrupted, 0.75 killed"
    assert (
        first_difference(whole, whole | {"b.png": b"ab"})
        == "b.png: 3 and 2 bytes, which differ from byte 2 on"
    )
    assert first_difference(whole, {"a.json": whole["a.json"]}) == "b.png: only in the uninterrupted one"
    assert first_difference([1, 2], [1, 2, 3], "log") == "log: [1, 2] uninterrupted, [1, 2, 3] killed"


def _start(work: Work, folder: Path) -> Any:
    # A fork has imported and compiled what this process has: its time is that of the work.
    child = multiprocessing.get_context("fork").Process(target=work, args=(folder,))
    child.start()
    return child


def _finish(work: Work, folder: Path) -> float:
    """The seconds of the work when nothing kills it."""
    begin = time.monotonic()
    child = _start(work, folder)
    child.join(300)
    assert child.exitcode == 0
    return time.monotonic() - begin


def _up_to_the_end_of_its_fit(work: Work, folder: Path) -> None:
    """The work until all steps of a fit are saved but its outcome is not; all of it where nothing is fitted."""
    with patch.object(FitRun, "finish", lambda *_, **__: os._exit(0)):
        work(folder)


def check(
    work: Work,
    folder: Path,
    seed: int,
    begin: Work = Path.mkdir,
) -> None:
    """Kill the work ten times, spread over the time it takes, going on after each, and compare with an uninterrupted one.

    Before these, once where the steps of a fit are done and only its outcome is missing.

    Where it ends before it is killed, which is where much of it was done already, what it made is compared and it begins anew.
    """
    whole, killed = folder / "whole", folder / "killed"
    begin(whole)
    work(whole)  # in this process, so that the others need not import and compile
    expected = artefacts(whole)

    def require_the_same() -> None:
        difference = first_difference(expected, artefacts(killed))
        assert difference is None  # alone, or pytest would print both sides
        assert not list(killed.rglob("*.tmp"))
        shutil.rmtree(killed)
        begin(killed)

    begin(killed)
    _start(partial(_up_to_the_end_of_its_fit, work), killed).join(300)
    _finish(work, killed)
    require_the_same()
    seconds = _finish(work, killed)
    require_the_same()
    draw, ends = random.Random(seed), 0
    for part in draw.sample(range(KILLS), KILLS):
        moment = (part + draw.random()) / KILLS * seconds
        while True:
            child = _start(work, killed)
            child.join(moment)
            if child.is_alive():
                child.kill()
                child.join()
                break
            assert child.exitcode == 0
            require_the_same()
            ends, moment = ends + 1, 0.8 * moment
    _finish(work, killed)
    require_the_same()
    print(f"killed {KILLS} times over {seconds:.2f} s; finished {ends} times between")


@pytest.fixture(autouse=True)
def _saved_at_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FitRun, "due", lambda _fit: True)


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
        **changes,
    }
    return es.Recipe.model_validate(settings)


def test_a_training(demo_world: Path, tmp_path: Path) -> None:
    recipe = _recipe(demo_world, epochs=3)
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
def test_a_task(
    task: str,
    backbone: str,
    archive: str,
    demo_world: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Java's starts would be nearly all of the time, and nearly all kills would fall into them.
    monkeypatch.setattr("eval_suite.tasks.caption.score.java_program", lambda: None)
    sources = {"wsol": f"cub:{demo_world / 'images'}", "caption": f"coco:{demo_world / 'coco'}"}
    sources["detect"] = f"voc:{demo_world}"
    data = sources.get(task, f"folder:{demo_world / 'images'}")
    options = dict(DATA[task])
    if "outliers" in options:
        options["outliers"] = [each.format(archive=archive) for each in options["outliers"]]
    if task == "segment":
        devkit = write_devkit(tmp_path / "VOCdevkit")
        data, options["classes"] = f"voc:{devkit}", devkit / "classes.txt"

    def work(folder: Path) -> None:
        with patch.dict(os.environ, XDG_CACHE_HOME=str(folder / "cache")):
            es.evaluate(
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
    es.evaluate(
        backbone, "classify", data=data, out=tmp_path / "reports" / "one", name="net", device="cpu", workers=0
    )
    check(
        lambda folder: es.write_report(folder / "reports" / "one"),
        tmp_path,
        seed=3,
        begin=lambda folder: shutil.copytree(tmp_path / "reports", folder / "reports"),
    )


def test_the_quickstart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From nothing: the images it draws, its records and their tables; one backbone, two tasks and no charts."""
    monkeypatch.setitem(SIZES, "quick", DemoSize(1, 2, 1, 1, 1, 1, 1, 6))
    monkeypatch.setattr(quickstart_module, "BACKBONES", ("baseline",))
    of_all = quickstart_module._tasks
    monkeypatch.setattr(
        quickstart_module, "_tasks", lambda data: {t: of_all(data)[t] for t in ("classify", "ood")}
    )
    monkeypatch.setattr(figures, "_to_svg", lambda *_: figures.Drawing("", 1))

    def work(folder: Path) -> None:
        with chdir(folder):  # as it is called: records say where their data lies, by the path given
            quickstart_module.quickstart()

    check(work, tmp_path, seed=4)
