"""Weights files of any trainer are read without running code in them; what is no weights file is named."""

import argparse
import datetime
import enum
import gzip
import os
import pickle
import tarfile
import zipfile
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from eval_suite.backbones.weights_file import read_weights_file
from eval_suite.core.errors import InputError

State = dict[str, Tensor]


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def equal(a: State, b: State) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def prefixed(state: State, prefix: str) -> State:
    return {prefix + key: value for key, value in state.items()}


class Attributes(dict[str, Any]):
    """As Lightning's AttributeDict, yacs' CfgNode and others: a dictionary with a class of its own."""


class Options:
    """As a trainer's: attributes, one of a class of its own."""

    def __init__(self) -> None:
        self.lr, self.inner = 0.1, Attributes(a=1)


class Slots:
    """Saved as a tuple of states, not as attributes."""

    __slots__ = ("a",)

    def __init__(self) -> None:
        self.a = 1


class Colour(enum.Enum):
    RED = 1


class Member:
    """Saved as Python 3.11.0 to 3.11.4 save a member of an enumeration."""

    def __reduce__(self) -> Any:
        return getattr, (Colour, "RED")


@pytest.mark.parametrize(
    "other",
    [
        argparse.Namespace(lr=0.1, model="a", path=Path("/x")),
        np.float64(95.5),
        np.arange(3, dtype=np.int32),
        np.array(["a", None], dtype=object),
        Path("/data"),
        defaultdict(list, {"a": [1]}),
        deque([1, 2], maxlen=2),
        OrderedDict(a=1),
        datetime.datetime(2024, 1, 2, 3),
        datetime.timedelta(seconds=3),
        {1, 2},
        Attributes(a=Attributes(b=2)),
        Options(),
        Slots(),
        Colour.RED,
        Member(),
        torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.1).state_dict(),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("zipped", [True, False])
def test_what_trainers_save_with_the_weights_does_not_matter(
    other: Any, zipped: bool, tmp_path: Path
) -> None:
    state = dict(net().state_dict())
    torch.save({"a": other, "state_dict": state}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    found = read_weights_file(tmp_path / "w.pth").tensors
    assert all(torch.equal(found[f"state_dict.{key}"], value) for key, value in state.items())


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_what_a_file_is_its_content_says_and_not_its_name(suffix: str, tmp_path: Path) -> None:
    state = dict(net().state_dict())
    save_file(state, tmp_path / f"a.{suffix}")
    torch.save(state, tmp_path / f"b.{suffix}")
    for name in "ab":
        assert equal(read_weights_file(tmp_path / f"{name}.{suffix}").tensors, state)


def test_arrays_lists_and_nested_dictionaries_hold_tensors_too(tmp_path: Path) -> None:
    content = {
        "layers": [{"weight": np.ones((2, 2), np.float32)}, {"weight": torch.zeros(3)}],
        3: torch.ones(1),
    }
    torch.save(content, tmp_path / "w.pth")
    file = read_weights_file(tmp_path / "w.pth")
    assert {key: tuple(value.shape) for key, value in file.tensors.items()} == {
        "layers.0.weight": (2, 2),
        "layers.1.weight": (3,),
        "3": (1,),
    }
    assert file.entries == {"layers.0.weight": "layers.0.", "layers.1.weight": "layers.1.", "3": ""}


class Home(nn.Module):
    """A user's class, saved whole."""

    def __init__(self) -> None:
        super().__init__()
        self.body = net()
        self.register_buffer("offset", torch.ones(2))

    def __setstate__(self, _state: Any) -> None:
        raise AssertionError("code of the file ran")


def test_of_a_module_saved_whole_the_tensors_are_taken_and_no_code_runs(tmp_path: Path) -> None:
    whole = Home()
    torch.save({"epoch": 3, "model": whole}, tmp_path / "w.pth")
    file = read_weights_file(tmp_path / "w.pth")
    assert equal(file.tensors, prefixed(dict(whole.state_dict()), "model."))
    assert len(file.notes) == 1


def test_a_file_that_refers_to_itself_ends(tmp_path: Path) -> None:
    content: dict[str, Any] = {"epoch": 1}
    content["state_dict"] = content
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(InputError, match="without named tensors"):
        read_weights_file(tmp_path / "w.pth")
    content["weights"] = {"a": torch.ones(1)}
    torch.save(content, tmp_path / "w.pth")
    assert set(read_weights_file(tmp_path / "w.pth").tensors) == {"weights.a"}


@pytest.mark.parametrize(
    "entry",
    [
        {"class_to_idx": {"b": 1, "c": 0, "a": 2}},
        {"classes": ["c", "b", "a"]},
        {"class_names": np.array(["c", "b", "a"])},
        {"meta": {"CLASSES": ("c", "b", "a")}},
        {"hyper_parameters": {"id2label": {0: "c", 1: "b", 2: "a"}}},
        {"idx_to_class": {"0": "c", "1": "b", "2": "a"}},
    ],
)
def test_class_names_are_read_in_the_order_of_the_outputs(entry: dict[str, Any], tmp_path: Path) -> None:
    torch.save({"w": torch.ones(1), **entry}, tmp_path / "w.pth")
    assert read_weights_file(tmp_path / "w.pth").classes == ["c", "b", "a"]


@pytest.mark.parametrize(
    "entry", [{"class_to_idx": {"a": 1, "b": 3}}, {"classes": 3}, {"classes": [1, 2]}, {}]
)
def test_what_is_no_list_of_classes_is_none(entry: dict[str, Any], tmp_path: Path) -> None:
    torch.save({"w": torch.ones(1), **entry}, tmp_path / "w.pth")
    assert read_weights_file(tmp_path / "w.pth").classes == []


def test_class_names_in_the_notes_of_safetensors(tmp_path: Path) -> None:
    save_file({"w": torch.ones(1)}, tmp_path / "w.safetensors", metadata={"format": "pt", "classes": "c,b"})
    assert read_weights_file(tmp_path / "w.safetensors").classes == ["c", "b"]


class _Runs:
    """On loading, a pickle of this runs a command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


class _Evaluates(_Runs):
    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (f"__import__('os').system({self.command!r})",)


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
@pytest.mark.parametrize(("runs", "named"), [(_Runs, "posix.system"), (_Evaluates, "builtins.eval")])
def test_code_in_a_file_is_refused_and_does_not_run(
    kind: str, runs: type[_Runs], named: str, tmp_path: Path
) -> None:
    mark, path = tmp_path / "it-ran", tmp_path / "w.pth"
    code = runs(f"touch {mark}")
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"extra": code}, protocol=2))
    else:
        content = {"state_dict": {"a": torch.ones(2)}, "extra": code}
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(InputError) as caught:
        read_weights_file(path)
    message = str(caught.value)
    assert not mark.exists()
    assert f"could execute code (it names {named})" in message
    assert "save it again as a plain state dict or as safetensors" in message
    assert "\n" not in message
    # The same file, loaded without care, does run: so it is not for being harmless that nothing happened.
    torch.load(path, weights_only=False) if kind != "pickle" else pickle.loads(path.read_bytes())
    assert mark.exists()


class _Tells:
    """On loading, a pickle of this calls a function of the user's own."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _tell, ()


_told: list[str] = []


def _tell() -> str:
    _told.append("ran")
    return "x"


def test_a_function_that_a_file_names_is_not_called(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.ones(2)}, "extra": _Tells()}, tmp_path / "w.pth")
    assert set(read_weights_file(tmp_path / "w.pth").tensors) == {"state_dict.a"}
    assert _told == []


