"""From predicted and true masks to the mean IoU."""

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.controls import CHANCE, MOST_FREQUENT
from eval_suite.core.errors import InputError
from eval_suite.core.metrics import Bounds, MetricKind, MetricSet, bounds
from eval_suite.core.records import Example
from eval_suite.core.statistics import Interval, bootstrap_normal
from eval_suite.data.masks import MaskIndex, default_mask_split, open_masks, read_mask
from eval_suite.data.objects import counted
from eval_suite.data.pictures import never_failing
from eval_suite.tasks.base import Score
from eval_suite.tasks.segment.examples import write_examples
from eval_suite.tasks.segment.metrics import (
    CLASS_IOU,
    MEAN_CLASS_ACCURACY,
    MIOU,
    PIXEL_ACCURACY,
    Counts,
    confusion,
    counts_of,
    influence,
    mean_ratio,
)
from eval_suite.tasks.segment.options import SegmentOptions
from eval_suite.tasks.segment.predictions import mask_of, read_run

log = logging.getLogger(__name__)

_METHOD = "over all pixels together, normal approximation with the bootstrap's standard error over images"


def score(predictions: Path, options: SegmentOptions, truth: str | None, folder: Path | None) -> Score:
    """Metrics of predicted masks; ``truth`` is voc:PATH, by default the task's data.

    Raises:
        InputError: if there is no ground truth, or a mask does not fit it.
    """
    spec = truth or options.data
    if not spec:
        raise InputError("predicted masks need true ones; give them as --truth voc:PATH")
    split = options.split or default_mask_split(spec, "evaluate")
    everything = open_masks(spec, split, class_file=options.classes)
    wanted = everything.subset(options.limit)
    about = read_run(predictions, everything, wanted)
    there = [i for i, item in enumerate(wanted.ids) if mask_of(predictions, item) is not None]
    if not there:
        raise InputError(
            expected=f"masks named as the images of {spec}, '{everything.split}', such as {Path(wanted.ids[0]).name}.png",
            where=predictions,
            found="none",
        )
    lost = sorted(set(range(len(wanted))) - set(there))
    if lost and len(lost) != len(about.failed):
        log.warning(
            f"{len(lost):,} of {len(wanted):,} images have no predicted mask, first: {wanted.ids[lost[0]]}"
        )
    scored = wanted.select(there)
    assumed: list[tuple[str, str]] = []
    confusions = np.stack([_confusion(scored, i, predictions, assumed) for i in range(len(scored))])
    examples: list[Example] = []
    with never_failing("segment"):
        examples = write_examples(folder, scored, predictions, confusions) if folder else []
    failed = [wanted.ids[i] for i in lost]
    return Score(
        measured(confusions, scored.classes),
        about._replace(failed=failed).info(len(scored)),
        examples=examples,
        ids=scored.ids,
        warnings=list(counted(assumed)),
    )


def measured(confusions: NDArray[np.int64], classes: list[str]) -> MetricSet:
    """The metrics of confusion matrices (n, K, K) of images, over the classes that the true masks have."""
    into, n = MetricSet(), len(confusions)
    if not confusions.any():
        into.missing(MIOU, n, "no pixel of the true masks counts")
        return into
    counts = counts_of(confusions)
    present = counts.true.any(0)
    shown = Counts(*(part[:, present] for part in counts))
    note = f"mean over the {present.sum()} of {len(classes)} classes with pixels"
    _ratio(into, MIOU, shown.both, shown.union, note)
    _ratio(into, PIXEL_ACCURACY, *(part.sum(1, keepdims=True) for part in (counts.both, counts.true)))
    _ratio(into, MEAN_CLASS_ACCURACY, shown.both, shown.true, note)
    for number in np.flatnonzero(counts.union.any(0)):
        value = mean_ratio(counts.both[:, [number]], counts.union[:, [number]])
        reason = Bounds(reason="intervals are given of the mean alone")
        into.add(CLASS_IOU, value, n, subset=classes[number], uncertainty=reason)
    _controls(into, counts.true.sum(0), len(classes))
    return into


def _ratio(
    into: MetricSet, kind: MetricKind, over: NDArray[np.int64], under: NDArray[np.int64], note: str = ""
) -> None:
    def measure(chosen: NDArray[np.intp]) -> float:
        return mean_ratio(over[chosen], under[chosen])

    # A resample of images without any counted pixel has no ratio.
    whole = under.any(1)
    found = (
        bounds(
            bootstrap_normal(measure, len(over), bounds=Interval(0.0, 1.0)),
            "; ".join(filter(None, (note, _METHOD))),
        )
        if whole.all()
        else Bounds(reason=f"{int((~whole).sum())} images have no pixel that counts")
    )
    value = mean_ratio(over, under)
    into.add(kind, value, len(over), uncertainty=found, outcome=influence(over, under))


def _controls(into: MetricSet, true: NDArray[np.int64], classes: int) -> None:
    """What two ways to name classes without looking reach: each class evenly at random, and the most frequent everywhere.

    At random a class's pixels T of all N are hit by T / K and missed by the rest, and N / K are called so.
    """
    present, total = true > 0, true.sum()
    own = true[present]
    even = own / classes / (own + total / classes - own / classes)
    most = own.max() / total
    into.control(MIOU, {CHANCE: float(even.mean()), MOST_FREQUENT: float(most / len(own))})
    into.control(PIXEL_ACCURACY, {CHANCE: 1 / classes, MOST_FREQUENT: float(most)})
    into.control(MEAN_CLASS_ACCURACY, {CHANCE: 1 / classes, MOST_FREQUENT: 1 / len(own)})


def _confusion(
    index: MaskIndex, position: int, predictions: Path, assumed: list[tuple[str, str]]
) -> NDArray[np.int64]:
    """The confusion matrix of an image; what was assumed of its mask is added to ``assumed``."""
    labels = index.labels(position)
    path = mask_of(predictions, index.ids[position])
    assert path is not None  # as only those with one are scored
    predicted, assumption = read_mask(path, len(index.classes), labels.shape[::-1])
    assumed += [(f"predicted {assumption}", path.name)] if assumption else []
    if (predicted >= len(index.classes)).any():
        raise InputError(
            expected=f"class numbers from 0 to {len(index.classes) - 1} for every pixel",
            where=path,
            found=f"{predicted.max()}",
            remedy="a predicted mask may leave no pixel open",
        )
    return confusion(labels, predicted, len(index.classes))
