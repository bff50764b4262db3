"""``./run_all.sh setup`` with an installer of the tests' own: what goes wrong is one line that says what to do."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Does what uv does with a folder, or fails as uv does.
UV = """#!/usr/bin/env bash
case "$1 $2" in
    "--version "*) echo "uv 0.9.9" ;;
    "venv "*)
        [ -z "${VENV_SAYS:-}" ] || { echo "$VENV_SAYS" >&2; exit 2; }
        mkdir -p "${@: -1}/bin" && ln -sf "${FAKE_PYTHON:-$(command -v python3)}" "${@: -1}/bin/python" ;;
    "pip sync")
        echo sync >>calls
        [ -z "${SYNC_SAYS:-}" ] || { echo "$SYNC_SAYS" >&2; exit 2; }
        echo "Prepared 1 package in 1s" ;;
esac
"""


@pytest.fixture
def set_up(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    for name in ("run_all.sh", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "uv").write_text(UV)
    (tools / "uv").chmod(0o755)

    def run(**variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", **variables}
        return subprocess.run(
            ["./run_all.sh", "setup"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def calls(folder: Path) -> int:
    return len((folder / "calls").read_text().splitlines()) if (folder / "calls").exists() else 0


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr.splitlines()[-1]


def test_installs_once(set_up: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    first, second = set_up(), set_up()
    assert (first.returncode, second.returncode) == (0, 0)
    assert (calls(tmp_path), second.stderr) == (1, "")


def test_a_changed_lock_installs_again(
    set_up: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    set_up()
    with (tmp_path / "requirements.lock").open("a") as lock:
        lock.write("# newer\n")
    assert set_up().returncode == 0
    assert calls(tmp_path) == 2


@pytest.mark.parametrize(
    ("variable", "says", "found"),
    [
        ("SYNC_SAYS", "error: failed to write: No space left on device (os error 28)", "8 GB of free disk"),
        (
            "VENV_SAYS",
            "error: No interpreter found for Python >=3.11, <3.14",
            "expected Python 3.11 to 3.13, found Python",
        ),
        ("SYNC_SAYS", "error: error sending request for url: dns error", "no connection"),
    ],
)
def test_what_stops_the_installer_is_one_line(
    set_up: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
    variable: str,
    says: str,
    found: str,
) -> None:
    done = set_up(**{variable: says})
    assert done.returncode == 2
    assert found in last_line(done)
    assert not (tmp_path / ".venv/.installed").exists()
    assert set_up().returncode == 0, "it continues once the cause is gone"


def test_python_too_old(set_up: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    old = tmp_path / "old-python"
    old.write_text(
        '#!/bin/sh\n[ "$1" = -V ] && echo "Python 3.8.1" && exit\ncase "$2" in *version_info*) exit 1 ;; esac\n'
    )
    old.chmod(0o755)
    done = set_up(FAKE_PYTHON=str(old))
    assert done.returncode == 2
    assert "expected Python 3.11 to 3.13, found Python 3.8.1" in last_line(done)
    assert not (tmp_path / ".venv").exists()


def test_an_environment_whose_python_is_gone_is_made_again(
    set_up: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    set_up()
    python = tmp_path / ".venv/bin/python"
    python.unlink()
    python.symlink_to(tmp_path / "gone")
    done = set_up()
    assert done.returncode == 0, done.stderr
    assert calls(tmp_path) == 2
    assert subprocess.run([python, "-c", ""]).returncode == 0


def test_an_installation_that_was_killed_goes_on(
    set_up: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    set_up()
    (tmp_path / ".venv/.installed").unlink()
    assert set_up().returncode == 0
    assert calls(tmp_path) == 2