@pytest.mark.parametrize(
    ("content", "how"),
    [
        ({"state_dict": {"a": torch.ones(2)}}, {"pickle_protocol": 4}),
        ({"model": nn.Linear(2, 2)}, {"_use_new_zipfile_serialization": False}),
    ],
)
def test_what_only_code_could_read_gets_the_line_that_converts_it(
    content: Any, how: dict[str, Any], tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "w.pth", **how)
    with pytest.raises(InputError, match=r"torch.save\(torch.load\('w.pth', weights_only=False\)"):
        read_weights_file(tmp_path / "w.pth")


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a weights file at .*none.pth, found none"):
        read_weights_file(tmp_path / "none.pth")
    with pytest.raises(InputError, match=r"found a folder"):
        read_weights_file(tmp_path)


@pytest.mark.parametrize("name", ["w.pth", "legacy.pth", "w.safetensors"])
@pytest.mark.parametrize("share", [0.01, 0.4, 0.97])
def test_a_truncated_file_is_told_in_one_line(name: str, share: float, tmp_path: Path) -> None:
    state, path = {"w": torch.randn(50, 50)}, tmp_path / name
    if name.endswith("safetensors"):
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=name == "w.pth")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"cannot read weights from .*; it may be damaged") as caught:
        read_weights_file(path)
    assert "\n" not in str(caught.value)
    assert "execute" not in str(caught.value)


