"""From logits and labels to the metrics of classification."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.calibration import confidence_and_correctness, reliability
from eval_suite.core.errors import InputError
from eval_suite.core.metrics import CALIBRATION_BINS, Bounds, MetricSet
from eval_suite.core.predictions import About
from eval_suite.core.records import Curve, Example
from eval_suite.core.statistics import topk_correct
from eval_suite.data.pictures import never_failing
from eval_suite.data.truth import true_labels
from eval_suite.tasks.base import Score, TaskOptions
from eval_suite.tasks.classify.examples import examples
from eval_suite.tasks.classify.metrics import (
    CLASS_ACCURACY,
    MEAN_CLASS_ACCURACY,
    NLL,
    negative_log_likelihood,
    per_class_correct,
)
from eval_suite.tasks.classify.predictions import Predictions, read_predictions

_ITEMS_TO_DRAW = 10


def score(predictions: Path, options: TaskOptions | None, truth: str | None, folder: Path | None) -> Score:
    """Metrics of a predictions file; ``truth`` (KIND:PATH) gives the labels where the file has none.

    Raises:
        InputError: if there are no labels, or they do not fit the logits.
    """
    found = read_predictions(predictions)
    labels, classes, about = _truth(found, predictions, truth, options.split if options else None)
    confidence, correct = confidence_and_correctness(found.logits, labels)
    predicted = found.logits.argmax(axis=1)
    metrics = metrics_of(found.logits, labels, classes)
    metrics.curves.append(_reliability_curve(confidence, correct))
    shown: list[Example] = []
    with never_failing("classify"):
        shown = examples(folder, found.ids, labels, predicted, confidence, classes) if folder else []
    return Score(
        metrics,
        about.info(len(labels)),
        examples=shown,
        ids=found.ids,
    )


def metrics_of(logits: NDArray[np.float32], labels: NDArray[np.int64], classes: list[str]) -> MetricSet:
    """Errors, likelihood, calibration, and the accuracy on each class.

    Args:
        logits: (n, classes).
        labels: (n,) class indices.
        classes: names of the classes.
    """
    found = MetricSet()
    right = topk_correct(logits, labels, 1)
    found.top_errors(~right, None if logits.shape[1] <= 5 else ~topk_correct(logits, labels, 5))
    found.mean(NLL, negative_log_likelihood(logits, labels))
    found.calibration(*confidence_and_correctness(logits, labels))
    # Counted as the top-1 error is, where ties count against the model.
    counts = per_class_correct(right, labels, len(classes))
    present = counts[:, 1] > 0
    accuracies = counts[present, 0] / counts[present, 1]
    method = f"mean over the {int(present.sum())} classes with items"
    found.add(MEAN_CLASS_ACCURACY, float(accuracies.mean()), len(labels), uncertainty=Bounds(method=method))
    for label in np.flatnonzero(present):
        found.share(CLASS_ACCURACY, right[labels == label], subset=classes[label])
    return found


def _truth(
    found: Predictions, path: Path, truth: str | None, split: str | None
) -> tuple[NDArray[np.int64], list[str], About]:
    about = found.about
    if truth is None:
        if found.labels is None:
            raise InputError(f"{path} holds no labels; give the ground truth as --truth KIND:PATH")
        labels, classes = found.labels, found.classes
    else:
        labels, index = true_labels(
            truth, split, ids=found.ids, items=len(found.logits), about=about, path=path
        )
        classes, about = index.classes, index.about(index, about.failed)
    outputs = found.logits.shape[1]
    if labels.min() < 0 or labels.max() >= outputs:
        raise InputError(
            f"expected labels in 0..{outputs - 1} in {path}, found {labels.min()}..{labels.max()}"
        )
    _require_one_order(found.classes, classes, outputs, path, truth)
    return labels, classes or [str(i) for i in range(outputs)], about


def _require_one_order(
    own: list[str], classes: list[str], outputs: int, path: Path, truth: str | None
) -> None:
    """Check that the columns of the logits are the classes of the labels."""
    if classes and len(classes) != outputs:
        where = truth or "its 'classes'"
        raise InputError(f"{path} has logits of {outputs} classes, but {where} has {len(classes)}")
    differing = [pair for pair in zip(own, classes, strict=False) if pair[0] != pair[1]]
    if differing:
        raise InputError(
            f"{path} and {truth} differ in their classes, first '{differing[0][0]}' and '{differing[0][1]}'"
        )


def _reliability_curve(confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> Curve:
    bins = reliability(confidence, correct, CALIBRATION_BINS)
    centres = (np.arange(CALIBRATION_BINS) + 0.5) / CALIBRATION_BINS
    # A bin of one or two items says 0 or 1; drawn, it would make the most confident network look the worst.
    filled = bins.items >= max(1, min(_ITEMS_TO_DRAW, len(correct) // 100))
    return Curve(
        name="Reliability diagram",
        x=[float(x) for x in np.where(filled, bins.confidence, centres)],
        y=[float(y) if full else None for y, full in zip(bins.accuracy, filled, strict=True)],
        x_label="confidence",
        y_label="accuracy",
    )
