"""Kept pixels: the same as decoded ones, whatever happens to the files, the folder or the process that writes."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from eval_suite.core.errors import InputError
from eval_suite.data import cache, decoding, reading
from eval_suite.data.images import ImageIndex, open_images
from eval_suite.data.loading import Batch, ImageBatches
from eval_suite.data.sizing import EvaluationTransform

CPU = torch.device("cpu")
SIZE = (24, 24)
ROW = 3 * 24 * 24


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for number in range(12):
        path = tmp_path / "set" / "val" / f"c{number % 3}" / f"{number:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(number)
        Image.fromarray(random.integers(0, 256, (40 + number, 50, 3), dtype=np.uint8)).save(path)
    return tmp_path / "set"


def batches(root: Path, where: Path | str, **options: Any) -> ImageBatches:
    index = options.pop("index", None) or open_images(f"folder:{root}")
    transform = options.pop("transform", EvaluationTransform(SIZE))
    settings: dict[str, Any] = {"batch_size": 5, "device": CPU, "workers": 0, "cache": str(where), **options}
    return ImageBatches(index, transform, **settings)


def one_pass(found: ImageBatches) -> Batch:
    return Batch(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def same(one: Batch, other: Batch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the images that are opened in this process."""
    names: list[str] = []
    real = decoding.open_item

    def noted(index: ImageIndex, position: int) -> Image.Image:
        names.append(index.ids[position])
        return real(index, position)

    monkeypatch.setattr(reading, "open_item", noted)
    return names


@pytest.mark.parametrize("workers", [0, 2])
def test_every_further_pass_reads_the_same_pixels_and_no_file(
    images: Path, tmp_path: Path, workers: int, decoded: list[str]
) -> None:
    plain = one_pass(batches(images, "off"))
    kept = batches(images, tmp_path / "kept", workers=workers)
    assert same(one_pass(kept), plain)
    decoded.clear()
    assert same(one_pass(kept), plain)
    assert same(one_pass(batches(images, tmp_path / "kept", batch_size=4)), plain)
    again = list(batches(images, tmp_path / "kept").at([torch.tensor([7, 2, 7]), torch.tensor([0])]))
    assert torch.equal(again[0].images, plain.images[[7, 2, 7]])
    assert decoded == []


def test_subsets_share_what_is_kept_and_add_to_it(images: Path, tmp_path: Path, decoded: list[str]) -> None:
    index = open_images(f"folder:{images}")
    one_pass(batches(images, tmp_path / "kept", index=index.subset(5)))
    assert len(decoded) == 5
    decoded.clear()
    plain = one_pass(batches(images, "off"))
    decoded.clear()
    assert same(one_pass(batches(images, tmp_path / "kept")), plain)
    assert len(decoded) == 7
    decoded.clear()
    assert same(one_pass(batches(images, tmp_path / "kept")), plain)  # from two segments
    assert decoded == []


def test_another_geometry_or_reader_is_kept_apart(images: Path, tmp_path: Path) -> None:
    others: list[dict[str, Any]] = [
        {},
        {"transform": EvaluationTransform((20, 20))},
        {"transform": EvaluationTransform(SIZE, 0.9)},
        {"transform": EvaluationTransform(SIZE, interpolation="bicubic")},
        {"transform": EvaluationTransform(SIZE, stretch=True)},
        {"reader": "pillow"},
    ]
    for number, other in enumerate(others, start=1):
        plain = one_pass(batches(images, "off", **other))
        for _ in range(2):
            assert same(one_pass(batches(images, tmp_path / "kept", **other)), plain)
        assert len(list((tmp_path / "kept").iterdir())) == number


def test_a_file_that_changed_is_read_again_though_its_size_and_time_are_the_same(
    images: Path, tmp_path: Path, decoded: list[str]
) -> None:
    before = one_pass(batches(images, tmp_path / "kept"))
    index = open_images(f"folder:{images}")
    assert index.paths is not None
    path = index.paths[4]
    times, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert path.stat().st_size == times.st_size
    decoded.clear()
    after = one_pass(batches(images, tmp_path / "kept"))
    assert decoded == [index.ids[4]]
    assert same(after, one_pass(batches(images, "off")))
    changed = (before.images != after.images).flatten(1).any(1)
    assert changed.nonzero().flatten().tolist() == [4]


def test_unreadable_images_are_named_in_every_pass(images: Path, tmp_path: Path) -> None:
    index = open_images(f"folder:{images}")
    assert index.paths is not None
    index.paths[3].write_bytes(b"none")
    index.paths[8].unlink()
    for _ in range(2):
        found = batches(images, tmp_path / "kept", index=index)
        assert same(one_pass(found), one_pass(batches(images, "off", index=index)))
        assert found.failed == [index.ids[3], index.ids[8]]


def test_pixels_in_memory_are_kept_by_their_content(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 10, 10, 3), dtype=np.uint8)
    names = [str(number) for number in range(6)]
    index = ImageIndex(
        "x", "cifar10:x", "test", ["a", "b"], names, np.zeros(6, np.int64), tmp_path, None, pixels
    )
    plain = one_pass(batches(tmp_path, "off", index=index))
    for _ in range(2):
        assert same(one_pass(batches(tmp_path, tmp_path / "kept", index=index)), plain)
    other = ImageIndex(
        "x", "cifar10:x", "test", ["a", "b"], names, index.labels, tmp_path, None, 255 - pixels
    )
    assert same(
        one_pass(batches(tmp_path, tmp_path / "kept", index=other)),
        one_pass(batches(tmp_path, "off", index=other)),
    )


