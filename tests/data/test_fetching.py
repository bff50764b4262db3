"""Downloads that are cut off, lied to and moved, from a server on this machine."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from eval_suite.core.errors import EvalSuiteError, InputError
from eval_suite.data import fetching
from eval_suite.data.fetching import Published, fetch
from tests.data.web import Web, serving

CONTENT = np.random.default_rng(0).bytes(3_000_000)
MD5, SHA256 = hashlib.md5(CONTENT).hexdigest(), hashlib.sha256(CONTENT).hexdigest()
HASHED = Published(len(CONTENT), md5=MD5)


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setattr(fetching, "_PAUSE_SECONDS", 0.0)
    with serving({"set.tar": CONTENT}) as served:
        yield served


def get(web: Web, folder: Path, published: Published = HASHED, path: str = "set.tar") -> bytes:
    digest = fetch(f"{web.url}/{path}", folder / "set.tar", published, remedy="do it by hand")
    assert digest == hashlib.sha256((folder / "set.tar").read_bytes()).hexdigest()
    assert sorted(file.name for file in folder.iterdir()) == ["set.tar"]
    return (folder / "set.tar").read_bytes()


@pytest.mark.parametrize(
    "published",
    [HASHED, Published(sha256=SHA256.upper()), Published(len(CONTENT)), Published()],
    ids=["md5", "sha256", "size", "nothing"],
)
def test_a_file_is_fetched_once(web: Web, tmp_path: Path, published: Published) -> None:
    assert get(web, tmp_path, published) == CONTENT
    assert get(web, tmp_path, published) == CONTENT
    assert web.asked == [None]


def test_a_cut_connection_goes_on_where_it_ended(web: Web, tmp_path: Path) -> None:
    web.cut_after = [1_200_000, 700_000]
    assert get(web, tmp_path) == CONTENT
    assert web.asked == [None, "bytes=1200000-", "bytes=1900000-"]


def test_a_later_call_goes_on_where_a_killed_one_ended(web: Web, tmp_path: Path) -> None:
    web.cut_after = [1_000_000, *[0] * 5]
    with pytest.raises(EvalSuiteError, match="1,000,000 bytes are kept"):
        get(web, tmp_path)
    assert not (tmp_path / "set.tar").exists()
    web.asked.clear()
    assert get(web, tmp_path) == CONTENT
    assert web.asked == ["bytes=1000000-"]


def test_a_server_without_parts_is_asked_for_the_whole(web: Web, tmp_path: Path) -> None:
    web.ranges = False
    web.cut_after = [1_000_000]
    assert get(web, tmp_path) == CONTENT
    assert len(web.asked) == 2


@pytest.mark.parametrize("published", [HASHED, Published(len(CONTENT))], ids=["md5", "size"])
def test_a_file_that_changed_in_between_is_fetched_anew(
    web: Web, tmp_path: Path, published: Published
) -> None:
    web.files["set.tar"] = b"x" * len(CONTENT)
    web.cut_after = [1_000_000, *[0] * 5]
    with pytest.raises(EvalSuiteError):
        get(web, tmp_path, published)
    web.files["set.tar"], web.version = CONTENT, '"two"'
    assert get(web, tmp_path, published) == CONTENT


def test_without_hash_and_version_nothing_is_put_together_of_two_parts(web: Web, tmp_path: Path) -> None:
    web.version = ""
    web.cut_after = [1_000_000]
    assert get(web, tmp_path, Published(len(CONTENT))) == CONTENT
    assert web.asked == [None, None]


@pytest.mark.parametrize(
    "published",
    [
        Published(len(CONTENT), md5="0" * 32),
        Published(sha256="0" * 64),
        Published(len(CONTENT) - 1),
        Published(1, md5=MD5),
    ],
)
def test_another_file_than_the_published_one_is_refused_and_not_kept(
    web: Web, tmp_path: Path, published: Published
) -> None:
    with pytest.raises(InputError) as refused:
        get(web, tmp_path, published)
    assert "as published" in refused.value.expected
    assert not any(file.suffix in (".tar", ".part") for file in tmp_path.iterdir())


def test_a_wrong_file_that_lies_there_is_refused(web: Web, tmp_path: Path) -> None:
    (tmp_path / "set.tar").write_bytes(b"x" * len(CONTENT))
    with pytest.raises(InputError) as refused:
        get(web, tmp_path)
    assert refused.value.expected == f"the md5 {MD5}, as published"
    assert web.asked == []


@pytest.mark.parametrize("status", [403, 404, 410])
def test_an_address_that_is_gone_says_what_to_do(web: Web, tmp_path: Path, status: int) -> None:
    web.answers = [status]
    with pytest.raises(InputError) as refused:
        get(web, tmp_path)
    assert str(status) in refused.value.found
    assert refused.value.remedy == "do it by hand"
    assert list(tmp_path.iterdir()) == []


def test_a_busy_server_is_asked_again_and_given_up_in_the_end(web: Web, tmp_path: Path) -> None:
    web.answers = [503, 429, 500]
    assert get(web, tmp_path) == CONTENT
    (tmp_path / "set.tar").unlink()
    web.answers = [503] * 9
    with pytest.raises(EvalSuiteError, match="503"):
        get(web, tmp_path)
    assert len(web.answers) == 4


def test_redirections_are_followed_but_not_to_files(web: Web, tmp_path: Path) -> None:
    web.redirects = {"old.tar": "/set.tar", "evil": "file:///etc/hostname"}
    assert get(web, tmp_path, path="old.tar") == CONTENT
    (tmp_path / "set.tar").unlink()
    with pytest.raises((InputError, EvalSuiteError)):
        get(web, tmp_path, path="evil")
    assert not (tmp_path / "set.tar").exists()


def test_a_page_for_people_is_no_file(web: Web, tmp_path: Path) -> None:
    web.html = True
    with pytest.raises(InputError) as refused:
        get(web, tmp_path, Published())
    assert refused.value.found == "a page for people"


def test_nobody_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_PAUSE_SECONDS", 0.0)
    with pytest.raises(EvalSuiteError, match="try again later"):
        fetch("http://127.0.0.1:9/x", tmp_path / "set.tar", HASHED, remedy="")


def test_room_is_checked_before_the_first_byte(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(InputError) as refused:
        get(web, tmp_path)
    assert "room" in refused.value.expected
    assert not list(tmp_path.glob("*.part"))
