"""A class for each pixel of every image, at the image's own size."""

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from eval_suite.backbones.inference import require_finite, require_some_read
from eval_suite.core.errors import InputError
from eval_suite.core.runtime import RuntimeOptions, progress
from eval_suite.data.augment import to_unit_range
from eval_suite.data.decoding import open_item, pixel_array, to_rgb, why_unreadable
from eval_suite.data.images import ImageIndex
from eval_suite.data.workers import WorkerLoader
from eval_suite.tasks.segment.crops import scaled_size
from eval_suite.tasks.segment.fit import Segmenter
from eval_suite.tasks.segment.options import SegmentOptions
from eval_suite.tasks.segment.predictions import write_mask, write_run


def predict(segmenter: Segmenter, options: SegmentOptions, runtime: RuntimeOptions, folder: Path) -> Path:
    """Write ``predictions/<image>.png``, in VOC's colours, of every readable image.

    Raises:
        EvalSuiteError: if the features are not finite, or no image can be read.
        InputError: if an image cannot be read and ``strict`` is set.
    """
    model, device = segmenter.model, runtime.resolve_device()
    everything = options.masks(options.split or "val")
    index = everything.subset(options.limit)
    target = folder / "predictions"
    shutil.rmtree(target, ignore_errors=True)
    loader = WorkerLoader(
        _Scaled(index.images(), options.short_side),
        workers=0 if len(index) < 4 * runtime.workers else runtime.workers,
        sampler=range(len(index)),
        batch_size=None,
    )
    failed: list[str] = []
    card = model.backbone.card
    with torch.inference_mode():
        for position, read in enumerate(progress(loader, len(index), f"segment {card.name}")):
            if read.reason:
                if options.strict:
                    raise InputError(
                        f"cannot read {index.ids[position]} of {index.spec}: {read.reason}; replace it or drop --strict"
                    )
                failed.append(index.ids[position])
                continue
            image = to_unit_range(read.pixels.to(device))
            logits = model.whole(image, runtime.batch_size)
            require_finite(bool(logits.isfinite().all()), card, options.data, "features")
            logits = F.interpolate(logits[None], read.size[::-1], mode="bilinear", align_corners=False)[0]
            write_mask(target, index.ids[position], logits.argmax(0).to(torch.uint8).cpu().numpy())
    require_some_read(len(index) - len(failed), len(index), options.data)
    write_run(target, everything.about(index, failed))
    return target


class _Read(NamedTuple):
    """An image (3, H, W) uint8, the (width, height) it had, and why it could not be read, or nothing."""

    pixels: Tensor
    size: tuple[int, int]
    reason: str


class _Scaled(Dataset[_Read]):
    def __init__(self, index: ImageIndex, short_side: int) -> None:
        self._index, self._short = index, short_side

    def __getitem__(self, position: int) -> _Read:
        try:
            image = to_rgb(open_item(self._index, position))
        except Exception as error:  # noqa: BLE001 - a broken file can make a decoder raise almost anything
            return _Read(torch.empty(0), (0, 0), why_unreadable(error))
        scaled = image.resize(scaled_size(image.size, self._short), Image.Resampling.BILINEAR)
        return _Read(torch.from_numpy(np.ascontiguousarray(pixel_array(scaled))), image.size, "")
