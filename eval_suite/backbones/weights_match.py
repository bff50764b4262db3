"""Which tensors of a weights file are the network's: its own keys decide, under whatever names a trainer wrapped them."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from eval_suite.backbones.probe import OTHER_CHANNELS
from eval_suite.backbones.structure.vectors import LAST_LAYERS
from eval_suite.backbones.weights_file import WeightsFile
from eval_suite.core.errors import InputError, unknown_name

_AVERAGED = re.compile(r"(^|[._])(ema|swa|averaged?|shadow)\d*([._]|$)", re.IGNORECASE)
_LISTED_KEYS = 6
_UNUSABLE: tuple[tuple[str, str, Callable[[str, Tensor], bool], str], ...] = (
    (
        "stored weights",
        "tensor without values (on the device 'meta')",
        lambda _, value: value.is_meta,
        "save them once they are loaded",
    ),
    (
        "dense weights",
        "sparse tensor",
        lambda _, value: value.layout != torch.strided,
        "save them with value.to_dense()",
    ),
    (
        "float weights",
        "quantised tensor",
        lambda _, value: value.is_quantized,
        "save them with value.dequantize(), or the network before it is quantised",
    ),
    (
        "finite weights",
        "tensor with NaN or infinity",
        lambda _, value: value.is_floating_point() and not bool(value.isfinite().all()),
        "give weights from before the training diverged",
    ),
    (
        "running variances of 0 or more",
        "tensor with negative ones",
        lambda key, value: key.endswith("running_var") and bool((value < 0).any()),
        "the file is damaged, or was averaged or edited in a way that BatchNorm does not bear; give others",
    ),
)
TOP = "."
"""How the weights that lie at the top of a file are named."""


class Match(NamedTuple):
    """The network's tensors in a file.

    Attributes:
        state: by the network's own keys.
        versions: what torch notes of each module, by the network's names.
        unexpected: tensors next to them that the network has not, without the common prefix.
        notes: where they were found, and what else lies there.
    """

    state: dict[str, Tensor]
    versions: dict[str, Any]
    unexpected: list[str]
    notes: list[str]


class OutputsError(InputError):
    """The weights cover the network but for its last layer, which has another number of outputs: 0 where the file has none."""

    def __init__(self, message: str, outputs: int) -> None:
        super().__init__(message)
        self.outputs = outputs


def match_weights(
    expected: Mapping[str, Tensor],
    file: WeightsFile,
    path: Path,
    entry: str | None = None,
    *,
    unused: Collection[str] = (),
) -> Match:
    """Find the one prefix in a file under which every key of a network lies with its shape.

    BatchNorm's ``num_batches_tracked`` may be missing: files from before it existed lack it and evaluation does not use
    it. Of weights and their moving average the average is taken, as timm does, with a note.

    Args:
        expected: the network's state dict.
        file: as `read_weights_file` gives it.
        path: of the file, for messages.
        entry: where to look, as the file's entries are named in notes; "." for its top.
        unused: further keys of the network, which are not taken, whether they are there or not.

    Raises:
        OutputsError: if only the number of classes differs.
        InputError: if no prefix covers the network, several do, or the tensors are unusable.
    """
    required = required_keys(expected)
    counts = prefix_counts(required, file)
    covering = [
        prefix
        for prefix, count in counts.items()
        if count == len(required) and not _misshapen(expected, file, prefix)
    ]
    prefix, notes = _chosen(covering, file, expected, path, entry)
    if prefix is None:
        raise _not_covered(expected, required, file, _nearest(counts, entry), path)
    state = {key: file.tensors[prefix + key] for key in expected if prefix + key in file.tensors}
    _require_usable(state, expected, path)
    if prefix:
        notes.insert(0, f"took the weights under '{_named(prefix)}'")
    unexpected, left_over = _left_over([*state, *unused], file, prefix, covering)
    if unexpected:
        notes.append(
            f"{_count(len(unexpected), 'tensor')} under the network's own names that it has not: {_some(unexpected)}; "
            "is the architecture right?"
        )
    if left_over:
        notes.append(f"left out what is not the network's: {_some(left_over)}")
    within = {
        path.removeprefix(prefix): found for path, found in file.versions.items() if path.startswith(prefix)
    }
    versions = within | ({"": file.versions[_named(prefix)]} if _named(prefix) in file.versions else {})
    return Match(state, versions, [*unexpected, *left_over], [*file.notes, *notes])


def required_keys(expected: Mapping[str, Tensor]) -> list[str]:
    """The keys of a state dict that a file must have."""
    return [key for key in expected if not key.endswith("num_batches_tracked")]


def prefix_counts(required: list[str], file: WeightsFile) -> Counter[str]:
    """How many of the network's keys lie under each prefix."""
    keys = set(required)
    counts: Counter[str] = Counter()
    for path in file.tensors:
        start = 0
        while True:
            if path[start:] in keys:
                counts[path[:start]] += 1
            start = path.find(".", start) + 1
            if not start:
                break
    return counts


