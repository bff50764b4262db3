"""The evaluation paper's box scoring written out plainly: one `findContours` for every threshold."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Box = tuple[int, int, int, int]


class AtThreshold(NamedTuple):
    """The boxes of both rules at one threshold."""

    largest: Box
    every: list[Box]


def boxes_above(map8: NDArray[np.uint8], level: int) -> AtThreshold:
    """Boxes of the outlines of what is above a level of an 8-bit map."""
    _, binary = cv2.threshold(map8, level, 255, cv2.THRESH_BINARY)
    outlines = list(cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0])
    if not outlines:
        return AtThreshold((0, 0, 0, 0), [(0, 0, 0, 0)])
    height, width = map8.shape

    def box(outline: NDArray[np.int32]) -> Box:
        x, y, w, h = cv2.boundingRect(outline)
        return x, y, min(x + w, width - 1), min(y + h, height - 1)

    return AtThreshold(box(max(outlines, key=cv2.contourArea)), [box(outline) for outline in outlines])


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of boxes that hold the pixels of both corners."""
    wide = min(a[2], b[2]) - max(a[0], b[0]) + 1
    high = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if wide <= 0 or high <= 0:
        return 0.0

    def area(box: Box) -> int:
        return (box[2] - box[0] + 1) * (box[3] - box[1] + 1)

    return wide * high / (area(a) + area(b) - wide * high)


class Correct(NamedTuple):
    """For every threshold: largest region at IoU 0.5, and any region at each IoU."""

    largest: list[bool]
    every: list[list[bool]]


def box_correctness(
    score: NDArray[np.float64], truth: list[Box], interval: float, ious: tuple[float, ...] = (0.3, 0.5, 0.7)
) -> Correct:
    """Box correctness of a score map (H, W) in [0, 1] at the thresholds 0, interval, ... below 1."""
    map8 = (score * 255).astype(np.uint8)
    largest, every = [], []
    for threshold in np.arange(0, 1, interval):
        found = boxes_above(map8, int(threshold * np.max(map8)))
        largest.append(max(overlap(found.largest, box) for box in truth) >= 0.5)
        best = max(overlap(one, box) for one in found.every for box in truth)
        every.append([best >= iou for iou in ious])
    return Correct(largest, every)
