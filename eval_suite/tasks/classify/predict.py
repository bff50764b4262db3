"""Running a backbone over a labelled set."""

from pathlib import Path

import numpy as np

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.class_names import match_outputs
from eval_suite.backbones.inference import (
    evaluation_batches,
    predict_logits,
    require_finite,
    require_some_read,
    to_device,
)
from eval_suite.core.runtime import RuntimeOptions, progress
from eval_suite.data.images import open_images
from eval_suite.data.pictures import never_failing
from eval_suite.tasks.base import TaskOptions
from eval_suite.tasks.classify.examples import write_pictures
from eval_suite.tasks.classify.predictions import Predictions, write_predictions


def predict(backbone: Backbone, options: TaskOptions, runtime: RuntimeOptions, folder: Path) -> Path:
    """Write the logits of every readable image to ``predictions.npz``, and a few images to show."""
    everything = open_images(options.data, options.split)
    index = everything.subset(options.limit)
    card = backbone.card
    match = match_outputs(card, everything)
    device = runtime.resolve_device()
    batches = evaluation_batches(
        match.relabel(index), card, runtime=runtime, device=device, strict=options.strict
    )
    shown = progress(batches, len(batches), f"classify {card.name}")
    found = predict_logits(to_device(backbone, device), shown, precision=runtime.precision)
    require_some_read(len(found.labels), len(index), options.data)
    require_finite(bool(np.isfinite(found.logits).all()), card, options.data)
    path = folder / "predictions.npz"
    write_predictions(
        path,
        Predictions(
            logits=found.logits,
            ids=[index.ids[i] for i in found.positions],
            labels=found.labels,
            classes=match.names,
            about=everything.about(index, batches.failed),
            subset=match.subset,
        ),
    )
    with never_failing("classify"):
        write_pictures(index, found.positions, folder)
    return path
