"""Damaged inputs of every kind, drawn by a seed: each ends in time, in one line, with code 0, 1 or 2, and nothing half written."""

import json
import os
import pickle
import random
import shutil
import signal
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from scipy.io import savemat
from torch import nn

from eval_suite.cli.main import TRACEBACK_VARIABLE, main
from eval_suite.training.fit_run import FitRun
from tests.conftest import Said
from tests.data.voc_on_disk import write_devkit

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("few_resamples")]

SECONDS, CASES = 60, 8
NETWORK = """
from torch import nn
def make():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
"""
COMPUTE = ["--device", "cpu", "--workers", "0", "--threads", "1"]
FLAGS = [
    *COMPUTE,
    "--input-size",
    "16",
    "16",
    "--mean",
    "0",
    "0",
    "0",
    "--std",
    "1",
    "1",
    "1",
    "--num-classes",
    "2",
]
OOD = ["ood", "--backbone", "net.py:make", "--data", "folder:images", *FLAGS, "--outliers"]
TRAIN = ["train", "--recipe", "r.yaml", *COMPUTE, "--name"]
RECIPE = """
arch: resnet14_demo
arch_options: {blocks: 1, channels: [4, 4, 4]}
data: "folder:images"
input_size: [16, 16]
epochs: 1
batch_size: 4
"""
SUITE = """
name: s
recipe: {arch: resnet14_demo, data: "folder:images", epochs: 1, batch_size: 4}
backbones: {baseline: {}, cutmix: {regularizers: [{cutmix: {prob: 0.5}}]}}
tasks: {classify: {data: "folder:images"}}
"""


class Kind(NamedTuple):
    """An input: the file to damage, and the command that reads it."""

    file: str
    words: list[str]


