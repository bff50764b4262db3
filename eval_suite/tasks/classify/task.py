"""The classify task: logits over a labelled set, and what they say."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.calibration import (
    confidence_and_correctness,
    reliability,
)
from eval_suite.core.errors import EvalSuiteError, InputError
from eval_suite.core.metrics import CALIBRATION_BINS, bounds, calibration_metric, share_metric
from eval_suite.core.papers import CUTMIX
from eval_suite.core.predictions import About
from eval_suite.core.records import Curve, Metric
from eval_suite.core.runtime import RuntimeOptions, progress
from eval_suite.core.statistics import bootstrap_mean, topk_correct
from eval_suite.data.images import open_images
from eval_suite.data.truth import true_labels
from eval_suite.tasks.base import Score, Task, TaskOptions
from eval_suite.tasks.classify.examples import examples, write_pictures
from eval_suite.tasks.classify.metrics import negative_log_likelihood, per_class_correct
from eval_suite.tasks.classify.options import ClassifyOptions
from eval_suite.tasks.classify.predictions import Predictions, read_predictions, write_predictions

if TYPE_CHECKING:
    from eval_suite.backbones.backbone import Backbone

_ITEMS_TO_DRAW = 10


class ClassifyTask(Task):
    """Top-1/top-5 error, likelihood, calibration and per-class accuracy on a labelled set."""

    name = "classify"
    version = 1
    title = "Classification"
    paper = CUTMIX
    options: ClassVar[type[TaskOptions]] = ClassifyOptions

    def predict(
        self, backbone: "Backbone", options: TaskOptions, runtime: RuntimeOptions, folder: Path
    ) -> Path:
        """Write the logits of every readable image to ``predictions.npz``, and a few images to show."""
        from eval_suite.backbones.inference import evaluation_batches, place, predict_logits
        from eval_suite.backbones.sources import require_classes

        everything = open_images(options.data, options.split)
        index = everything.subset(options.limit)
        require_classes(backbone.card, everything.classes, options.data)
        device = runtime.resolve_device()
        card = backbone.card
        batches = evaluation_batches(index, card, runtime=runtime, device=device, strict=options.strict)
        shown = progress(batches, len(batches), f"{self.name} {card.name}")
        found = predict_logits(place(backbone, device), shown, precision=runtime.precision)
        if not len(found.labels):
            raise EvalSuiteError(f"none of the {len(index)} images of {options.data} could be read")
        if not np.isfinite(found.logits).all():
            raise EvalSuiteError(
                f"backbone '{card.name}' gives NaN or infinite logits on {options.data}; its weights are unusable"
            )
        path = folder / "predictions.npz"
        write_predictions(
            path,
            Predictions(
                logits=found.logits,
                ids=[index.ids[i] for i in found.positions],
                labels=found.labels,
                classes=index.classes,
                about=everything.about(index, batches.failed),
            ),
        )
        write_pictures(index, found.positions, folder)
        return path

    def score(
        self, predictions: Path, options: TaskOptions | None, truth: str | None, folder: Path | None
    ) -> Score:
        """Metrics of a predictions file; ``truth`` (KIND:PATH) gives the labels where the file has none."""
        found = read_predictions(predictions)
        split = options.split if options else None
        labels, classes, about = _truth(found, predictions, truth, split)
        confidence, correct = confidence_and_correctness(found.logits, labels)
        predicted = found.logits.argmax(axis=1)
        shown = examples(folder, found.ids, labels, predicted, confidence, classes) if folder else []
        return Score(
            metrics=_metrics(found.logits, labels, classes, confidence, correct),
            data=about.info(len(labels)),
            curves=[_reliability_curve(confidence, correct)],
            examples=shown,
            ids=found.ids,
            outcomes=_outcomes(found.logits, labels),
        )


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
    if len(labels) == 0:
        raise InputError(f"{path} holds no items")
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


def _outcomes(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    return {
        "Top-1 error": (~topk_correct(logits, labels, 1)).astype(np.float64),
        "Top-5 error": (~topk_correct(logits, labels, 5)).astype(np.float64),
        "NLL": negative_log_likelihood(logits, labels),
    }


def _metrics(
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: list[str],
    confidence: NDArray[np.float64],
    correct: NDArray[np.bool_],
) -> list[Metric]:
    n = len(labels)
    outcomes = _outcomes(logits, labels)
    found = [
        share_metric(name, int(outcomes[name].sum()), n, higher_is_better=False)
        for name in ("Top-1 error", "Top-5 error")
    ]
    if logits.shape[1] <= 5:
        found[1] = Metric(
            name="Top-5 error",
            value=None,
            higher_is_better=False,
            n=n,
            reason="there are no more than five classes",
        )
    found.append(
        Metric(
            name="NLL",
            value=float(outcomes["NLL"].mean()),
            unit="nats",
            higher_is_better=False,
            n=n,
            **bounds(bootstrap_mean(outcomes["NLL"]), "percentile bootstrap over items")._asdict(),
        )
    )
    found.append(calibration_metric(confidence, correct))
    # Counted as the top-1 error is, where ties count against the model.
    return found + _per_class(topk_correct(logits, labels, 1), labels, classes)


def _per_class(correct: NDArray[np.bool_], labels: NDArray[np.int64], classes: list[str]) -> list[Metric]:
    counts = per_class_correct(correct, labels, len(classes))
    present = counts[:, 1] > 0
    mean = Metric(
        name="Mean per-class accuracy",
        value=float((counts[present, 0] / counts[present, 1]).mean()),
        higher_is_better=True,
        n=len(labels),
        method=f"mean over the {int(present.sum())} classes with items",
    )
    each = [
        share_metric("Accuracy", int(good), int(total), higher_is_better=True, subset=name)
        for name, (good, total) in zip(classes, counts, strict=True)
        if total
    ]
    return [mean, *each]


def _reliability_curve(confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> Curve:
    bins = reliability(confidence, correct, CALIBRATION_BINS)
    centres = (np.arange(CALIBRATION_BINS) + 0.5) / CALIBRATION_BINS
    # A bin of one or two items says 0 or 1; drawn, it would make the surest network look the worst.
    filled = bins.items >= max(1, min(_ITEMS_TO_DRAW, len(correct) // 100))
    return Curve(
        name="Reliability diagram",
        x=[float(x) for x in np.where(filled, bins.confidence, centres)],
        y=[float(y) if full else None for y, full in zip(bins.accuracy, filled, strict=True)],
        x_label="confidence",
        y_label="accuracy",
    )
