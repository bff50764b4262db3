"""Weights on disk: reading anyone's safely, writing our own whole or not at all."""

import hashlib
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from eval_suite.core.errors import EvalSuiteError, InputError, first_line
from eval_suite.core.records import BackboneCard, LoadReport
from eval_suite.core.store import atomic_write, write_json

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
_PREFIXES = ("module.", "_orig_mod.")
_LISTED_KEYS = 6


def read_weights(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """The state dict in a weights file, unwrapped, and notes of what was unwrapped.

    Reads safetensors, and torch files with ``weights_only=True``, so that no code in a file ever runs. Looks inside
    a ``state_dict`` (or ``model_state_dict``, ``model``, ``net``) entry and strips ``module.`` and ``_orig_mod.``
    prefixes that all keys share.

    Raises:
        InputError: if the file is missing, unreadable, holds no tensors, or would execute code.
    """
    if not path.is_file():
        raise InputError(f"expected a weights file at {path}, found none; check the path after '@'")
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file that is no weights file can make a reader raise almost anything
        code = re.search(r"GLOBAL (\S+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if code:
            raise InputError(
                f"refused {path}: it holds more than weights and could execute code (it names {code[1]}); "
                "save it again as a plain state dict or as safetensors"
            ) from None
        known = isinstance(error, SafetensorError | RuntimeError)
        found = (
            first_line(error).partition(". ")[0] if known else "it is neither a torch nor a safetensors file"
        )
        raise InputError(
            f"cannot read weights from {path}: {found}; it may be damaged, copy or download it again"
        ) from None
    notes: list[str] = []
    while isinstance(content, Mapping) and not _is_state_dict(content):
        wrapper = next((key for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if wrapper is None:
            break
        content = content[wrapper]
        notes.append(f"took the entry '{wrapper}'")
    if not (isinstance(content, Mapping) and _is_state_dict(content)):
        raise InputError(f"expected a state dict in {path}, found {type(content).__name__} without tensors")
    state = dict(content)
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
            notes.append(f"stripped the prefix '{prefix}'")
    return state, notes


def load_weights(net: nn.Module, path: Path) -> LoadReport:
    """Load a weights file into a network; every parameter and buffer must be covered.

    Keys the file has beyond the network are reported, not an error. BatchNorm's ``num_batches_tracked`` may be
    missing: files from before it existed lack it and evaluation does not use it.

    Raises:
        InputError: if a key is missing or has another shape; the message lists the keys.
    """
    state, notes = read_weights(path)
    own = net.state_dict()
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in own]
    misshapen = [
        f"{key} (file {tuple(state[key].shape)}, network {tuple(own[key].shape)})"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    if missing or misshapen:
        parts = [_listed("missing", missing), _listed("of another shape", misshapen)]
        parts.append(_listed("left over in the file", unexpected))
        raise InputError(
            f"the weights in {path} do not cover the network: {'; '.join(filter(None, parts))}; "
            "check the architecture and its number of classes"
        )
    net.load_state_dict(state, strict=False)
    matched = sum(key in state for key in own)
    return LoadReport(matched=matched, missing=[], unexpected=unexpected, notes=notes)


def state_sha256(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values of a state dict, independent of the file format."""
    digest = hashlib.sha256()
    for key in sorted(state):
        value = state[key].detach().cpu().contiguous()
        digest.update(f"{key}:{value.dtype}:{tuple(value.shape)}".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    return digest.hexdigest()


def save_checkpoint(folder: Path, state: Mapping[str, Tensor], card: BackboneCard) -> None:
    """Write ``model.safetensors`` and then ``card.json``, each atomically; the card's presence means complete."""
    # Cloned, because safetensors refuses tensors that share their memory, as tied weights do.
    weights = {key: value.detach().cpu().contiguous().clone() for key, value in state.items()}
    with atomic_write(folder / "model.safetensors", "wb") as stream:
        stream.write(save(weights))
    write_json(folder / "card.json", card.model_dump(mode="json"))


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a training state (tensors and plain values) atomically."""
    with atomic_write(path, "wb") as stream:
        torch.save(dict(state), stream)


def load_state(path: Path) -> dict[str, Any] | None:
    """Read a training state, or None where there is none.

    Raises:
        EvalSuiteError: if the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # as above: a damaged file can make the reader raise almost anything
        raise EvalSuiteError(
            f"cannot resume from {path}: {first_line(error)}; remove it to train from the start"
        ) from None
    return state


def _is_state_dict(content: Mapping[Any, Any]) -> bool:
    return bool(content) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items())


def _listed(what: str, keys: list[str]) -> str:
    if not keys:
        return ""
    more = f", ... {len(keys) - _LISTED_KEYS} more" if len(keys) > _LISTED_KEYS else ""
    return f"{len(keys)} {what}: {', '.join(keys[:_LISTED_KEYS])}{more}"