KINDS = {
    "torch weights": Kind(
        "w.pth", ["classify", "--backbone", "net.py:make@w.pth", "--data", "folder:images", *FLAGS]
    ),
    "safetensors": Kind(
        "w.safetensors",
        ["classify", "--backbone", "net.py:make@w.safetensors", "--data", "folder:images", *FLAGS],
    ),
    "images": Kind(
        "images/val/a/0.png", ["classify", "--backbone", "net.py:make", "--data", "folder:images", *FLAGS]
    ),
    "network": Kind("net.py", ["classify", "--backbone", "net.py:make", "--data", "folder:images", *FLAGS]),
    "suite": Kind("s.yaml", ["run", "s.yaml", "--dry-run"]),
    "annotation": Kind("voc/VOC2007/Annotations/000001.xml", ["data", "check", "voc:voc"]),
    "list of a split": Kind("voc/VOC2007/ImageSets/Main/test.txt", ["data", "check", "voc:voc"]),
    "captions": Kind("coco/annotations/captions_val2014.json", ["data", "check", "coco:coco"]),
    "CIFAR": Kind("cifar/cifar-10-batches-py/test_batch", ["data", "check", "cifar10:cifar"]),
    "predictions": Kind("p.npz", ["score", "classify", "--predictions", "p.npz"]),
    "maps": Kind("m.npz", ["score", "wsol", "--predictions", "m.npz", "--truth", "cub:cub"]),
    "boxes": Kind(
        "cub/bounding_boxes.txt", ["score", "wsol", "--predictions", "m.npz", "--truth", "cub:cub"]
    ),
    "OOD scores": Kind("o.npz", ["score", "ood", "--predictions", "o.npz"]),
    "detections": Kind(
        "d.json",
        ["score", "detect", "--predictions", "d.json", "--truth", "voc:voc", "--split", "VOC2007/test"],
    ),
    "record": Kind("reports/r/results/make-s0/classify.json", ["report", "reports/r"]),
    "outcomes": Kind("reports/r/results/make-s0/classify/outcomes.npz", ["report", "reports/r"]),
    "card": Kind(
        "checkpoints/single/c-s0/card.json",
        ["classify", "--backbone", "checkpoints/single/c-s0", "--data", "folder:images", *COMPUTE],
    ),
    "class names": Kind(
        "names.txt",
        [
            "classify",
            "--backbone",
            "net.py:make",
            "--data",
            "folder:images",
            *FLAGS,
            "--classes",
            "names.txt",
        ],
    ),
    "packed outliers": Kind("o.zip", [*OOD, "x=folder:o.zip"]),
    "list of outliers": Kind("o.txt", [*OOD, "x=folder:o.txt"]),
    "SVHN": Kind("svhn/test_32x32.mat", [*OOD, "svhn:svhn"]),
    "state of a training": Kind("checkpoints/single/t-s0/state.pt", [*TRAIN, "t"]),
    "recipe": Kind("r.yaml", [*TRAIN, "u"]),
}


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Every file of a sound small world, by its path."""
    root = tmp_path_factory.mktemp("originals")
    with inside(root):
        write_world(root)
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def write_world(root: Path) -> None:
    """One small input of each kind."""
    rng = np.random.default_rng(0)
    (root / "net.py").write_text(NETWORK)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    torch.save(net.state_dict(), root / "w.pth")
    save_file(net.state_dict(), root / "w.safetensors")
    for split in ("train", "val"):
        for name in "ab":
            folder = root / "images" / split / name
            folder.mkdir(parents=True)
            for i in range(10):
                Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    (root / "s.yaml").write_text(SUITE)
    write_devkit(root / "voc")
    folder = root / "coco" / "annotations"
    folder.mkdir(parents=True)
    (root / "coco" / "val2014").mkdir()
    Image.new("RGB", (20, 20)).save(root / "coco/val2014/a.jpg")
    captions = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "annotations": [{"id": 1, "image_id": 1, "caption": "a dog"}],
    }
    (folder / "captions_val2014.json").write_text(json.dumps(captions))
    logits = rng.normal(size=(8, 2)).astype(np.float32)
    ids = np.array([f"i{i}" for i in range(8)])
    np.savez(root / "p.npz", logits=logits, ids=ids, labels=np.arange(8) % 2)
    write_cub(root / "cub")
    maps = {
        "maps": rng.random((4, 4, 4)),
        "logits": logits[:4],
        "ids": np.array([f"{c}/{i}.png" for c in "ab" for i in (0, 1)]),
    }
    np.savez(root / "m.npz", **maps, input_size=np.array([16, 16]))
    write_cifar(root / "cifar" / "cifar-10-batches-py")
    scores = {"known/energy": rng.random(30), "outliers/svhn/energy": rng.random(30)}
    np.savez(root / "o.npz", **scores)
    rows = [{"image_id": "000001", "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]
    (root / "d.json").write_text(json.dumps(rows))
    (root / "names.txt").write_text("a\nb\n")
    outliers = sorted((root / "images" / "train").rglob("*.png"))
    (root / "o.txt").write_text("".join(f"{path.relative_to(root)} 0\n" for path in outliers))
    with zipfile.ZipFile(root / "o.zip", "w") as archive:
        for path in outliers:
            archive.write(path, path.parent.name + path.name)
    (root / "svhn").mkdir()
    pixels = rng.integers(0, 255, (32, 32, 3, 6), dtype=np.uint8)
    savemat(root / "svhn" / "test_32x32.mat", {"X": pixels, "y": np.arange(6)[:, None] + 1})
    write_runs(root)


def write_cub(root: Path) -> None:
    """Four images of two classes, with their boxes."""
    root.mkdir()
    names = [f"{name}/{i}.png" for name in "ab" for i in range(2)]
    for name in names:
        (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (9, 9, 9)).save(root / "images" / name)
    tables = {
        "images": names,
        "image_class_labels": [1, 1, 2, 2],
        "train_test_split": [0] * 4,
        "classes": ["a", "b"],
    }
    for table, values in {**tables, "bounding_boxes": ["1.0 2.0 9.0 8.0"] * 4}.items():
        (root / f"{table}.txt").write_text(
            "".join(f"{i} {value}\n" for i, value in enumerate(values, start=1))
        )


def write_cifar(root: Path) -> None:
    """Ten test images of CIFAR-10."""
    root.mkdir(parents=True)
    pixels = np.random.default_rng(1).integers(0, 255, (10, 3072), dtype=np.uint8)
    (root / "test_batch").write_bytes(pickle.dumps({b"data": pixels, b"labels": list(range(10))}, 2))
    (root / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"c%d" % i for i in range(10)]}, 2))


def write_runs(root: Path) -> None:
    """What commands leave: a record, a finished training and one that was stopped before its end."""
    (root / "r.yaml").write_text(RECIPE)
    assert main([*KINDS["images"].words, "--out", "reports/r"]) == 0
    assert main([*TRAIN, "c"]) == 0
    with patch.object(FitRun, "finish", side_effect=KeyboardInterrupt):
        assert main([*TRAIN, "t"]) == 130
    assert (root / KINDS["state of a training"].file).is_file()


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in a folder."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


class StandsStillError(BaseException):
    """Not an `Exception`, which a command would word as it words any other, and end well."""


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Fail where the command stands still."""

    def late(_signal: int, _frame: FrameType | None) -> None:
        raise StandsStillError(f"no end within {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def damaged(content: bytes, draw: random.Random) -> bytes:
    """The content with one to three faults."""
    for _ in range(draw.randint(1, 3)):
        size = len(content)
        at, length = draw.randrange(size + 1), draw.randint(1, 40)
        content = draw.choice(
            [
                lambda c, at, n: c[:at],
                lambda c, at, n: c[:at] + c[at + n :],
                lambda c, at, n: c[:at] + draw.randbytes(n) + c[at:],
                lambda c, at, n: c[:at] + draw.randbytes(n) + c[at + n :],
                lambda c, at, n: c[:at] + c[at : at + n] * 3 + c[at + n :],
                lambda c, at, n: c[:at] + draw.choice(PIECES) + c[at + draw.randint(0, 4) :],
            ]
        )(content, at, length)
    return content


PIECES = [
    *(
        text.encode()
        for text in (
            "²",
            "1e999",
            "-1",
            "NaN",
            "null",
            "[]",
            "{}",
            "\0",
            "é",
            "\ud7ff",
            "../x",
            "9" * 40,
            "&a *a",
        )
    ),
    b"\xff\xfe",
    b"\xe9",
]


def write(root: Path, originals: dict[str, bytes]) -> None:
    """The world anew."""
    for left in root.iterdir():
        shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
    for name, content in originals.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def require_a_good_end(said: Said, root: Path) -> None:
    """What every command has to hold, whatever it is given."""
    assert said.code in (0, 1, 2), said
    assert TRACEBACK_VARIABLE not in said.err
    assert "Traceback" not in said.err
    if said.code and "error: " not in said.out:  # `data check` lists its findings as its result
        assert sum(line.startswith("error: ") for line in said.err.splitlines()) == 1, said.err
    assert not list(root.rglob("*.tmp"))
    for record in root.glob("reports/single/results/*/*.json"):
        json.loads(record.read_text("utf-8"))


def test_a_command_that_stands_still_fails_here(
    originals: dict[str, bytes], cli: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, originals)
    (tmp_path / "net.py").write_text("import time\ntime.sleep(30)\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StandsStillError), time_limit(3):
        cli("classify", "--backbone", "net.py:make", "--data", "folder:images", *FLAGS)


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_end_well(
    kind: str,
    originals: dict[str, bytes],
    tmp_path: Path,
    cli: Callable[..., Said],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw = random.Random(f"{kind} 0")
    file, words = KINDS[kind]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write(tmp_path, originals)
    with inside(tmp_path):
        assert cli(*words).code == 0  # what is not damaged goes through, or no damage would be looked at
    for _ in range(CASES):
        write(tmp_path, originals)
        (tmp_path / file).write_bytes(damaged(originals[file], draw))
        with inside(tmp_path), time_limit(SECONDS):
            require_a_good_end(cli(*words), tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_ends_well(
    kind: str, originals: dict[str, bytes], tmp_path: Path, cli: Callable[..., Said]
) -> None:
    file, words = KINDS[kind]
    write(tmp_path, originals)
    path = tmp_path / file
    for make in (
        lambda: os.mkfifo(path),
        lambda: path.symlink_to("/dev/zero"),
        lambda: path.symlink_to(path.name),
        lambda: path.write_bytes(b""),
        path.mkdir,
    ):
        if path.exists() or path.is_symlink():
            path.unlink()
        make()
        with inside(tmp_path), time_limit(SECONDS):
            require_a_good_end(cli(*words), tmp_path)
