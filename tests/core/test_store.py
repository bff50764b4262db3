"""Files are written whole or not at all, and a folder has one writer."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from eval_suite.core.cards import BackboneCard
from eval_suite.core.errors import BusyError, EvalSuiteError, InputError
from eval_suite.core.processes import identity
from eval_suite.core.store import (
    Cell,
    atomic_write,
    cell_name,
    exclusive,
    read_card,
    read_finished,
    safe_name,
    write_json,
    write_json_if_changed,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_cell_names_every_place() -> None:
    cell = Cell("demo", "cutmix", 3, Path("/r"))
    assert cell.name == "cutmix-s3"
    assert cell.checkpoint == Path("/r/checkpoints/demo/cutmix-s3")
    assert cell.report == Path("/r/reports/demo")
    assert cell.record("wsol") == Path("/r/reports/demo/results/cutmix-s3/wsol.json")
    assert cell.record("wsol").parent == cell.results


@pytest.mark.parametrize(("mode", "content"), [("w", "grün\n"), ("wb", b"\x00\xff")])
def test_atomic_write_makes_folders_and_leaves_only_the_file(mode: str, content: Any, tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    with atomic_write(path, mode) as stream:
        stream.write(content)
        assert not path.exists()
    assert path.read_bytes() == (content if mode == "wb" else content.encode("utf-8"))
    assert names(path.parent) == ["file"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_a_writer_that_fails_leaves_the_old_file(kind: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def write() -> None:
        with atomic_write(path) as stream:
            stream.write("new, but only in pa")
            raise kind("stopped")

    with pytest.raises(kind, match="stopped"):
        write()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with atomic_write(path) as stream:
        stream.write("new")
        stream.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_is_told_in_one_line_and_leaves_the_old_file(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(
        EvalSuiteError, match=r"cannot write .*file: No space left on device; free some space"
    ) as caught:
        write_json(path, {"a": 1})
    assert "\n" not in str(caught.value)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_a_disk_that_fills_while_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    full = os.open("/dev/full", os.O_WRONLY)
    real = os.fdopen

    def on_full_disk(handle: int, *args: Any, **options: Any) -> Any:
        os.dup2(full, handle)
        return real(handle, *args, **options)

    monkeypatch.setattr(os, "fdopen", on_full_disk)

    def write() -> None:
        with atomic_write(path, "wb") as stream:
            stream.write(b"x" * 100_000)

    try:
        with pytest.raises(EvalSuiteError, match="No space left on device"):
            write()
    finally:
        os.close(full)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EvalSuiteError, match="choose another folder"):
        write_json(tmp_path / "file" / "below" / "r.json", {})
    with (
        pytest.raises(EvalSuiteError, match="choose another folder"),
        exclusive(tmp_path / "file", "training"),
    ):
        pass
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_is_strict(value: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "r.json", {"a": [value]})
    assert names(tmp_path) == []


def test_an_unchanged_file_keeps_its_time(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    assert write_json_if_changed(path, {"b": 1, "a": [1, 2]})
    os.utime(path, (1, 1))
    assert not write_json_if_changed(path, {"a": [1, 2], "b": 1})
    assert path.stat().st_mtime == 1
    assert write_json_if_changed(path, {"a": [1, 3], "b": 1})
    assert path.stat().st_mtime > 1
    assert json.loads(path.read_text()) == {"a": [1, 3], "b": 1}


_HOLDER = """
import sys, time
from pathlib import Path
from eval_suite.core.store import exclusive
with exclusive(Path(sys.argv[1]), "training"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_learns_who_holds_the_folder_until_that_one_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "cell"
    holder = subprocess.Popen([sys.executable, "-c", _HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(BusyError, match=rf"cell is in use: process {holder.pid} is already evaluating"),
            exclusive(folder, "evaluating"),
        ):
            raise AssertionError("two writers")
        assert holder.poll() is None
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with exclusive(folder, "training"):
            assert (folder / ".lock").read_text() == identity()
    finally:
        holder.kill()
        holder.communicate()


def test_a_folder_is_free_again_after_use_and_after_an_error(tmp_path: Path) -> None:
    def hold() -> None:
        with exclusive(tmp_path, "training"):
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        hold()
    with (
        exclusive(tmp_path, "training"),
        pytest.raises(BusyError, match=str(os.getpid())),
        exclusive(tmp_path, "training"),
    ):
        pass
    with exclusive(tmp_path, "training"):
        pass


def test_a_given_name_of_which_nothing_is_left_is_refused() -> None:
    assert (cell_name("a/b", "x"), cell_name(None, "α"), cell_name("", "x")) == ("a-b", "unnamed", "x")
    with pytest.raises(InputError) as caught:
        cell_name("α", "x")
    assert caught.value.found == "'α'"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Top-1 error", "Top-1-error"),
        ("../../etc/passwd", "etc-passwd"),
        ("..", "unnamed"),
        ("", "unnamed"),
        ("a/b c", "a-b-c"),
        ("v1.0_x", "v1.0_x"),
    ],
)
def test_a_safe_name_stays_in_its_folder(text: str, name: str) -> None:
    assert safe_name(text) == name


