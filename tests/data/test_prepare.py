"""Data sets by name: small ones from a server on this machine, and the list of the real ones."""

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eval_suite.core.errors import EvalSuiteError, InputError
from eval_suite.data import fetching
from eval_suite.data import prepare as module
from eval_suite.data.images import open_images
from eval_suite.data.prepare import DataFile, DataSet, download_list, prepare
from tests.data.test_archives import png
from tests.data.web import Web, serving

Cli = Callable[..., Any]


def tar(files: dict[str, bytes], kind: str = "w:gz") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=kind) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


CATS = tar({f"animals/train/{kind}/{i}.png": png(i) for kind in ("cat", "dog") for i in range(2)})
DOGS = zipped({f"animals/val/{kind}/{i}.png": png(i) for kind in ("cat", "dog") for i in range(3)})


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setattr(fetching, "_PAUSE_SECONDS", 0.0)
    with serving({"a.tar.gz": CATS, "b.zip": DOGS, "labels.txt": b"two"}) as served:
        yield served


def a_set(*files: dict[str, Any], **changes: Any) -> dict[str, DataSet]:
    fields: dict[str, Any] = {
        "title": "Animals",
        "home": "https://example.org",
        "licence": "free",
        "folder": "sets/animals",
        "within": "animals",
        "unpacked": 1000,
        "use": ["folder:{}"],
    }
    fields["files"] = [DataFile(**file) for file in files]
    return {"animals": DataSet(**{**fields, **changes})}


def animals(web: Web, **changes: Any) -> dict[str, DataSet]:
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in web.files.items()}
    return a_set(
        {"url": f"{web.url}/a.tar.gz", "md5": md5["a.tar.gz"]},
        {"url": f"{web.url}/b.zip?download=1", "bytes": len(DOGS)},
        {"url": f"{web.url}/labels.txt", "keep": True, "into": "animals"},
        **changes,
    )


def test_archives_become_the_layout_that_commands_read(web: Web, tmp_path: Path) -> None:
    prepared = prepare("animals", tmp_path, animals(web))
    assert prepared.folder == tmp_path / "sets/animals"
    assert prepared.use == [f"folder:{prepared.folder}"]
    index = open_images(prepared.use[0])
    assert (index.split, len(index), index.classes) == ("val", 6, ["cat", "dog"])
    assert (prepared.folder / "labels.txt").read_text() == "two"
    assert (
        sorted(path.name for path in tmp_path.rglob("*") if path.is_file() and path.suffix in (".gz", ".zip"))
        == []
    )
    mark = json.loads((prepared.folder / "prepared.json").read_text())
    assert mark["files"]["a.tar.gz"]["sha256"] == hashlib.sha256(CATS).hexdigest()
    assert "hash" in mark["files"]["a.tar.gz"]["checked_by"]
    assert "size alone" in mark["files"]["b.zip"]["checked_by"]
    assert "nothing" in mark["files"]["labels.txt"]["checked_by"]
    assert sorted(path.name for path in (tmp_path / ".prepare").iterdir()) == []
    asked = len(web.asked)
    assert prepare("animals", tmp_path, animals(web)) == prepared
    assert len(web.asked) == asked


