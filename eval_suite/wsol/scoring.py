"""From maps, logits and boxes to the metrics of localisation."""

from typing import NamedTuple

import numpy as np

from eval_suite.core.records import Metric
from eval_suite.core.statistics import wilson_interval
from eval_suite.core.task import Score
from eval_suite.data.boxes import LocalisationIndex
from eval_suite.wsol.components import largest_boxes, level_of, to_8bit
from eval_suite.wsol.geometry import boxes_through, score_map
from eval_suite.wsol.metrics import largest_iou
from eval_suite.wsol.predictions import Predictions


class ScoreOptions(NamedTuple):
    """``sigma``: the fixed threshold; ``interval``: step of the thresholds tried; ``iou``: those MaxBoxAccV2 averages over."""

    sigma: float = 0.15
    interval: float = 0.001
    iou: tuple[float, ...] = (0.3, 0.5, 0.7)


def score_predictions(found: Predictions, truth: LocalisationIndex, options: ScoreOptions) -> Score:
    """Metrics, curves and per-item outcomes of a predictions file."""
    place = {name: i for i, name in enumerate(truth.images.ids)}
    right = np.zeros(len(found.ids), np.bool_)
    for i, name in enumerate(found.ids):
        at = place[name]
        boxes = boxes_through(truth.boxes[at], tuple(truth.sizes[at]), found.transform)
        map8 = to_8bit(score_map(found.maps[i], found.transform.size))
        fits = largest_iou(largest_boxes(map8), boxes)
        right[i] = fits[level_of(np.array([options.sigma]), map8)[0]] >= 0.5
    n = len(right)
    metric = Metric(
        name=f"GT-known Loc (σ={options.sigma:g})",
        value=float(right.mean()),
        higher_is_better=True,
        n=n,
        interval=wilson_interval(int(right.sum()), n),
        method="Wilson score",
    )
    return Score([metric], found.about.info(n), ids=found.ids, outcomes={metric.name: right.astype(float)})