def test_a_card_is_read_or_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a backbone's card at .*card.json, found no such file"):
        read_card(tmp_path)
    kept = BackboneCard(
        name="a", source="", arch="b", classes=[], input_size=(8, 8), mean=(0, 0, 0), std=(1, 1, 1)
    )
    write_json(tmp_path / "card.json", kept.model_dump(mode="json"))
    assert read_card(tmp_path) == kept
    write_json(tmp_path / "card.json", {**kept.model_dump(mode="json"), "std": [1, 1]})
    with pytest.raises(InputError, match=r"a fault at 'std.2'"):
        read_card(tmp_path)


def test_many_writers_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from eval_suite.core.store import write_json\n"
        "for i in range(40): write_json(Path(sys.argv[1]), [sys.argv[2]] * 2000)"
    )
    path = tmp_path / "r.json"
    write_json(path, [""] * 2000)
    writers = [subprocess.Popen([sys.executable, "-c", script, str(path), name]) for name in "ab"]
    reads = 0
    while any(writer.poll() is None for writer in writers):
        content = json.loads(path.read_text())
        assert len(content) == 2000
        assert len(set(content)) == 1
        reads += 1
        time.sleep(0.002)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert reads > 10
    assert names(tmp_path) == ["r.json"]


def test_a_training_is_finished_only_with_weights_of_its_recipe_and_seed(tmp_path: Path) -> None:
    assert read_finished(tmp_path, "abc", 0) is None
    card = BackboneCard(
        name="net",
        source="net",
        arch="net",
        classes=["a", "b"],
        input_size=(8, 8),
        mean=(0, 0, 0),
        std=(1, 1, 1),
        training={"digest": "abc", "seed": 0},
    )
    write_json(tmp_path / "card.json", card.model_dump(mode="json"))
    assert read_finished(tmp_path, "abc", 0) is None
    (tmp_path / "model.safetensors").touch()
    assert read_finished(tmp_path, "abc", 0) == card
    assert read_finished(tmp_path, "abd", 0) is None
    assert read_finished(tmp_path, "abc", 1) is None
    (tmp_path / "card.json").write_text("{")
    with pytest.raises(InputError, match="backbone's card"):
        read_finished(tmp_path, "abc", 0)


def test_a_file_name_that_is_not_utf8_is_written_and_read(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"name": os.fsdecode(b"caf\xe9.png"), "other": "été"})
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"name": "caf\\xe9.png", "other": "été"}


def test_what_a_killed_writer_left_goes_with_the_next_write_and_what_another_writes_stays(
    tmp_path: Path,
) -> None:
    abandoned = tmp_path / ".r.json.abc.tmp"
    abandoned.write_text("[")
    with atomic_write(tmp_path / "r.json") as stream:
        stream.write("[1]")
        (held,) = tmp_path.glob(".r.json.*.tmp")
        assert held != abandoned
        write_json(tmp_path / "r.json", [2])
        assert held.exists()
    assert names(tmp_path) == ["r.json"]
    assert json.loads((tmp_path / "r.json").read_text()) == [1]