@pytest.mark.parametrize("stage", ["first unpacking", "second unpacking", "last step"])
def test_killed_at_any_moment_the_same_call_goes_on(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """Nothing stands at the set's place before it is whole, and nothing is downloaded twice."""

    class Killed(BaseException):
        pass

    calls = []

    def unpack(path: Path, folder: Path) -> int:
        calls.append(path.name)
        if stage == ("first unpacking", "second unpacking")[min(len(calls), 2) - 1]:
            (folder / "animals").mkdir(exist_ok=True)
            (folder / "animals" / "half").write_bytes(b"")
            raise Killed
        return unpack_all(path, folder)

    unpack_all, rename = module.unpack_all, Path.rename
    monkeypatch.setattr(module, "unpack_all", unpack)
    if stage == "last step":

        def refuse(self: Path, target: Path) -> Path:
            if target.name == "animals":
                raise Killed
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(Killed):
        prepare("animals", tmp_path, animals(web))
    assert not (tmp_path / "sets/animals").exists()
    monkeypatch.setattr(module, "unpack_all", unpack_all)
    monkeypatch.setattr(Path, "rename", rename)
    prepared = prepare("animals", tmp_path, animals(web))
    assert len(open_images(prepared.use[0])) == 6
    assert len(open_images(prepared.use[0], "train")) == 4
    assert len(web.asked) == 3


def test_a_wrong_hash_leaves_nothing_at_the_sets_place(web: Web, tmp_path: Path) -> None:
    wanted = animals(web)
    web.files["a.tar.gz"] = CATS + b"more"
    with pytest.raises(InputError) as refused:
        prepare("animals", tmp_path, wanted)
    assert refused.value.expected.endswith("as published")
    assert not (tmp_path / "sets").exists()
    web.files["a.tar.gz"] = CATS
    assert len(open_images(prepare("animals", tmp_path, wanted).use[0])) == 6


def test_names_that_lead_out_of_an_archive_are_refused(web: Web, tmp_path: Path) -> None:
    web.files["b.zip"] = zipped({"../../out.png": png()})
    with pytest.raises(InputError, match="lie within it"):
        prepare("animals", tmp_path, animals(web, files=[DataFile(url=f"{web.url}/b.zip")]))
    assert not list(tmp_path.rglob("*.png"))


def test_a_damaged_archive_is_one_line(web: Web, tmp_path: Path) -> None:
    web.files["b.zip"] = b"PK\x03\x04broken"
    wanted = animals(web, files=[DataFile(url=f"{web.url}/b.zip")])
    with pytest.raises(InputError, match="can be unpacked"):
        prepare("animals", tmp_path, wanted)
    web.files["b.zip"] = DOGS
    assert len(open_images(prepare("animals", tmp_path, wanted).use[0])) == 6


def test_files_of_another_origin_are_left_alone(web: Web, tmp_path: Path) -> None:
    (tmp_path / "sets/animals").mkdir(parents=True)
    (tmp_path / "sets/animals/mine.png").write_bytes(png())
    with pytest.raises(InputError) as refused:
        prepare("animals", tmp_path, animals(web))
    assert "did not put there" in refused.value.found
    assert web.asked == []


def test_room_is_checked_before_anything_is_fetched(web: Web, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        prepare("animals", tmp_path, animals(web, unpacked=10**18))
    assert "room" in refused.value.expected
    assert web.asked == []


def test_a_person_downloads_what_a_licence_wants_one_for(tmp_path: Path) -> None:
    inner = {
        f"{kind}.tar": tar({f"{kind}_{i}.png": png(i) for i in range(2)}, "w") for kind in ("cat", "dog")
    }
    train, val = tar(inner, "w"), tar({"val.png": png()}, "w")
    wanted = a_set(
        {"name": "train.tar", "md5": hashlib.md5(train).hexdigest(), "into": "train", "nested": True},
        {"name": "val.tar", "md5": hashlib.md5(val).hexdigest(), "into": "val"},
        within="",
        by_hand="agree and download these files",
    )
    (tmp_path / "train.tar").write_bytes(train)
    with pytest.raises(InputError) as refused:
        prepare("animals", tmp_path, wanted)
    assert refused.value.expected.startswith("val.tar")
    assert "agree" in refused.value.remedy
    (tmp_path / "val.tar").write_bytes(b"x")
    with pytest.raises(InputError, match="as published"):
        prepare("animals", tmp_path, wanted)
    (tmp_path / "val.tar").write_bytes(val)
    folder = prepare("animals", tmp_path, wanted).folder
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))
    assert files == [
        "train/cat/cat_0.png",
        "train/cat/cat_1.png",
        "train/dog/dog_0.png",
        "train/dog/dog_1.png",
        "val/val.png",
    ]
    assert (tmp_path / "train.tar").is_file()
    assert not list(folder.rglob("*.tar"))


