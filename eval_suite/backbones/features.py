"""Features of an image set, computed once and read from a memory-mapped file ever after."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.inference import autocast, evaluation_batches, to_device
from eval_suite.core.files import read_file, require_regular
from eval_suite.core.runtime import RuntimeOptions, progress
from eval_suite.core.store import atomic_write, write_json
from eval_suite.data.images import ImageIndex

_PREPARATION = {"input_size", "interpolation", "crop_fraction", "resize"}


class Features(NamedTuple):
    """``values`` (n, D), memory-mapped, of the images at ``positions`` (n,); ``failed`` names the unreadable ones."""

    values: NDArray[np.float32]
    positions: NDArray[np.int64]
    failed: list[str]


def cached_features(
    backbone: Backbone,
    index: ImageIndex,
    of: Callable[[Tensor], Tensor],
    runtime: RuntimeOptions,
    stem: Path,
    *,
    key: Mapping[str, Any],
    strict: bool,
) -> Features:
    """Features of every readable image, computed where the files do not hold them yet.

    ``STEM.npy`` is written whole or not at all; ``STEM.json`` next to it says of which weights, images and preparation they
    are.

    Args:
        backbone: whose features.
        index: the images.
        of: images (N, 3, H, W) in [0, 1] on the device → features (N, D).
        runtime: device, precision and batches.
        stem: the two files without their suffixes.
        key: what decides the features besides the backbone, its preparation of images and the precision: the images, and
            which features.
        strict: stop at the first unreadable image.

    Raises:
        InputError: if no image can be read, or one cannot and ``strict`` is set.
    """
    about = {
        "backbone": backbone.card.deciding_features(),
        "preparation": backbone.card.model_dump(mode="json", include=_PREPARATION),
        "precision": runtime.precision,
        **key,
    }
    array, description = stem.with_name(f"{stem.name}.npy"), stem.with_name(f"{stem.name}.json")
    known = _read(array, description, about)
    if known is not None and not (strict and known.failed):
        return known
    # Removed first, so that it never speaks of another file than the one next to it.
    description.unlink(missing_ok=True)
    device = runtime.resolve_device()
    to_device(backbone, device)
    batches = evaluation_batches(index, backbone.card, runtime=runtime, device=device, strict=strict)
    positions: list[NDArray[np.int64]] = []
    with atomic_write(array, "wb") as stream, torch.inference_mode():
        for batch in progress(batches, len(batches), f"features {backbone.card.name}, '{index.split}'"):
            with autocast(device, runtime.precision):
                values = of(batch.images).float().cpu().numpy()
            if not positions:
                _write_head(stream, (len(index), values.shape[1]))
            positions.append(batch.index.numpy())
            stream.write(values.astype("<f4").tobytes())
        # The head promised a row for every image; where some could not be read, it is written anew.
        rows = sum(map(len, positions))
        if rows < len(index):
            stream.seek(0)
            _write_head(stream, (rows, values.shape[1]))
    write_json(
        description, {**about, "positions": np.concatenate(positions).tolist(), "failed": batches.failed}
    )
    result = _read(array, description, about)
    assert result is not None
    return result


def _write_head(stream: Any, shape: tuple[int, int]) -> None:
    # numpy pads a header to a multiple of 64 bytes, so that a smaller number of rows takes the same place.
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})


def _read(array: Path, description: Path, about: dict[str, Any]) -> Features | None:
    try:
        found = json.loads(read_file(description))
        values = np.load(require_regular(array), mmap_mode="r")
        positions, failed = np.asarray(found["positions"], np.int64), found["failed"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    wanted = json.loads(json.dumps(about))
    whole = isinstance(values, np.ndarray) and values.ndim == 2 and len(values) == len(positions)
    if not whole or {name: found.get(name) for name in wanted} != wanted:
        return None
    return Features(values, positions, failed)
