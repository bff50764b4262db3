"""PxAP: pixel average precision of score maps against masks, from histograms of one pass over the maps."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError
from eval_suite.core.files import require_regular
from eval_suite.data.layouts.base import MaskFiles
from eval_suite.tasks.wsol.geometry import Transform, mask_through

IGNORED = 255
_LARGEST_MASK = 50_000_000


class PrecisionRecall(NamedTuple):
    """Precision and recall (bins,) of pixels at or above each threshold, from the highest threshold down."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


def read_mask(files: MaskFiles, transform: Transform) -> NDArray[np.uint8]:
    """The mask of an item as it lies in the network's input.

    Args:
        files: masks of its instances, white where the object is, and of the region to ignore.
        transform: how the image became the input.

    Returns:
        (H, W): 1 inside any instance, 255 where it is ignored and in no instance, else 0.

    Raises:
        InputError: if a file is missing, no image, or too large to be a mask.

    Reference: Choe et al., TPAMI 2022 (their code's OpenImages evaluator).
    """
    inside = np.zeros(transform.size, np.bool_)
    for path in files.instances:
        inside |= mask_through(_read_grey(path), transform) > 0
    mask = inside.astype(np.uint8)
    if files.ignore is not None:
        mask[(mask_through(_read_grey(files.ignore), transform) > 0) & ~inside] = IGNORED
    return mask


def histogram_edges(thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lower edges of the score bins: the thresholds, then [1, 2) for a map's maximum, then an empty one."""
    return np.append(thresholds, [1.0, 2.0])


def pixel_histograms(
    score: NDArray[np.float64], mask: NDArray[np.uint8], edges: NDArray[np.float64]
) -> NDArray[np.int64]:
    """How many pixels of the background and of the object fall in each score bin.

    Args:
        score: (H, W) in [0, 1].
        mask: (H, W) of 0, 1 and 255, the last not counted.
        edges: (bins,) lower edges, the first 0.

    Returns:
        (2, bins).
    """
    bins = np.searchsorted(edges, score.ravel(), side="right") - 1
    flat = mask.ravel()
    return np.stack([np.bincount(bins[flat == value], minlength=len(edges)) for value in (0, 1)])


def precision_recall(histograms: NDArray[np.integer]) -> PrecisionRecall:
    """Precision and recall from summed histograms (2, bins); precision is 0 where nothing is found."""
    false, true = histograms[:, ::-1].cumsum(axis=1)
    return PrecisionRecall(true / np.maximum(true + false, 1), true / max(int(true[-1]), 1))


def pixel_average_precision(histograms: NDArray[np.integer]) -> float:
    """PxAP: the sum of precision times gain in recall over falling thresholds, from summed histograms (2, bins).

    Reference: Choe et al., TPAMI 2022.
    """
    found = precision_recall(histograms)
    return float((found.precision[1:] * np.diff(found.recall)).sum())


def _read_grey(path: Path) -> NDArray[np.uint8]:
    from PIL import Image

    from eval_suite.data.decoding import FORMATS, why_unreadable

    try:
        with Image.open(require_regular(path), formats=FORMATS) as image:
            if image.width * image.height > _LARGEST_MASK:
                raise ValueError(f"{image.width} x {image.height} pixels")
            return np.asarray(image.convert("L"))
    except Exception as error:  # noqa: BLE001 - a broken file can make a decoder raise almost anything
        raise InputError(f"expected a mask at {path}, found: {why_unreadable(error)}") from None
