"""Only regular files are opened: the others may never end."""

import os
from pathlib import Path

import pytest

from eval_suite.core.files import read_file, require_regular


def test_pipes_devices_and_folders_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(OSError, match=r"Is a directory|not a regular file"):
            require_regular(path)
    with pytest.raises(FileNotFoundError):
        require_regular(tmp_path / "none")


def test_a_link_to_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    assert read_file(tmp_path / "link") == b"x"
