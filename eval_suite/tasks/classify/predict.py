"""Running a backbone over a labelled set."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.class_names import match_outputs
from eval_suite.backbones.inference import (
    Logits,
    compiled,
    evaluation_batches,
    predict_logits,
    require_finite,
    require_some_read,
    to_device,
)
from eval_suite.backbones.shares import gathered, own_share
from eval_suite.core.calibration import fitted_temperature
from eval_suite.core.runtime import RuntimeOptions, progress
from eval_suite.data.class_order import ClassMatch
from eval_suite.data.images import ImageIndex, open_images
from eval_suite.data.pictures import never_failing
from eval_suite.tasks.classify.examples import write_pictures
from eval_suite.tasks.classify.options import ClassifyOptions
from eval_suite.tasks.classify.predictions import Predictions, write_predictions


def predict(backbone: Backbone, options: ClassifyOptions, runtime: RuntimeOptions, folder: Path) -> Path:
    """Write the logits of every readable image to ``predictions.npz``, and a few images to show."""
    everything = open_images(options.data, options.split)
    index = everything.subset(options.limit)
    card = backbone.card
    match = match_outputs(card, everything)
    device = runtime.resolve_device()
    to_device(backbone, device)
    chosen = None
    if options.calibration_split is not None:
        chosen = _temperature(backbone, match, options.calibration_split, options, runtime)
    found, failed = _logits(backbone, match.relabel(index), options, runtime, f"classify {card.name}")
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
            about=everything.about(index, failed),
            subset=match.subset,
            temperature=None if chosen is None else np.asarray(chosen.value),
            temperature_from=[] if chosen is None else [chosen.how],
            calibration_logits=None if chosen is None else chosen.logits,
            calibration_labels=None if chosen is None else chosen.labels,
        ),
    )
    with never_failing("classify"):
        write_pictures(index, found.positions, folder)
    return path


class _Temperature(NamedTuple):
    """The temperature, in words from what, and the logits and labels that chose it."""

    value: float
    how: str
    logits: NDArray[np.float32]
    labels: NDArray[np.int64]


def _temperature(
    backbone: Backbone, match: ClassMatch, split: str, options: ClassifyOptions, runtime: RuntimeOptions
) -> _Temperature:
    """The temperature that fits another split's images best, among the classes of the data."""
    index = open_images(options.data, split)
    label = f"classify {backbone.card.name}, temperature on '{split}'"
    found, _ = _logits(backbone, match.relabel(index), options, runtime, label)
    require_some_read(len(found.labels), len(index), f"{options.data}, '{split}'")
    require_finite(bool(np.isfinite(found.logits).all()), backbone.card, f"{options.data}, '{split}'")
    logits, labels = found.logits, found.labels
    if match.subset is not None:
        place = np.full(logits.shape[1], -1)
        place[match.subset] = np.arange(len(match.subset))
        logits, labels = logits[:, match.subset], place[labels]
    value = fitted_temperature(logits, labels)
    how = f"temperature {value:.3g} chosen on {len(labels):,} images of '{split}'"
    return _Temperature(value, how, logits, labels)


class _Predicted(NamedTuple):
    logits: Logits
    failed: list[str]


def _logits(
    backbone: Backbone, index: ImageIndex, options: ClassifyOptions, runtime: RuntimeOptions, label: str
) -> _Predicted:
    batches = evaluation_batches(
        index,
        backbone.card,
        runtime=runtime,
        device=runtime.resolve_device(),
        strict=options.strict,
        share=own_share(),
    )
    shown = progress(batches, len(batches), label)
    network = compiled(backbone) if runtime.compile else backbone
    found = predict_logits(network, shown, precision=runtime.precision)
    together = gathered(found._asdict(), "positions", batches.failed, index.ids)
    return _Predicted(Logits(**together.columns), together.failed)
