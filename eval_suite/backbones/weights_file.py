"""Opening a weights file of any trainer without running code in it: every tensor by its path, class names where they stand."""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from eval_suite.backbones.torch_file import damaged, read_torch
from eval_suite.core.errors import InputError, first_line
from eval_suite.core.files import require_regular
from eval_suite.data.class_order import ClassOrder, class_names_in, order_in

_DEEPEST = 40
# By the first bytes of what is no weights file: what it is, and what to do.
_FOREIGN = (
    (
        rb"version https://git-lfs",
        "a Git LFS pointer, not the file it stands for",
        "fetch it with git lfs pull",
    ),
    (rb"\s*<(!doctype|!--|html|head|\?xml)", "a web page", "download the file itself"),
    (rb"\x1f\x8b|BZh\d|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf", "a compressed file", "unpack it first"),
    (rb"\x89HDF", "an HDF5 file, as Keras writes", "give weights saved by torch, or as safetensors"),
    (rb"\s*\{\s*\"", "a JSON file", "give the weights file that it describes"),
    (rb".{257}ustar", "a tar archive", "unpack it and give the weights file in it"),
)


class WeightsFile(NamedTuple):
    """What a weights file holds.

    Attributes:
        tensors: every tensor by its dotted path through the file's dictionaries, as ``state_dict.module.fc.weight``.
        entries: by the same paths, the dictionary each lies in: its own path with a closing dot, or "" for the top.
        versions: what torch notes of a module (``_metadata`` of a state dict), by the module's path.
        classes: class names in the order of the outputs, where the file has some.
        notes: what a user should know of how it was read.
        class_order: the order in which its trainer took class folders, where the file tells.
    """

    tensors: dict[str, Tensor]
    entries: dict[str, str]
    versions: dict[str, Any]
    classes: list[str]
    notes: list[str]
    class_order: ClassOrder | None = None


def read_weights_file(path: Path) -> WeightsFile:
    """Every tensor of a safetensors or torch file; which of the two it is, its content says.

    Torch files are read with ``weights_only``. Objects of classes that it does not allow, such as a trainer's options,
    become plain dictionaries of what was saved of them, so that none of their code runs; so does a module that was saved
    whole, of which the tensors are taken.

    Raises:
        InputError: if the file is missing, damaged, of another kind, or names functions that no weights file needs.
    """
    if not path.is_file():
        found = "a folder" if path.is_dir() else "none"
        raise InputError(
            f"expected a weights file at {path}, found {found}", remedy="check the path after '@'"
        )
    try:
        with require_regular(path).open("rb") as stream:
            head = stream.read(512)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", remedy="check its permissions") from None
    if not head:
        raise _foreign(path, "an empty file", "copy or download it again")
    file = WeightsFile({}, {}, {}, [], [])
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        content, where_classes_are = _read_safetensors(path)
    else:
        _require_no_foreign_file(path, head)
        content = where_classes_are = read_torch(path)
    _collect(content, "", file, [])
    if not file.tensors:
        raise InputError(
            expected="a state dict",
            where=path,
            found=f"{type(content).__name__} without named tensors",
            remedy="save model.state_dict() with torch.save, or as safetensors",
        )
    file.classes.extend(class_names_in(where_classes_are))
    return file._replace(class_order=order_in(content))


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as stream:
            return {key: stream.get_tensor(key) for key in stream.keys()}, dict(stream.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError, RuntimeError) as error:
        raise damaged(path, first_line(error)) from None


def _require_no_foreign_file(path: Path, head: bytes) -> None:
    for start, what, remedy in _FOREIGN:
        if re.match(start, head, re.IGNORECASE | re.DOTALL):
            raise _foreign(path, what, remedy)
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise damaged(path, first_line(error)) from None
    for part, what, take in (
        ("/constants.pkl", "a TorchScript program", "torch.jit.load('{}').state_dict()"),
        ("/archive_format", "a program of torch.export", "torch.export.load('{}').state_dict"),
    ):
        if any(name.endswith(part) for name in names):
            code = f"import torch; torch.save({take.format(path.name)}, 'weights.pth')"
            raise _foreign(path, what, f'where you trust it, take its weights by python -c "{code}"')
    if names and all(name.endswith(".npy") for name in names):
        raise _foreign(
            path,
            f"NumPy arrays ({', '.join(names[:3])})",
            f"save them by python -c \"import numpy, torch; torch.save(dict(numpy.load('{path.name}')), 'weights.pth')\"",
        )
    if not any(name.endswith("data.pkl") for name in names):
        raise _foreign(
            path,
            f"a zip archive of {', '.join(names[:3]) or 'nothing'}",
            "unpack it and give the weights file in it, as saved by torch.save or safetensors",
        )


def _foreign(path: Path, found: str, remedy: str) -> InputError:
    return InputError(expected="weights", where=path, found=found, remedy=remedy)


def _collect(value: Any, path: str, file: WeightsFile, around: list[int]) -> None:
    """Put every tensor below a value into ``file``; ``around`` holds the containers the value lies in."""
    if id(value) in around or len(around) > _DEEPEST:
        return
    attributes = getattr(value, "__dict__", {}) if isinstance(value, Mapping) else {}
    for module, version in dict(attributes.get("_metadata") or {}).items():
        file.versions[f"{path}{module}".strip(".")] = version
    items: list[tuple[Any, Any]] = []
    if "_parameters" in attributes and "_modules" in attributes:
        if not file.notes:
            file.notes.append("a whole module was saved: its tensors were taken, its code did not run")
        items = [
            pair for kind in ("_parameters", "_buffers", "_modules") for pair in attributes[kind].items()
        ]
    elif isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, list | tuple):
        items = list(enumerate(value))
    for key, item in items:
        if not isinstance(key, str | int):
            continue
        if isinstance(item, np.ndarray) and item.dtype.kind in "fiub":
            item = torch.from_numpy(item)  # noqa: PLW2901
        if isinstance(item, Tensor):
            file.tensors[f"{path}{key}"] = item
            file.entries[f"{path}{key}"] = path
        else:
            _collect(item, f"{path}{key}.", file, [*around, id(value)])