# What can go wrong


@pytest.mark.parametrize("when", ["opening", "writing", "publishing"])
def test_a_full_disk_ends_the_keeping_and_not_the_pass(
    images: Path,
    tmp_path: Path,
    when: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(cache, "_SEGMENT_BYTES", 5 * ROW)
        if when == "opening":
            patched.setattr(cache.uuid, "uuid4", full)
        elif when == "writing":
            patched.setattr(cache.np, "ascontiguousarray", full)
        else:
            patched.setattr(cache.os, "fsync", full)
        found = one_pass(batches(images, tmp_path / "kept"))
    assert same(found, one_pass(batches(images, "off")))
    assert "No space left" in capsys.readouterr().err
    assert [path for path in (tmp_path / "kept").rglob("*") if path.is_file()] == []
    assert same(one_pass(batches(images, tmp_path / "kept")), found)


def test_too_little_room_is_said_beforehand(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: usage(1, 1, 2 * 12 * ROW - 1))
    found = one_pass(batches(images, tmp_path / "kept"))
    assert "are not kept" in capsys.readouterr().err
    assert not list((tmp_path / "kept").rglob("*.pixels"))
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: usage(1, 1, 2 * 12 * ROW))
    assert same(one_pass(batches(images, tmp_path / "kept")), found)
    assert "12 images at 24x24" in capsys.readouterr().err
    assert list((tmp_path / "kept").rglob("*.pixels"))


def test_a_folder_that_cannot_be_written_is_read_all_the_same(
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    decoded: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    index = open_images(f"folder:{images}")
    one_pass(batches(images, tmp_path / "kept", index=index.subset(6)))
    real = Path.open

    def refused(path: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if "kept" in str(path) and mode != "rb":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, mode, *rest, **more)

    monkeypatch.setattr(Path, "open", refused)
    decoded.clear()
    for _ in range(2):
        assert len(one_pass(batches(images, tmp_path / "kept")).labels) == 12
    assert len(decoded) == 12
    assert "Permission denied" in capsys.readouterr().err


def test_a_damaged_segment_is_not_used(images: Path, tmp_path: Path) -> None:
    plain = one_pass(batches(images, tmp_path / "kept"))
    (segment,) = (tmp_path / "kept").rglob("*.pixels")
    for content in (segment.read_bytes()[:-1], b"", b"x"):
        segment.write_bytes(content)
        assert same(one_pass(batches(images, tmp_path / "kept")), plain)
        for path in (tmp_path / "kept").rglob("*.pixels"):
            if path != segment:
                path.unlink()


def test_a_file_for_a_folder_is_refused(images: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("")
    with pytest.raises(InputError) as error:
        batches(images, tmp_path / "kept")
    assert error.value.found == f"the file {tmp_path / 'kept'}"


def test_small_sets_do_not_enter_the_users_cache(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    one_pass(batches(images, "on"))
    assert not (tmp_path / "home").exists()
    monkeypatch.setattr(cache, "_WORTH_BYTES", 12 * ROW)
    one_pass(batches(images, "on"))
    assert len(list((tmp_path / "home" / "eval-suite" / "pixels").rglob("*.pixels"))) == 1


# Several processes


FILL = """
import sys, time
from pathlib import Path
import torch
from eval_suite.data import cache, loading, reading
from eval_suite.data.images import open_images

cache._SEGMENT_BYTES = int(sys.argv[3])
found = loading.ImageBatches(
    open_images(f"folder:{sys.argv[1]}"), loading.EvaluationTransform((24, 24)), batch_size=2, device=torch.device("cpu"),
    workers=int(sys.argv[5]), cache=sys.argv[2])
for number, batch in enumerate(found, start=1):
    print(number, flush=True)
    time.sleep(float(sys.argv[4]))
"""


def filling(
    images: Path, kept: Path, segment: int, pause: float, workers: int = 0
) -> "subprocess.Popen[str]":
    words = [sys.executable, "-c", FILL, str(images), str(kept), str(segment), str(pause), str(workers)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.long
@pytest.mark.parametrize("workers", [0, 1])
def test_a_killed_pass_leaves_what_is_whole_and_the_next_goes_on(
    images: Path, tmp_path: Path, decoded: list[str], workers: int
) -> None:
    process = filling(images, tmp_path / "kept", 4 * ROW, 0.3, workers)
    assert process.stdout is not None
    for _ in range(4):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    segments = list((tmp_path / "kept").rglob("*.pixels"))
    assert 1 <= len(segments) <= 2
    time.sleep(0.5)  # until its workers have seen it
    found = one_pass(batches(images, tmp_path / "kept"))
    assert len(decoded) == 12 - 4 * len(segments)
    assert same(found, one_pass(batches(images, "off")))
    left = [path.name for path in (tmp_path / "kept").rglob(".*")]
    assert [name for name in left if ".tmp" in name] == []


@pytest.mark.long
def test_two_processes_at_once_write_the_pixels_once(images: Path, tmp_path: Path) -> None:
    processes = [filling(images, tmp_path / "kept", 2**28, 0.3) for _ in range(2)]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    written = sum(path.stat().st_size for path in (tmp_path / "kept").rglob("*.pixels"))
    assert written in (12 * (ROW + 16), 24 * (ROW + 16))  # twice only if one ended before the other began
    assert same(one_pass(batches(images, tmp_path / "kept")), one_pass(batches(images, "off")))
    shutil.rmtree(tmp_path / "kept")
