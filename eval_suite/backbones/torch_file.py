"""The content of a torch file, whatever a trainer saved in it, without running its code."""

import os
import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eval_suite.core.errors import InputError, first_line

_MOST_STAND_INS = 300  # a trainer's file names the classes of its options, optimisers and meters
# A pickle that names one of these was made to do something, not to hold options.
_ACTING_MODULES = {
    "subprocess",
    "shutil",
    "socket",
    "importlib",
    "runpy",
    "ctypes",
    "pty",
    "webbrowser",
    "code",
}
_PLAIN_BUILTINS = {
    *("list", "dict", "tuple", "set", "frozenset", "int", "float", "str", "bool", "bytes", "bytearray"),
    *("complex", "object", "range", "slice", "type", "Ellipsis"),
}
# What torch says of objects that only their own code could make from the file.
_NEEDS_CODE = ("persistent_load", "Can only", "must be imported", "unrecognized function")
# Begins what a file looks up by name, so that torch's error says when that is called.
_LOOKED_UP = "looked up: "


class _StandIn:
    """In place of a class that is not loaded: what is made of it is a dictionary, which keeps items and attributes.

    It is an OrderedDict itself, since torch's reader fills by its exact type.
    """

    def __new__(cls, *_arguments: object, **_named: object) -> Any:
        return OrderedDict()


class _Inert:
    """The same for objects that were saved otherwise than by their attributes: nothing is kept of them."""

    def __new__(cls, *_arguments: object, **_named: object) -> Any:
        return object.__new__(cls)

    def __setstate__(self, _state: object) -> None:
        pass


def _new_dict(*_arguments: object) -> dict[Any, Any]:
    return {}


def _new_list(*_arguments: object) -> list[Any]:
    return []


def _named_member(_kind: object, name: str) -> str:
    return f"{_LOOKED_UP}{name}"


def _allowed() -> dict[str, Any]:
    """What may be made from a file besides torch's own: containers without behaviour, and NumPy's numbers and arrays."""
    arrays = np._core.multiarray  # type: ignore[attr-defined]  # noqa: SLF001 - torch and numpy rebuild their values by these names
    numpy = {"numpy.ndarray": np.ndarray, "numpy.dtype": np.dtype}
    numpy |= {f"numpy.dtypes.{name}": getattr(np.dtypes, name) for name in np.dtypes.__all__}
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        numpy |= {f"{module}._reconstruct": arrays._reconstruct, f"{module}.scalar": arrays.scalar}  # noqa: SLF001 - torch and numpy rebuild their values by these names
    # As Python 3.11.0 to 3.11.4 save a member of an enumeration.
    members = {"builtins.getattr": _named_member}
    return {"collections.defaultdict": _new_dict, "collections.deque": _new_list, **members, **numpy}


def read_torch(path: Path) -> Any:
    """The content of a torch file, read with ``weights_only``, so that none of its code runs.

    Objects of classes that are not allowed, such as a trainer's options, become dictionaries of what was saved of them.

    Raises:
        InputError: if the file is damaged, names functions that no weights file needs, or needs its code to be read.
    """
    for stand_in in (_StandIn, _Inert):
        allowed = _allowed()
        while True:
            try:
                with (
                    warnings.catch_warnings(),
                    torch.serialization.safe_globals([(made, name) for name, made in allowed.items()]),
                ):
                    warnings.simplefilter("ignore")  # about kinds of storage, and what we say ourselves
                    return torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:  # noqa: BLE001 - a file that is no weights file can make a reader raise almost anything
                name = _unknown_class(error)
                if name is None and stand_in is _StandIn and len(allowed) > len(_allowed()):
                    break
                if name is not None and _acts(name):
                    raise InputError(
                        f"refused {path}: it holds more than weights and could execute code (it names {name}); "
                        "save it again as a plain state dict or as safetensors"
                    ) from None
                if name is None or name in allowed or len(allowed) > _MOST_STAND_INS:
                    raise _unreadable(path, error) from None
                allowed[name] = stand_in
    raise AssertionError("the last kind of stand-in ends in a return or an error")


def _unknown_class(error: Exception) -> str | None:
    """The full name of a class or function that the reader does not allow, or of the one that looks up what is called."""
    if f"unrecognized function {_LOOKED_UP}" in str(error):
        return "builtins.getattr"
    named = re.search(r"GLOBAL (\S+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
    if named is None:
        return None
    return named[1] if "." in named[1] else f"builtins.{named[1]}"


def _acts(name: str) -> bool:
    module, _, function = name.rpartition(".")
    if module == "builtins":
        return function not in _PLAIN_BUILTINS
    return module.partition(".")[0] in _ACTING_MODULES or module in ("os", "posix", "nt", "sys")


def _unreadable(path: Path, error: Exception) -> InputError:
    runtime = isinstance(error, RuntimeError)
    if not runtime and (zipfile.is_zipfile(path) or any(words in str(error) for words in _NEEDS_CODE)):
        return InputError(
            f"cannot read weights from {path} without running code in it; where you trust it, save its weights alone by "
            f"python -c \"import torch; torch.save(torch.load('{path.name}', weights_only=False)['state_dict'], "
            "'weights.pth')\" (the entry may have another name)"
        )
    if _is_pickle(path):
        return InputError(
            expected="weights",
            where=path,
            found="a pickle that torch did not write",
            remedy="where you trust it, save what it holds with torch.save",
        )
    found = (
        first_line(error).partition(". ")[0] if runtime else "it is neither a torch nor a safetensors file"
    )
    return damaged(path, found)


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as stream:
        if stream.read(1) != pickle.PROTO:
            return False
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == pickle.STOP


def damaged(path: Path, found: str) -> InputError:
    """The error of a weights file that its reader cannot read."""
    return InputError(
        f"cannot read weights from {path}: {found}; it may be damaged, copy or download it again"
    )
