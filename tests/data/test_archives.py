"""Packed images are unpacked once, into the cache and nowhere else."""

import io
import os
import signal
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from eval_suite.core.errors import EvalSuiteError, InputError
from eval_suite.data.archives import is_archive
from eval_suite.data.outliers import open_outliers, parse_outliers


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def png(value: int = 0) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), (value, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def packed(path: Path, files: dict[str, bytes], link: str | None = None) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        if link is not None:
            info = tarfile.TarInfo(link)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/hostname"
            archive.addfile(info)
    return path


@pytest.mark.parametrize("name", ["set.tar", "set.tar.gz", "set.tgz", "SET.v2.zip"])
def test_images_in_an_archive(tmp_path: Path, cache: Path, name: str) -> None:
    file = packed(tmp_path / name, {"in/b.png": png(9), "in/a.png": png(), "in/readme.txt": b"x"})
    before = set(tmp_path.iterdir())
    for _ in range(2):
        index = open_outliers(parse_outliers(f"x=folder:{file}")).images
        assert (index.ids, len(index.notes)) == (["in/a.png", "in/b.png"], 1)
        assert index.paths is not None
        assert all(path.is_relative_to(cache) and path.is_file() for path in index.paths)
    assert set(tmp_path.iterdir()) - before == {cache}


def test_an_archive_that_changed_is_unpacked_again(tmp_path: Path) -> None:
    packed(tmp_path / "a.zip", {"a.png": png()})
    first = open_outliers(parse_outliers(f"x=folder:{tmp_path}/a.zip")).images
    packed(tmp_path / "a.zip", {"a.png": png(), "b.png": png()})
    assert (len(first), len(open_outliers(parse_outliers(f"x=folder:{tmp_path}/a.zip")).images)) == (1, 2)


@pytest.mark.parametrize("evil", ["../out.png", "/abs.png", "a/../../out.png", "..\\out.png", "C:\\out.png"])
@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_a_name_that_leads_out_is_refused_and_nothing_written(tmp_path: Path, name: str, evil: str) -> None:
    file = packed(tmp_path / name, {"ok.png": png(), evil: png()})
    with pytest.raises(InputError, match="lie within it"):
        open_outliers(parse_outliers(f"x=folder:{file}"))
    assert not list(tmp_path.rglob("*.png"))


def test_links_are_left_out(tmp_path: Path) -> None:
    file = packed(tmp_path / "a.tar", {"a.png": png()}, link="b.png")
    assert open_outliers(parse_outliers(f"x=folder:{file}")).images.ids == ["a.png"]


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.tar"])
@pytest.mark.parametrize("content", [b"", b"<html>", b"PK\x03\x04broken", b"\x1f\x8b\x08broken"])
def test_a_damaged_archive_is_one_line(tmp_path: Path, cache: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="expected an archive"):
        open_outliers(parse_outliers(f"x=folder:{tmp_path / name}"))
    assert not list(cache.rglob("*.png"))


def test_a_truncated_archive_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    file = packed(tmp_path / "a.tar", {"a.png": png() * 100, "b.png": png() * 100})
    file.write_bytes(file.read_bytes()[:12_000])
    with pytest.raises(InputError):
        open_outliers(parse_outliers(f"x=folder:{file}"))
    assert not list(cache.rglob("*.png"))


def test_an_archive_without_images_is_refused(tmp_path: Path) -> None:
    file = packed(tmp_path / "a.zip", {"readme.txt": b"x"})
    with pytest.raises(InputError, match="expected images"):
        open_outliers(parse_outliers(f"x=folder:{file}"))


@pytest.mark.parametrize(
    ("name", "expected"), [("A.TAR", True), ("a.txz", True), ("a.gz", False), ("a.png", False)]
)
def test_which_files_are_archives(name: str, expected: bool) -> None:
    assert is_archive(Path(name)) is expected


def test_what_a_killed_process_had_unpacked_is_removed_and_done_anew(tmp_path: Path, cache: Path) -> None:
    """The process is killed in the middle of the second image, as the machine that runs out of memory does."""
    file = packed(tmp_path / "a.zip", {"a.png": png(), "b.png": png(9)})
    script = (
        "import os, shutil, signal\n"
        "from pathlib import Path\n"
        "from eval_suite.data import archives\n"
        "copy = shutil.copyfileobj\n"
        "def killed(stream, out):\n"
        "    copy(stream, out)\n"
        "    if out.name.endswith('b.png'):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "archives.shutil.copyfileobj = killed\n"
        f"archives.unpacked(Path({str(file)!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    base = cache / "eval-suite" / "unpacked"
    (left,) = base.iterdir()
    assert (left / "whole" / "a.png").exists()
    index = open_outliers(parse_outliers(f"x=folder:{file}")).images
    assert index.ids == ["a.png", "b.png"]
    assert list(base.iterdir()) == [index.root]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_cannot_be_written_is_the_machines_fault(tmp_path: Path, cache: Path) -> None:
    file = packed(tmp_path / "a.zip", {"a.png": png()})
    cache.mkdir(mode=0o500)
    with pytest.raises(EvalSuiteError, match="not allowed to use"):
        open_outliers(parse_outliers(f"x=folder:{file}"))
