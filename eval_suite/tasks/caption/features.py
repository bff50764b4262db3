"""A training split's features, computed once and read from a memory-mapped file ever after."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.inference import autocast, evaluation_batches, to_device
from eval_suite.core.runtime import RuntimeOptions, progress
from eval_suite.core.store import atomic_write, write_json
from eval_suite.data.coco import CaptionSet
from eval_suite.tasks.caption.model import pooled_features

_PREPARATION = {"input_size", "interpolation", "crop_fraction", "resize"}


class Features(NamedTuple):
    """``values`` (n, C), memory-mapped, of the images at ``positions`` (n,); ``failed`` names the unreadable ones."""

    values: NDArray[np.float32]
    positions: NDArray[np.int64]
    failed: list[str]


def cached_features(
    backbone: Backbone, captions: CaptionSet, runtime: RuntimeOptions, folder: Path, *, strict: bool
) -> Features:
    """Mean features of every readable image, computed where the folder does not hold them yet.

    ``features.npy`` is written whole or not at all; ``features.json`` next to it says of which weights, images and
    preparation they are.

    Args:
        backbone: gives the feature maps.
        captions: the images.
        runtime: device, precision and batches.
        folder: where the two files lie.
        strict: stop at the first unreadable image.
    """
    about = {
        "backbone": backbone.card.deciding_features(),
        "preparation": backbone.card.model_dump(mode="json", include=_PREPARATION),
        "data": captions.sha256(),
        "precision": runtime.precision,
    }
    known = _read(folder, about)
    if known is not None and not (strict and known.failed):
        return known
    # Removed first, so that it never speaks of another file than the one next to it.
    (folder / "features.json").unlink(missing_ok=True)
    device = runtime.resolve_device()
    to_device(backbone, device)
    batches = evaluation_batches(
        captions.images(), backbone.card, runtime=runtime, device=device, strict=strict
    )
    positions: list[NDArray[np.int64]] = []
    with atomic_write(folder / "features.npy", "wb") as stream, torch.inference_mode():
        for batch in progress(batches, len(batches), f"features {backbone.card.name}"):
            with autocast(device, runtime.precision):
                values = pooled_features(backbone, batch.images).cpu().numpy()
            if not positions:
                _write_head(stream, (len(captions), values.shape[1]))
            positions.append(batch.index.numpy())
            stream.write(values.astype("<f4").tobytes())
        # The head promised a row for every image; where some could not be read, it is written anew.
        rows = sum(map(len, positions))
        if rows < len(captions):
            stream.seek(0)
            _write_head(stream, (rows, values.shape[1]))
    found = {**about, "positions": np.concatenate(positions).tolist(), "failed": batches.failed}
    write_json(folder / "features.json", found)
    result = _read(folder, about)
    assert result is not None
    return result


def _write_head(stream: Any, shape: tuple[int, int]) -> None:
    # numpy pads a header to a multiple of 64 bytes, so that a smaller number of rows takes the same place.
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})


def _read(folder: Path, about: dict[str, Any]) -> Features | None:
    try:
        found = json.loads((folder / "features.json").read_text("utf-8"))
        values = np.load(folder / "features.npy", mmap_mode="r")
        positions, failed = np.asarray(found["positions"], np.int64), found["failed"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    wanted = json.loads(json.dumps(about))
    whole = isinstance(values, np.ndarray) and values.ndim == 2 and len(values) == len(positions)
    if not whole or {key: found.get(key) for key in wanted} != wanted:
        return None
    return Features(values, positions, failed)
