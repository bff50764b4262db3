"""What a map that has not seen the image reaches: a Gaussian around the centre, on the same boxes."""

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.metrics import MetricSet
from eval_suite.tasks.wsol.box_accuracy import BoxFits, best_iou, empty_fits, level_iou
from eval_suite.tasks.wsol.box_metrics import Classified, box_metrics
from eval_suite.tasks.wsol.components import both_boxes, to_8bit

CENTRE = "centre Gaussian"
_WIDTH = 0.3  # of a side: its levels then run from the whole image to its middle


def centre_map(size: tuple[int, int]) -> NDArray[np.float64]:
    """A Gaussian around the centre of (H, W), as wide as the image is in either direction, from 0 to 1."""
    rows, columns = (((np.arange(side) + 0.5) / side - 0.5) / _WIDTH for side in size)
    values = np.exp(-(rows[:, None] ** 2 + columns[None, :] ** 2) / 2)
    return np.asarray((values - values.min()) / (values.max() - values.min()))


def centre_metrics(
    boxes: list[NDArray[np.int64]],
    size: tuple[int, int],
    *,
    sigma: float,
    thresholds: NDArray[np.float64],
    ious: tuple[float, ...],
) -> MetricSet:
    """Every metric of boxes that takes the class for known, of the same Gaussian for each image.

    Args:
        boxes: of each item (m, 4), in the network's input.
        size: (H, W) of that input.
        sigma: the fixed threshold.
        thresholds: (t,) those the best is chosen from.
        ious: those MaxBoxAccV2 averages over.

    Reference: Choe et al., CVPR 2020, sec. 4, whose centre-Gaussian baseline it is.
    """
    fits: BoxFits = empty_fits(len(boxes), len(ious))
    map8 = to_8bit(centre_map(size))
    largest, every = both_boxes(map8)
    for i, of_item in enumerate(boxes):
        fits.largest[i] = best_iou(largest, of_item) >= 0.5
        fits.every[i] = level_iou(every, of_item)[:, None] >= np.array(ious)
        fits.peaks[i] = map8.max()
    no_class = Classified(None, None, "no class is predicted", "no class is predicted")
    return box_metrics(fits, no_class, sigma=sigma, thresholds=thresholds, ious=ious)
