"""Fitting the linear layer: deterministic in (options, seed), resumable at any moment."""

import hashlib
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.checkpoint import state_sha256
from eval_suite.backbones.inference import to_device
from eval_suite.core.runtime import RuntimeOptions, derive_seed, progress
from eval_suite.data.augment import to_unit_range
from eval_suite.data.masks import IGNORED, MaskIndex
from eval_suite.data.workers import WorkerLoader
from eval_suite.tasks.base import Fit
from eval_suite.tasks.segment.crops import CropBatch, Crops
from eval_suite.tasks.segment.model import DenseProbe
from eval_suite.tasks.segment.options import SegmentOptions
from eval_suite.training.fit_run import FitRun, read_fitted

log = logging.getLogger(__name__)

VERSION = 1
"""Goes up whenever the same options fit another layer."""
_INITIALISATION = 0x5E60
_CHECK_EVERY_STEPS = 20
_FIRST_RATE = 1e-6


class Row(NamedTuple):
    """One line of ``log.jsonl``: a step, counted from 1, its loss, and the seconds of all steps so far."""

    step: int
    loss: float
    seconds: float


class Segmenter(NamedTuple):
    """What `predict` runs: the fitted layer on its backbone, the names of its classes, and where its backbone's map is."""

    model: DenseProbe
    classes: list[str]


def fit(backbone: Backbone, options: SegmentOptions, runtime: RuntimeOptions, seed: int, folder: Path) -> Fit:
    """Fit the layer to the training split, continue where a stopped fit left off, or load a finished one.

    Raises:
        DivergenceError: if the loss or a weight stops being finite; the last good state stays.
        InputError: if the backbone has no feature map, an image to learn from cannot be read, or a mask of either split
            cannot be used.
    """
    index = options.masks(options.train_split or "train")
    for masks in (index, options.masks(options.split or "val").subset(options.limit)):
        masks.require_sound()
    device = runtime.resolve_device()
    to_device(backbone, device)
    card = backbone.card
    rows: list[Row] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, 0, _INITIALISATION))
        model = DenseProbe(
            backbone,
            len(index.classes),
            short_side=options.short_side,
            crop_size=options.crop_size,
            precision=runtime.precision,
        ).to(device)
    identity = {
        "digest": _digest(options, index, runtime, seed, {**card.deciding_features(), "layer": model.layer})
    }
    height, width = model.window
    card.load.notes.append(f"segment reads '{model.layer}' in windows of {height} x {width} pixels")
    with FitRun(
        folder, identity, purpose="fitting segmentation", save_interval=options.save_interval
    ).held() as run:
        done = run.finished()
        if done is not None:
            read_fitted(folder, done, model.load_state_dict)
        else:
            rows = _steps(model, index, options, runtime, seed, run)
            run.finish(
                model.state_dict(), {**identity, "classes": index.classes, "window": [height, width]}, rows
            )
    card.fitted_sha256["segment"] = state_sha256(model.state_dict())
    return Fit(Segmenter(model.eval(), index.classes), index.about(index, []).info(len(index)))


def pixel_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The cross entropy summed over the pixels that count, by the number of all pixels.

    Args:
        logits: (B, classes, H, W).
        labels: (B, H, W) classes, or `IGNORED`.

    MMSegmentation's default divides so too.
    """
    return F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum") / labels.numel()


def rate_at(step: int, options: SegmentOptions) -> float:
    """The learning rate of a step, counted from 0: it rises linearly over ``warmup`` steps to where it falls linearly to 0.

    Example:
        >>> rate_at(20_000, SegmentOptions(data="voc:data"))
        0.0005
    """
    rate = options.lr * (1 - step / options.iterations)
    warmup = min(options.warmup, options.iterations // 2)
    if step < warmup:
        rate *= 1 - (1 - step / warmup) * (1 - _FIRST_RATE)
    return rate


def _steps(
    model: DenseProbe,
    index: MaskIndex,
    options: SegmentOptions,
    runtime: RuntimeOptions,
    seed: int,
    run: FitRun,
) -> list[Row]:
    device, total = runtime.resolve_device(), options.iterations
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr, weight_decay=options.weight_decay)
    first, rows, seconds = 0, [], 0.0
    state = run.state()
    if state is not None:
        with run.resuming():
            model.load_state_dict(state["weights"])
            optimizer.load_state_dict(state["optimizer"])
            first, rows, seconds = state["step"], [Row(*row) for row in state["rows"]], state["seconds"]
        log.info(f"continuing after {first:,} steps")
    model.train()
    model.backbone.eval()
    begin = time.monotonic()
    batches = _batches(model, index, options, runtime, seed, first)
    for step, batch in enumerate(progress(batches, total, "fitting segmentation", first=first), first):
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, options)
        images = to_unit_range(batch.images.to(device, non_blocking=True))
        loss = pixel_loss(model(images), batch.labels.to(device, non_blocking=True).long())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        done, due = step + 1, run.due()
        if done % _CHECK_EVERY_STEPS == 0 or done == total or due:
            now = seconds + time.monotonic() - begin
            run.require_good(
                float(loss.detach()),
                model.state_dict() if due or done == total else None,
                where=f"by step {done:,} of {total:,} of the segmentation layer (lr {options.lr:g})",
                remedy="lower --lr, or check the backbone's features",
            )
            if done % _CHECK_EVERY_STEPS == 0 or done == total:
                rows.append(Row(done, float(loss.detach()), round(now, 1)))
            if due:
                run.save(
                    {
                        "weights": model.state_dict(),
                        "optimizer": optimizer.state_dict(),
                        "step": done,
                        "seconds": now,
                        "rows": [tuple(row) for row in rows],
                    },
                    rows,
                )
    return rows


def _batches(
    model: DenseProbe,
    index: MaskIndex,
    options: SegmentOptions,
    runtime: RuntimeOptions,
    seed: int,
    first: int,
) -> Iterator[CropBatch]:
    crops = Crops(
        index,
        window=model.window,
        short_side=options.short_side,
        batch_size=options.fit_batch_size,
        seed=seed,
        fill=model.backbone.card.mean,
    )
    yield from WorkerLoader(
        crops,
        workers=runtime.workers,
        sampler=range(first, options.iterations),
        batch_size=None,
        pin_memory=runtime.resolve_device().type == "cuda",
    )


def _digest(
    options: SegmentOptions, index: MaskIndex, runtime: RuntimeOptions, seed: int, features: dict[str, object]
) -> str:
    decisive = [
        VERSION,
        options.deciding_fit(),
        index.sha256(),
        index.split,
        runtime.precision,
        seed,
        features,
    ]
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
