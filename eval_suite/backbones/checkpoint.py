"""Weights on disk: anyone's into a network, our own written whole or not at all."""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from eval_suite.backbones.weights_dialects import find_weights
from eval_suite.backbones.weights_file import read_weights_file
from eval_suite.core.cards import BackboneCard, LoadReport
from eval_suite.core.errors import InputError, first_line
from eval_suite.core.store import atomic_write, write_json


def load_weights(net: nn.Module, path: Path, entry: str | None = None) -> LoadReport:
    """Load a weights file into a network; every parameter and buffer must be covered.

    Keys the file has beyond the network are reported, not an error; `find_weights` says how the network's are found.

    Args:
        net: the network.
        path: a safetensors or torch file.
        entry: which of several sets of weights in the file, by its path there.

    Raises:
        InputError: if the file cannot be read, or a key is missing or has another shape; the message lists the keys.
    """
    file = read_weights_file(path)
    expected = net.state_dict()
    tensors = {key: value for key, value in expected.items() if isinstance(value, Tensor)}  # no extra state
    match = find_weights(net, tensors, file, path, entry)
    state = OrderedDict(match.state)
    # Modules such as MNASNet's refuse a state dict that does not say their version; files without it are of today's.
    state._metadata = {**getattr(expected, "_metadata", {}), **match.versions}  # type: ignore[attr-defined]  # noqa: SLF001 - torch keeps a state dict's versions there
    try:
        net.load_state_dict(state, strict=False)
    except (RuntimeError, ValueError) as error:  # modules have conditions of their own
        raise InputError(f"the network does not take the weights in {path}: {first_line(error)}") from None
    return LoadReport(
        matched=len(state),
        missing=[],
        unexpected=match.unexpected,
        notes=match.notes,
        classes=file.classes,
        class_order=file.class_order,
    )


def state_sha256(state: Mapping[str, Any]) -> str:
    """SHA-256 over names, types, shapes and values of a state dict, independent of the file format.

    Modules may have other state than tensors, as quantised ones do: of tuples each part counts, of all else its text.
    """
    digest = hashlib.sha256()
    for key in sorted(state):
        _update(digest, key, state[key])
    return digest.hexdigest()


def _update(digest: "hashlib._Hash", key: str, value: Any) -> None:
    if isinstance(value, tuple | list):
        for number, part in enumerate(value):
            _update(digest, f"{key}.{number}", part)
    elif isinstance(value, Tensor):
        value = value.detach().cpu()
        value = (value.dequantize() if value.is_quantized else value).contiguous()
        digest.update(f"{key}:{value.dtype}:{tuple(value.shape)}".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    else:
        digest.update(f"{key}:{value!r}".encode())


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
        InputError: if the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - a damaged file can make the reader raise almost anything
        raise unusable(path, "a state to continue from", error) from None
    if not isinstance(state, dict):
        raise unusable(path, "a state to continue from", TypeError(f"a {type(state).__name__}"))
    return state


def unusable(path: Path, what: str, error: BaseException) -> InputError:
    """The error for a file that a fit left and that was damaged, or exchanged, since."""
    found = f"what cannot be used ({type(error).__name__}: {first_line(error)})"
    return InputError(expected=what, where=path, found=found, remedy="remove that file to fit anew")