def test_an_archive_without_the_folder_it_should_hold(web: Web, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        prepare("animals", tmp_path, animals(web, within="plants"))
    assert "plants" in refused.value.expected


def test_the_list_is_sound() -> None:
    sets = download_list()
    asked_for = {
        "cifar10",
        "cifar100",
        "svhn",
        "dtd",
        "voc0712",
        "cub",
        "tinyimagenet",
        "coco",
        "odin",
        "imagenet",
    }
    assert asked_for <= sets.keys()
    assert len({chosen.folder for chosen in sets.values()}) == len(sets)
    for chosen in sets.values():
        assert len({file.name for file in chosen.files}) == len(chosen.files)
        assert not Path(chosen.folder).is_absolute()
        for file in chosen.files:
            assert (file.url is None) == bool(chosen.by_hand)
            assert file.url is None or file.url.startswith(("https://", "http://"))
            assert file.md5 is None or len(file.md5) == 32
            assert file.sha256 is None or len(file.sha256) == 64
            assert "/" not in file.name


def test_unpacked_a_set_takes_what_its_files_take_unless_the_list_says_otherwise() -> None:
    files = [{"url": f"https://example.org/{name}", "bytes": 300} for name in ("a.tar", "b.tar")]
    assert a_set(*files, unpacked=None)["animals"].room == 600
    assert a_set(*files, unpacked=7)["animals"].room == 7


def test_the_hashes_are_torchvisions_where_it_has_them() -> None:
    from torchvision.datasets import CIFAR10, CIFAR100, DTD, SVHN
    from torchvision.datasets.imagenet import ARCHIVE_META
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    theirs = {
        "cifar-10-python.tar.gz": (CIFAR10.url, CIFAR10.tgz_md5),
        "cifar-100-python.tar.gz": (CIFAR100.url, CIFAR100.tgz_md5),
        "dtd-r1.0.1.tar.gz": (DTD._URL, DTD._MD5),
        **{name: (url, md5) for url, name, md5 in SVHN.split_list.values()},
        **{
            entry["url"].rpartition("/")[2]: (entry["url"], entry["md5"])
            for entry in DATASET_YEAR_DICT.values()
        },
        **{name: (None, md5) for name, md5 in ARCHIVE_META.values()},
    }
    ours = {file.name: (file.url, file.md5) for chosen in download_list().values() for file in chosen.files}
    shared = ours.keys() & theirs.keys()
    assert len(shared) == 11
    assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}


def test_the_command(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, web: Web) -> None:
    sets = animals(web)
    monkeypatch.setattr(module, "download_list", lambda: sets)
    done = cli("data", "prepare", "--list")
    assert done.code == 0
    assert done.out.startswith("animals ")
    done = cli("data", "prepare", "animals", "--out", tmp_path)
    assert (done.code, done.out.split()[0]) == (0, str(tmp_path / "sets/animals"))
    assert "licence: free" in done.err
    for words in (["data", "prepare"], ["data", "prepare", "animal"]):
        assert cli(*words).code == 2
    (tmp_path / "sets/animals/prepared.json").unlink()
    assert cli("data", "prepare", "animals", "--out", tmp_path).code == 2


def test_a_server_that_is_away_ends_with_exit_code_1(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_PAUSE_SECONDS", 0.0)
    sets = a_set({"url": "http://127.0.0.1:9/a.zip"})
    monkeypatch.setattr(module, "download_list", lambda: sets)
    assert cli("data", "prepare", "animals", "--out", tmp_path).code == 1
    with pytest.raises(EvalSuiteError):
        prepare("animals", tmp_path, sets)
