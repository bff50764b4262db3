"""Weights files whose keys are not the network's under one prefix: wrapped or separate parts, and what timm converts."""

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from eval_suite.backbones.weights_file import WeightsFile
from eval_suite.backbones.weights_match import (
    Match,
    OutputsError,
    match_weights,
    prefix_counts,
    required_keys,
)
from eval_suite.core.errors import InputError

# What torch.compile, activation checkpointing, FSDP and DataParallel put into the keys of a part that they wrap.
_WRAPPERS = re.compile(r"(?:(?<=\.)|^)(?:_orig_mod|_checkpoint_wrapped_module|_fsdp_wrapped_module|module)\.")


def find_weights(
    net: nn.Module,
    expected: Mapping[str, Tensor],
    file: WeightsFile,
    path: Path,
    entry: str | None = None,
    *,
    unused: Collection[str] = (),
) -> Match:
    """A network's tensors in a file, as `match_weights` finds them, or else with parts unwrapped or put together, or by timm's conversion.

    Args:
        net: the network; of timm's, an architecture may bring a conversion of its authors' files.
        expected: what is to be found of its state dict.
        file: as `read_weights_file` gives it.
        path: of the file, for messages.
        entry: where to look, as the file's entries are named in notes.
        unused: further keys of the network, which are not taken.

    Raises:
        OutputsError: if only the number of classes differs.
        InputError: as `match_weights` does of the file as it is.
    """
    try:
        return match_weights(expected, file, path, entry, unused=unused)
    except OutputsError:
        raise
    except InputError as error:
        plain = unwrapped(file) or file
        for other in (plain, joined(required_keys(expected), plain), converted(net, plain)):
            if other is not None:
                try:
                    return match_weights(expected, other, path, entry, unused=unused)
                except OutputsError:
                    raise
                except InputError:
                    continue
        raise error from None


def unwrapped(file: WeightsFile) -> WeightsFile | None:
    """The file without the wrappers within its keys, as in ``features.module.0.weight``; None where it has none.

    Args:
        file: as it was read.
    """
    named = {key: entry + _WRAPPERS.sub("", key.removeprefix(entry)) for key, entry in file.entries.items()}
    if all(key == name for key, name in named.items()) or len(set(named.values())) < len(named):
        return None
    return file._replace(
        tensors={named[key]: value for key, value in file.tensors.items()},
        entries={named[key]: entry for key, entry in file.entries.items()},
        notes=[
            *file.notes,
            "left out the wrappers of parts (DataParallel, torch.compile, ...) in the weights' names",
        ],
    )


def joined(required: list[str], file: WeightsFile) -> WeightsFile | None:
    """The file with the rest of a network moved to its larger part, as MMEngine stores ``backbone.`` and ``head.``.

    None where that is ambiguous: another prefix has as many of the network's keys, or the rest does not lie whole under
    exactly one other prefix next to it.

    Args:
        required: the network's keys.
        file: as it was read.
    """
    counts = prefix_counts(required, file)
    ((largest, count), *others) = counts.most_common() or [("", 0)]
    rest = [key for key in required if largest + key not in file.tensors]
    parent = largest.rstrip(".").rpartition(".")[0]
    heads = [
        prefix
        for prefix, _ in others
        if prefix.rstrip(".").rpartition(".")[0] == parent
        and all(prefix + key in file.tensors for key in rest)
    ]
    if not rest or not largest or any(number == count for _, number in others) or len(heads) != 1:
        return None
    moved = {heads[0] + key: largest + key for key in rest}
    note = f"put together the parts under '{largest.rstrip('.')}' and '{heads[0].rstrip('.')}'"
    return file._replace(
        tensors={moved.get(key, key): value for key, value in file.tensors.items()},
        entries={moved.get(key, key): value for key, value in file.entries.items()},
        notes=[*file.notes, note],
    )


def converted(net: nn.Module, file: WeightsFile) -> WeightsFile | None:
    """The file as timm's ``checkpoint_filter_fn`` of the network's architecture turns it into timm's keys; None without one.

    Args:
        net: the network.
        file: as it was read.
    """
    module = sys.modules[type(net).__module__]
    convert = getattr(module, "checkpoint_filter_fn", None)
    if convert is None or not module.__name__.startswith("timm."):
        return None
    by_entry: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for key, entry in file.entries.items():
        by_entry[entry][key.removeprefix(entry)] = file.tensors[key]
    tensors: dict[str, Tensor] = {}
    entries: dict[str, str] = {}
    for entry, held in by_entry.items():
        start = _common_prefix(held)
        try:
            with torch.no_grad():
                found = convert({key.removeprefix(start): value for key, value in held.items()}, net)
        except Exception:  # noqa: BLE001 - made for the authors' files, it may stumble over any other in any way
            continue
        named = {f"{entry}{key}": value for key, value in found.items() if isinstance(value, Tensor)}
        tensors |= named
        entries |= dict.fromkeys(named, entry)
    note = f"converted by timm's checkpoint_filter_fn of {module.__name__}"
    return file._replace(tensors=tensors, entries=entries, versions={}, notes=[*file.notes, note])


def _common_prefix(keys: Collection[str]) -> str:
    """The dotted prefix, such as ``module.``, that all keys have."""
    start = ""
    while True:
        firsts = Counter(key.removeprefix(start).partition(".")[0] for key in keys)
        longer = f"{start}{next(iter(firsts))}."
        if len(firsts) > 1 or not all(key.startswith(longer) for key in keys):
            return start
        start = longer
