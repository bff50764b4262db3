"""From a predictions file and the truth to the record's metrics of classification."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.calibration import item_measures
from eval_suite.core.errors import InputError
from eval_suite.core.metrics import Bounds, MetricSet
from eval_suite.core.predictions import About
from eval_suite.core.records import Example, Params
from eval_suite.core.statistics import wilson_interval
from eval_suite.data.class_order import read_class_names
from eval_suite.data.imagenet_names import real_labels, synsets
from eval_suite.data.pictures import never_failing
from eval_suite.data.truth import true_labels
from eval_suite.tasks.base import Score, TaskOptions
from eval_suite.tasks.classify.examples import examples
from eval_suite.tasks.classify.measures import (
    conformal,
    infinite,
    metrics_of,
    reliability_curve,
    risk_curve,
    scaled,
    without_logits,
)
from eval_suite.tasks.classify.metrics import REAL_ERROR
from eval_suite.tasks.classify.options import ClassifyOptions, ScoredLogits
from eval_suite.tasks.classify.predictions import Predictions, are_probabilities, read_predictions
from eval_suite.tasks.order_doubts import order_doubts

_IMAGENET_CLASSES = 1000
# The logarithm that stands for that of probability 0.
_OF_ZERO = np.float32(np.log(np.finfo(np.float32).tiny))
_ALPHA: float = ClassifyOptions.model_fields["conformal_alpha"].default


def score(predictions: Path, options: TaskOptions | None, truth: str | None, folder: Path | None) -> Score:
    """Metrics of a predictions file; ``truth`` (KIND:PATH) gives the labels where the file has none.

    Where only some outputs stand for classes of the data, every metric is computed among those and among all.

    Raises:
        InputError: if there are no labels, or they do not fit the predictions.
    """
    read = read_predictions(predictions)
    known = _truth(read, predictions, truth, options)
    labels, classes, warnings = known.labels, known.classes, [*known.assumptions]
    alpha = options.conformal_alpha if isinstance(options, ClassifyOptions) else _ALPHA
    impossible = 0
    if read.logits is not None:
        zeros = np.isneginf(read.logits[np.arange(len(labels)), labels])
        impossible = int(zeros.sum())
        # Finite, so that among outputs which are all 0 each is equally probable.
        read = read._replace(logits=np.where(np.isneginf(read.logits), _OF_ZERO, read.logits))
    among = read.chosen
    if read.logits is None:
        metrics = without_logits(among, labels, classes)
    elif known.subset is None:
        metrics = metrics_of(read.logits, labels, classes, impossible=impossible)
        scaled(metrics, read.logits, labels, read, impossible)
        conformal(metrics, read.logits, labels, read, alpha)
    else:
        place = np.full(len(classes), -1)
        place[known.subset] = np.arange(len(known.subset))
        own = read.logits[:, known.subset]
        metrics = metrics_of(
            own,
            place[labels],
            [classes[i] for i in known.subset],
            {"outputs": own.shape[1]},
            impossible=impossible,
        )
        scaled(metrics, own, place[labels], read, impossible)
        conformal(metrics, own, place[labels], read, alpha)
        among_all: Params = {"outputs": len(classes)}
        metrics.extend(metrics_of(read.logits, labels, classes, among_all, impossible=impossible))
        among = known.subset[own.argmax(axis=1)]
    _real_error(metrics, known.ids, read.chosen, classes)
    shown: list[Example] = []
    if read.logits is not None:
        confidence, correct, *_ = item_measures(read.logits, labels)
        metrics.curves += [reliability_curve(confidence, correct), risk_curve(confidence, correct)]
        with never_failing("classify"):
            shown = examples(folder, known.ids, labels, read.chosen, confidence, classes) if folder else []
        if are_probabilities(read.logits):
            warnings.append(
                "the logits are numbers in [0, 1] with sum 1, as probabilities are; NLL and ECE are then wrong"
            )
    if impossible:
        first = f", first '{known.ids[int(zeros.argmax())]}'" if known.ids else ""
        warnings.append(f"{infinite(impossible, len(labels))}{first}")
    return Score(
        metrics,
        known.about.info(len(labels)),
        examples=shown,
        ids=known.ids,
        warnings=[*order_doubts(among, labels, classes), *warnings],
    )


def _real_error(metrics: MetricSet, ids: list[str], chosen: NDArray[np.int64], classes: list[str]) -> None:
    """The error by ReaL's labels, where the items are images of ImageNet's validation set."""
    numbers = [int(number[1]) for item in ids if (number := re.search(r"ILSVRC2012_val_(\d{8})", item))]
    if not ids or len(numbers) != len(ids) or tuple(classes) != synsets(_IMAGENET_CLASSES):
        return
    accepted = [real_labels()[number - 1] for number in numbers]
    wrong = np.array([output not in those for output, those in zip(chosen, accepted, strict=True) if those])
    if len(wrong):
        interval = wilson_interval(int(wrong.sum()), len(wrong))
        metrics.add(REAL_ERROR, float(wrong.mean()), len(wrong), uncertainty=Bounds(interval, "Wilson score"))


class _Truth(NamedTuple):
    """Labels (n,) as outputs, ids, names of all outputs, those (k,) that the data has where it lacks some, and the rest."""

    labels: NDArray[np.int64]
    ids: list[str]
    classes: list[str]
    subset: NDArray[np.int64] | None
    about: About
    assumptions: list[str]


def _truth(read: Predictions, path: Path, truth: str | None, options: TaskOptions | None) -> _Truth:
    named = options if isinstance(options, ScoredLogits) else None
    names, order = read.classes, named.class_order if named else None
    if named and named.classes is not None:
        names = read_class_names(named.classes.expanduser())
        read = read._replace(classes=names)
    elif order is not None and names:
        raise InputError(
            expected=f"no class order for {path}, which names its outputs",
            found=f"'{order}'",
            remedy="leave it out",
        )
    outputs = len(read.classes) if read.logits is None else read.logits.shape[1]
    if read.logits is not None and read.classes and len(read.classes) != outputs:
        raise InputError(
            expected=f"{outputs} names in 'classes', one for each column of the logits",
            where=path,
            found=str(len(read.classes)),
        )
    if truth is not None:
        given = true_labels(
            truth,
            options.split if options else None,
            ids=read.ids,
            items=len(read.chosen),
            about=read.about,
            path=path,
            labels=read.labels,
            outputs=outputs,
            names=names,
            order=order,
            natural="--class-order natural",
        )
        match = given.match
        known = _Truth(given.labels, given.ids, match.names, match.subset, given.about, given.assumptions)
    elif read.labels is not None:
        outputs = outputs or int(max(read.labels.max(), read.chosen.max(), 0)) + 1
        names = read.classes or [str(output) for output in range(outputs)]
        known = _Truth(read.labels, read.ids, names, read.subset, read.about, [])
    else:
        raise InputError(f"{path} holds no labels; give the ground truth as --truth KIND:PATH")
    for name, values in (("labels", known.labels), ("predicted", read.chosen)):
        if values.min() < 0 or values.max() >= len(known.classes):
            raise InputError(
                expected=f"numbers in 0..{len(known.classes) - 1} as '{name}'",
                where=path,
                found=f"{values.min()}..{values.max()}",
            )
    if known.subset is not None and not np.isin(known.labels, known.subset).all():
        raise InputError(expected="labels among the outputs in 'subset'", where=path, found="others too")
    return known