@pytest.mark.parametrize("content", [b"hello world\n", b"\x80\x02", b"\0" * 99])
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_file_of_something_else_is_not_called_an_attack(content: bytes, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=r"cannot read weights from .*; it may be damaged") as caught:
        read_weights_file(tmp_path / name)
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


def _npz(path: Path) -> None:
    with path.open("wb") as stream:
        np.savez(stream, a=np.ones(2))


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/model.pth", b"1")


def _tar(path: Path) -> None:
    path.with_suffix(".txt").write_text("a")
    with tarfile.open(path, "w") as archive:
        archive.add(path.with_suffix(".txt"), "a.txt")


def _script(path: Path) -> None:
    torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)).save(str(path))


def _exported(path: Path) -> None:
    program = torch.export.export(nn.Linear(2, 2).eval(), (torch.ones(1, 2),))
    torch.export.save(program, path.with_suffix(".pt2"))
    path.with_suffix(".pt2").rename(path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda path: path.write_bytes(b""), "an empty file"),
        (
            lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\n"),
            "Git LFS",
        ),
        (lambda path: path.write_text("\n<!DOCTYPE html><html>"), "a web page"),
        (lambda path: path.write_text("<HTML><head>"), "a web page"),
        (lambda path: path.write_text('{"weight_map": {}}'), "a JSON file"),
        (lambda path: path.write_bytes(gzip.compress(b"abc")), "compressed"),
        (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + b"0" * 99), "HDF5"),
        (_npz, r"NumPy arrays \(a.npy"),
        (lambda path: path.write_bytes(pickle.dumps({"a": np.ones(2)})), "a pickle"),
        (lambda path: path.write_bytes(pickle.dumps({"a": 1}, 2)), "a pickle"),
        (_zip, "zip archive of weights/model.pth"),
        (_tar, "a tar archive"),
        (_script, "TorchScript"),
        (_exported, "torch.export"),
    ],
)
def test_what_is_no_weights_file_is_named_with_the_way_out(
    make: Callable[[Path], Any], found: str, tmp_path: Path
) -> None:
    make(tmp_path / "w.pth")
    with pytest.raises(InputError, match=f"found .*{found}.*; ") as caught:
        read_weights_file(tmp_path / "w.pth")
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_numpy_arrays_are_read_once_they_are_saved_as_the_line_says(tmp_path: Path) -> None:
    _npz(tmp_path / "w.npz")
    torch.save(dict(np.load(tmp_path / "w.npz")), tmp_path / "weights.pth")
    assert read_weights_file(tmp_path / "weights.pth").tensors["a"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("content", "found"), [({}, "dict"), ({"state_dict": {}}, "dict"), ([1, 2], "list"), ({"a": 1.0}, "dict")]
)
def test_a_file_without_tensors_is_refused(content: Any, found: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(InputError, match=f"expected a state dict in .*, found {found} without named tensors"):
        read_weights_file(tmp_path / "w.pth")
