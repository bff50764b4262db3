"""What predictions under corruptions amount to: mean errors, and mCE and relative mCE by published errors."""

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.metrics import OVER_ITEMS, MetricSet
from eval_suite.core.records import Curve, Param
from eval_suite.tasks.robustness.errors import in_none_of
from eval_suite.tasks.robustness.metrics import (
    ALEXNET_CLEAN_ERROR,
    ALEXNET_ERRORS,
    CORRUPTION,
    CORRUPTION_AT,
    MCE,
    MEAN_CORRUPTION,
    PUBLISHED_SETS,
    RELATIVE_MCE,
)
from eval_suite.tasks.robustness.options import COMMON
from eval_suite.tasks.robustness.predictions import Corruptions, Predictions


def add_corruption_errors(
    into: MetricSet,
    predictions: Predictions,
    found: Corruptions,
    labels: NDArray[np.int64],
    clean: NDArray[np.bool_],
) -> None:
    """Add the error under each corruption and severity, their means and, of ImageNet-C in full, mCE and relative mCE.

    Args:
        into: where they go.
        predictions: of all parts.
        found: those under corruptions.
        labels: (n,) of the clean items.
        clean: (n,) whether they are mistaken.
    """
    kind = predictions.settings.get("corrupted")
    published: dict[str, Param] = {"images": PUBLISHED_SETS.get(kind, kind)} if kind else {}
    own = labels if found.labels is None else found.labels
    paired = found.labels is None or found.ids == predictions.ids
    wrong = in_none_of(found.predicted, own[:, None])
    severities: dict[str, Param] = {"severities": _severities(found.severities), **published}
    kinds: Param = len(found.names) if len(found.names) > 1 else found.names[0]
    mean = wrong.mean(axis=(1, 2))
    into.mean_rate(
        MEAN_CORRUPTION,
        mean,
        {"corruptions": kinds, **severities},
        outcome=mean if paired else None,
        before="mean over corruptions and severities",
    )
    if (
        published.get("images") == "ImageNet-C"
        and not into.shared  # AlexNet answered in all classes
        and set(COMMON) <= set(found.names)
        and found.severities == list(range(1, 6))
    ):
        _mce(into, found, wrong, published)
        if paired and found.ids is not None:
            _relative_mce(into, found, wrong, clean, published)
    for column, name in enumerate(found.names):
        per_item = wrong[:, column].mean(axis=1)
        into.mean_rate(
            CORRUPTION, per_item, severities, outcome=None, before="mean over severities", subset=name
        )
    for column, name in enumerate(found.names):
        for row, severity in enumerate(found.severities):
            into.share(CORRUPTION_AT, wrong[:, column, row], published, subset=f"{name}, severity {severity}")
    into.curves.append(
        Curve(
            name="Mean corruption error",
            x=[0.0, *map(float, found.severities)],
            y=[float(clean.mean()), *(float(y) for y in wrong.mean(axis=1).mean(axis=0))],
            x_label="severity (0: clean)",
            y_label="top-1 error",
        )
    )


def _mce(into: MetricSet, found: Corruptions, wrong: NDArray[np.bool_], params: dict[str, Param]) -> None:
    """Mean over the fifteen corruptions of the error divided by AlexNet's, as ImageNet-C's authors report it.

    Reference: Hendrycks and Dietterich, ICLR 2019, sec. 4.1.
    """
    columns = [found.names.index(name) for name in COMMON]
    divided = wrong[:, columns].mean(axis=2) / np.array([ALEXNET_ERRORS[name] for name in COMMON])
    into.mean(
        MCE,
        divided.mean(axis=1),
        {"baseline": "AlexNet", **params},
        method=f"{OVER_ITEMS}; AlexNet's errors as published",
    )


def _relative_mce(
    into: MetricSet,
    found: Corruptions,
    wrong: NDArray[np.bool_],
    clean: NDArray[np.bool_],
    params: dict[str, Param],
) -> None:
    """Mean over the fifteen corruptions of how much the error grows, divided by how much AlexNet's does.

    Reference: Hendrycks and Dietterich, ICLR 2019, sec. 4.1.
    """
    columns = [found.names.index(name) for name in COMMON]
    grown = wrong[:, columns].mean(axis=2) - clean[:, None]
    alexnet = np.array([ALEXNET_ERRORS[name] for name in COMMON]) - ALEXNET_CLEAN_ERROR
    into.mean(
        RELATIVE_MCE,
        (grown / alexnet).mean(axis=1),
        {"baseline": "AlexNet", **params},
        method=f"{OVER_ITEMS}; AlexNet's errors as published",
    )


def _severities(values: list[int]) -> str:
    if len(values) > 1 and values == list(range(values[0], values[-1] + 1)):
        return f"{values[0]}-{values[-1]}"
    return ", ".join(map(str, values))