def _chosen(
    covering: list[str], file: WeightsFile, expected: Mapping[str, Tensor], path: Path, entry: str | None
) -> tuple[str | None, list[str]]:
    """The prefix to take, and what to say of the others; None where there is none."""
    if entry is not None:
        wanted = entry.strip(".")
        among = [
            prefix
            for prefix in covering
            if prefix.startswith(f"{wanted}.") or _named(prefix) == (wanted or TOP)
        ]
        if covering and not among:
            raise unknown_name(f"weights entry of {path}", entry, [_named(prefix) for prefix in covering])
        covering = among
    if len(covering) < 2:
        return (covering[0] if covering else None), []
    names = [_named(prefix) for prefix in covering]
    listed = " and ".join(f"'{name}'" for name in names)
    averaged = [prefix for prefix in covering if _AVERAGED.search(prefix)]
    first = (averaged or covering)[0]
    same = all(_equal(file, first, prefix, expected) for prefix in covering)
    if not same and (len(averaged) != 1 or len(covering) > 2):
        raise InputError(
            expected="one set of weights for the network",
            where=path,
            found=f"{len(covering)}, under {listed}",
            remedy=f"choose one, as with --weights-entry {names[0]} (in a recipe init_entry: {names[0]})",
        )
    if same:
        return first, [f"the file holds the same weights under {listed}"]
    other = next(name for name in names if name != _named(first))
    return first, [
        f"the file holds weights under {listed}; the moving average, '{_named(first)}', was taken "
        f"(for the other: --weights-entry {other})"
    ]


def _equal(file: WeightsFile, one: str, other: str, keys: Mapping[str, Tensor]) -> bool:
    pairs = [(file.tensors.get(one + key), file.tensors.get(other + key)) for key in keys]
    return all(a is b or (a is not None and b is not None and torch.equal(a, b)) for a, b in pairs)


def _misshapen(expected: Mapping[str, Tensor], file: WeightsFile, prefix: str) -> list[str]:
    return [
        key
        for key, value in expected.items()
        if prefix + key in file.tensors and file.tensors[prefix + key].shape != value.shape
    ]


def _nearest(counts: Counter[str], entry: str | None) -> str:
    """The prefix with most of the network's keys, the shortest of equals."""
    wanted = "" if entry is None or entry.strip(".") == "" else entry.strip(".") + "."
    among = {prefix: count for prefix, count in counts.items() if prefix.startswith(wanted)}
    return max(among, key=lambda prefix: (among[prefix], -len(prefix))) if among else ""


