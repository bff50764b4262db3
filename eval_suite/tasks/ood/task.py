"""The ood task: how sure a backbone is of what it knows, and of what it has never seen."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.calibration import confidence_and_correctness
from eval_suite.core.errors import InputError
from eval_suite.core.metrics import ECE, calibration_metric, rate_bounds
from eval_suite.core.papers import CUTMIX
from eval_suite.core.records import Curve, DataInfo, Metric
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.core.statistics import bootstrap_mean
from eval_suite.data.truth import true_labels
from eval_suite.tasks.base import Score, Task, TaskOptions
from eval_suite.tasks.ood.examples import examples
from eval_suite.tasks.ood.options import OodOptions
from eval_suite.tasks.ood.predictions import Predictions, read_predictions, write_predictions
from eval_suite.tasks.ood.score import auroc_outcomes, detection_metrics, metric_name, require_enough
from eval_suite.tasks.ood.scores import FITTED, MAX_SOFTMAX, ODIN

if TYPE_CHECKING:
    from eval_suite.backbones.backbone import Backbone

OUTLIER_CONFIDENCE = "Mean confidence on outliers"
HISTOGRAM_BINS = 20
KNOWN_HISTOGRAM = "Confidence on in-distribution images"
_FAILED_NAMED = 100


def _metrics_of(*scores: str) -> tuple[str, ...]:
    """The part of a metric's name that tells its score, for each."""
    return tuple(metric_name("", score) for score in scores)


class OodTask(Task):
    """Out-of-distribution detection: TNR at 95 % TPR, AUROC, detection accuracy, AUPR and over-confidence by outlier set."""

    name = "ood"
    version = 1
    title = "Out-of-distribution detection"
    paper = CUTMIX
    options: ClassVar[type[TaskOptions]] = OodOptions
    packages = ("pytorch-ood",)
    protocol: ClassVar[Mapping[str, Sequence[str]]] = {
        "outlier_seed": (),
        "odin_temperature": _metrics_of(ODIN),
        "odin_epsilon": _metrics_of(ODIN),
        "fit_split": _metrics_of(*FITTED),
        "fit_limit": _metrics_of(*FITTED),
        "knn_k": _metrics_of("knn"),
        "react_percentile": _metrics_of("react"),
        "vim_dimension": _metrics_of("vim"),
    }

    def predict(
        self, backbone: "Backbone", options: OodOptions, runtime: RuntimeOptions, folder: Path
    ) -> Path:
        """Write every score of every image of all sets to ``predictions.npz``, and a few images to show."""
        from eval_suite.tasks.ood.predict import run_sets

        found, pictures = run_sets(backbone, options, runtime)
        path = folder / "predictions.npz"
        write_predictions(path, found)
        pictures.save(folder)
        return path

    def score(
        self, predictions: Path, options: TaskOptions | None, truth: str | None, folder: Path | None
    ) -> Score:
        """Metrics of a predictions file; ``truth`` (KIND:PATH) gives the labels where the file has none."""
        found = read_predictions(predictions)
        first = next(iter(found.scores))
        counts = {name: len(each.scores[first]) for name, each in found.outliers.items()}
        require_enough(len(found.scores[first]), counts, str(predictions))
        labels = _labels(found, predictions, truth, options.split if options else None)
        return Score(
            metrics=[*detection_metrics(found), *_over_confidence(found, labels)],
            data=_data(found),
            curves=_histograms(found),
            examples=examples(folder, found) if folder else [],
            ids=found.ids,
            outcomes=auroc_outcomes(found),
        )


def confidence_histogram_name(outlier_set: str) -> str:
    """Name of the curve that holds an outlier set's confidences."""
    return f"Confidence on outliers: {outlier_set}"


def _labels(found: Predictions, path: Path, truth: str | None, split: str | None) -> NDArray[np.int64] | None:
    if truth is None:
        labels = found.labels
    else:
        items = len(next(iter(found.scores.values())))
        labels = true_labels(truth, split, ids=found.ids, items=items, about=found.about, path=path).labels
    if labels is not None and found.logits is not None:
        classes = found.logits.shape[1]
        if labels.min() < 0 or labels.max() >= classes:
            raise InputError(
                f"expected labels in 0..{classes - 1} in {path}, found {labels.min()}..{labels.max()}"
            )
    return labels


def _over_confidence(found: Predictions, labels: NDArray[np.int64] | None) -> list[Metric]:
    n = len(next(iter(found.scores.values())))
    if found.logits is None or labels is None:
        reason = "the predictions hold no logits and labels"
        calibration = Metric(name=ECE, value=None, higher_is_better=False, n=n, reason=reason)
    else:
        confidence, correct = confidence_and_correctness(found.logits, labels)
        calibration = calibration_metric(confidence, correct)
    if MAX_SOFTMAX not in found.scores:
        return [calibration]
    means = {name: each.scores[MAX_SOFTMAX] for name, each in found.outliers.items()}
    overall = Metric(
        name=OUTLIER_CONFIDENCE,
        value=float(np.mean([values.mean() for values in means.values()])),
        higher_is_better=False,
        n=sum(len(values) for values in means.values()),
        method=f"mean over {len(means)} outlier sets",
    )
    each_set = [
        Metric(
            name=OUTLIER_CONFIDENCE,
            value=float(values.mean()),
            higher_is_better=False,
            n=len(values),
            subset=name,
            **rate_bounds(
                bootstrap_mean(values), "percentile bootstrap over items", float(values.mean()), len(values)
            )._asdict(),
        )
        for name, values in means.items()
    ]
    return [calibration, overall, *each_set]


def _histograms(found: Predictions) -> list[Curve]:
    if MAX_SOFTMAX not in found.scores:
        return []
    confidences = {KNOWN_HISTOGRAM: found.scores[MAX_SOFTMAX]}
    for name, each in found.outliers.items():
        confidences[confidence_histogram_name(name)] = each.scores[MAX_SOFTMAX]
    edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)
    centres = [round(float(x), 6) for x in (edges[1:] + edges[:-1]) / 2]
    return [
        Curve(
            name=name,
            x=centres,
            y=[float(share) for share in np.histogram(values, edges)[0] / len(values)],
            x_label="max softmax",
            y_label="share of images, %",
        )
        for name, values in confidences.items()
    ]


def _data(found: Predictions) -> DataInfo:
    """All sets as one, since what is compared between backbones depends on every one of them."""
    first = next(iter(found.scores))
    parts = [found.about.info(len(found.scores[first]))]
    parts += [each.about.info(len(each.scores[first])) for each in found.outliers.values()]
    digest = hashlib.sha256()
    for name, part in zip(["", *found.outliers], parts, strict=True):
        digest.update(f"{name}\0{part.sha256}\0{part.n_scored}\0".encode())
    sets = f"{len(found.outliers)} outlier set{'s' if len(found.outliers) > 1 else ''}"
    return DataInfo(
        name=f"{parts[0].name} and {sets} ({', '.join(found.outliers)})",
        split=parts[0].split,
        n_available=sum(part.n_available for part in parts),
        n_requested=sum(part.n_requested for part in parts),
        n_scored=sum(part.n_scored for part in parts),
        n_failed=sum(part.n_failed for part in parts),
        failed=[item for part in parts for item in part.failed][:_FAILED_NAMED],
        sha256=digest.hexdigest(),
    )
