"""From the probes' scores and labels to errors."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.controls import guessing
from eval_suite.core.errors import InputError
from eval_suite.core.metrics import FEW_CLASSES, Bounds, MetricSet
from eval_suite.core.statistics import topk_correct
from eval_suite.data.truth import true_labels
from eval_suite.tasks.base import Score
from eval_suite.tasks.probe.examples import examples
from eval_suite.tasks.probe.metrics import MEAN_CLASS_ACCURACY, TOP1, TOP5, params_of
from eval_suite.tasks.probe.options import ProbeOptions
from eval_suite.tasks.probe.predictions import Predictions, read_predictions

_FEW = 5


def score(predictions: Path, options: ProbeOptions | None, truth: str | None, folder: Path | None) -> Score:
    """Metrics of a predictions file; ``truth`` (KIND:PATH) gives the labels where the file has none.

    Raises:
        InputError: if there are no labels, or they do not fit the predictions.
    """
    read = _with_truth(read_predictions(predictions), predictions, truth, options.split if options else None)
    assert read.labels is not None
    given = read.settings.get("knn_k", "")
    metrics = MetricSet()
    for name, scores in read.scores.items():
        shared = MetricSet(shared=params_of(name, int(given) if given.isdecimal() else None))
        _errors(shared, scores, read.labels, read.settings.get(name, ""))
        metrics.extend(shared)
    return Score(
        metrics,
        read.about.info(len(read.labels)),
        examples=examples(folder, read.shown) if folder else [],
        ids=read.ids,
        warnings=read.warnings,
    )


def _errors(metrics: MetricSet, scores: NDArray[np.float32], labels: NDArray[np.int64], how: str) -> None:
    right = topk_correct(scores, labels, 1)
    metrics.share(TOP1, ~right, note=how)
    if scores.shape[1] <= _FEW:
        metrics.missing(TOP5, len(labels), FEW_CLASSES)
    else:
        metrics.share(TOP5, ~topk_correct(scores, labels, _FEW), note=how)
    metrics.control(TOP1, guessing(labels, scores.shape[1]))
    metrics.control(TOP5, guessing(labels, scores.shape[1], _FEW))
    present = np.unique(labels)
    accuracies = [right[labels == label].mean() for label in present]
    method = f"mean over the {len(present)} classes with items"
    metrics.add(
        MEAN_CLASS_ACCURACY, float(np.mean(accuracies)), len(labels), uncertainty=Bounds(method=method)
    )


def _with_truth(read: Predictions, path: Path, truth: str | None, split: str | None) -> Predictions:
    items, classes = next(iter(read.scores.values())).shape
    if truth is not None:
        known = true_labels(
            truth,
            split,
            ids=read.ids,
            items=items,
            about=read.about,
            path=path,
            labels=read.labels,
            outputs=classes,
            names=read.classes,
        )
        warnings = [*read.warnings, *known.assumptions]
        return read._replace(labels=known.labels, ids=known.ids, about=known.about, warnings=warnings)
    if read.labels is None:
        raise InputError(f"{path} holds no labels; give the ground truth as --truth KIND:PATH")
    if read.labels.min() < 0 or read.labels.max() >= classes:
        raise InputError(
            expected=f"numbers in 0..{classes - 1} as 'labels'",
            where=path,
            found=f"{read.labels.min()}..{read.labels.max()}",
        )
    return read