def _not_covered(
    expected: Mapping[str, Tensor], required: list[str], file: WeightsFile, prefix: str, path: Path
) -> InputError:
    missing = [key for key in required if prefix + key not in file.tensors]
    quantised = [key for key in file.tensors if re.search(r"(^|\.)_packed_params|(^|\.)scale$", key)]
    if missing and (quantised or any(value.is_quantized for value in file.tensors.values())):
        return InputError(
            expected="float weights",
            where=path,
            found="quantised ones",
            remedy="save the network's state dict before it is quantised",
        )
    misshapen = _misshapen(expected, file, prefix)
    channels = {_other_channels(expected[key], file.tensors[prefix + key]) for key in misshapen} - {None}
    if not missing and channels:
        return InputError(
            expected="weights of a network for RGB images",
            where=path,
            found=f"a first convolution of {channels.pop()} channels",
            remedy=OTHER_CHANNELS,
        )
    unexpected = [
        key.removeprefix(prefix) for key in file.tensors if key.removeprefix(prefix) not in expected
    ]
    shapes = [
        f"{key} (file {tuple(file.tensors[prefix + key].shape)}, network {tuple(expected[key].shape)})"
        for key in misshapen
    ]
    parts = [
        f"{len(keys)} {what}: {_some(keys)}"
        for what, keys in (
            ("missing", missing),
            ("of another shape", shapes),
            ("left over in the file", unexpected),
        )
        if keys
    ]
    where = f", taken under '{_named(prefix)}'," if prefix else ""
    message = (
        f"the weights in {path}{where} do not cover the network: {'; '.join(parts)}; "
        "check the architecture and its number of classes"
    )
    outputs = {_other_outputs(expected[key], file.tensors[prefix + key]) for key in misshapen}
    if (
        missing
        and not misshapen
        and all(map(_of_last_layer, missing))
        and not any(map(_of_last_layer, unexpected))
    ):
        return OutputsError(message, 0)
    if not missing and len(outputs) == 1 and (count := outputs.pop()) is not None:
        return OutputsError(message, count)
    return InputError(message)


def _of_last_layer(key: str) -> bool:
    return any(name in LAST_LAYERS for name in key.split(".")[:-1])


def _other_outputs(expected: Tensor, found: Tensor) -> int | None:
    """The number of outputs in a file's last layer, where only that differs."""
    same = expected.ndim == found.ndim > 0 and expected.shape[1:] == found.shape[1:]
    return found.shape[0] if same else None


def _other_channels(expected: Tensor, found: Tensor) -> int | None:
    """The number of colours that a file's first convolution takes, where the network's takes three."""
    rgb = expected.ndim == found.ndim == 4 and expected.shape[1] == 3
    same = rgb and (expected.shape[0], *expected.shape[2:]) == (found.shape[0], *found.shape[2:])
    return found.shape[1] if same else None


def _require_usable(state: dict[str, Tensor], network: Mapping[str, Tensor], path: Path) -> None:
    for expected, what, wrong, remedy in _UNUSABLE:
        keys = [key for key, value in state.items() if wrong(key, value)]
        if keys:
            found = f"{_count(len(keys), what)}: {_some(keys)}"
            raise InputError(expected=expected, where=path, found=found, remedy=remedy)
    # torch would cast whole numbers, of a quantisation whose scale is lost, and drop imaginary parts.
    cast = {key: value.dtype for key, value in state.items() if network[key].is_floating_point()}
    if keys := [key for key, dtype in cast.items() if not dtype.is_floating_point]:
        raise InputError(
            expected="float weights",
            where=path,
            found=f"{cast[keys[0]]} in {_count(len(keys), 'tensor')}: {_some(keys)}",
            remedy="save the network's own float weights",
        )


def _left_over(
    keys: list[str], file: WeightsFile, prefix: str, covering: list[str]
) -> tuple[list[str], list[str]]:
    """Other tensors of the dictionary that the weights lie in: under the network's prefix, and outside of it.

    Further sets of the network's weights are no part of either.
    """
    entry = min(
        (file.entries[prefix + key] for key in keys if prefix + key in file.entries), key=len, default=""
    )
    named = {one + key for one in covering for key in keys}
    others = [key for key, where in file.entries.items() if where == entry and key not in named]
    inside = [key.removeprefix(prefix) for key in others if key.startswith(prefix)]
    return inside, [key.removeprefix(entry) for key in others if not key.startswith(prefix)]


def _named(prefix: str) -> str:
    return prefix.rstrip(".") or TOP


def _count(number: int, what: str) -> str:
    return f"{number} {what if number == 1 else what.replace('tensor', 'tensors')}"


def _some(keys: list[str]) -> str:
    more = f", ... {len(keys) - _LISTED_KEYS} more" if len(keys) > _LISTED_KEYS else ""
    return ", ".join(keys[:_LISTED_KEYS]) + more
