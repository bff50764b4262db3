"""Running a detector over images."""

import logging
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from eval_suite.backbones.inference import autocast
from eval_suite.core.errors import InputError
from eval_suite.core.runtime import RuntimeOptions, progress
from eval_suite.data.corners import Boxes
from eval_suite.data.objects import ObjectIndex
from eval_suite.data.workers import WorkerLoader
from eval_suite.tasks.detect.detectors.base import Detector
from eval_suite.tasks.detect.matching import Detections
from eval_suite.tasks.detect.openmmlab import quiet
from eval_suite.tasks.detect.options import DetectOptions
from eval_suite.tasks.detect.pipeline import BoxData, evaluation_batches
from eval_suite.tasks.detect.predictions import write_detections, write_run

log = logging.getLogger(__name__)

PREDICTIONS = "predictions"


class FittedDetectors(NamedTuple):
    """What `predict` runs: the detectors, each with its model, and the name of their backbone."""

    models: list[tuple[Detector, nn.Module]]
    backbone: str


class Predicted(NamedTuple):
    """Detections in the pixels of the images as they are, and the images that could not be read."""

    detections: Detections
    failed: list[str]


def predict(fitted: FittedDetectors, options: DetectOptions, runtime: RuntimeOptions, folder: Path) -> Path:
    """Write ``predictions/<detector>.json``, COCO's results, and which images they are of."""
    everything = options.objects(options.split)
    index = everything.subset(options.limit)
    target = folder / PREDICTIONS
    failed: list[str] = []
    shutil.rmtree(target, ignore_errors=True)  # also what other detectors left
    for detector, model in fitted.models:
        label = f"{detector.title} {fitted.backbone}"
        found = predict_detector(model, detector, index, runtime, label=label, strict=options.strict)
        failed = found.failed
        write_detections(target / f"{detector.name}.json", index, found.detections)
    write_run(target, everything.about(index, failed), index, failed)
    return target


def predict_detector(
    model: nn.Module,
    detector: Detector,
    index: ObjectIndex,
    runtime: RuntimeOptions,
    *,
    label: str,
    strict: bool = False,
) -> Predicted:
    """Detect in every readable image.

    Args:
        model: the detector.
        detector: which one it is, with its settings.
        index: the images.
        runtime: device, precision, batch size, workers.
        label: what the progress is called.
        strict: stop at the first image that cannot be read.

    Raises:
        InputError: if an image cannot be read and ``strict`` is set, or if none can.
    """
    device = runtime.resolve_device()
    model.to(device)
    model.eval()
    data = BoxData(index, detector.evaluation_transforms())
    batches = evaluation_batches(index, runtime.batch_size)
    workers = 0 if len(index) < 4 * runtime.workers else runtime.workers
    loader = WorkerLoader(data, workers=workers, batch_sampler=batches)
    found: dict[int, Any] = {}
    failed: dict[str, str] = {}
    with torch.inference_mode():
        for items in progress(loader, len(batches), label):
            readable = [item for item in items if isinstance(item, dict)]
            for position, reason in (item for item in items if not isinstance(item, dict)):
                if strict:
                    raise InputError(
                        f"cannot read {index.ids[position]} of {index.spec}: {reason}; replace it or drop --strict"
                    )
                failed[index.ids[position]] = reason
            if not readable:
                continue
            with quiet(), autocast(device, runtime.precision):
                batch = {key: [item[key] for item in readable] for key in ("inputs", "data_samples")}
                for sample in model.test_step(batch):  # type: ignore[operator]
                    found[sample.img_id] = sample.pred_instances.cpu()
    if not found:
        raise InputError(f"none of the {len(index)} images of {index.spec} ({index.split}) could be read")
    if failed:
        name, reason = next(iter(failed.items()))
        log.warning(f"{len(failed):,} of {len(index):,} images cannot be read, first: {name} ({reason})")
    return Predicted(_gathered(found), list(failed))


def _gathered(found: dict[int, Any]) -> Detections:
    order = sorted(found)
    counts = [len(found[position]) for position in order]
    edges = torch.cat([found[i].bboxes for i in order]).float().numpy().astype(np.float64).reshape(-1, 4)
    return Detections(
        np.repeat(np.array(order, np.int64), counts),
        torch.cat([found[i].labels for i in order]).numpy().astype(np.int64),
        Boxes(edges, inclusive=False).as_inclusive(),
        torch.cat([found[i].scores for i in order]).float().numpy().astype(np.float64),
    )
