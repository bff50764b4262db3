"""What classification measures, from logits (numpy only)."""

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.calibration import Labels
from eval_suite.core.metrics import MetricKind

NLL = MetricKind("nll", "NLL", higher_is_better=False, unit="nats")
MEAN_CLASS_ACCURACY = MetricKind("mean_class_accuracy", "Mean per-class accuracy")
REAL_ERROR = MetricKind("real_top1_error", "Top-1 error (ReaL labels)", higher_is_better=False)
ECE_EQUAL_MASS = MetricKind("ece_equal_mass", "ECE ({bins} equal-mass bins)", higher_is_better=False)
ECE_CLASSWISE = MetricKind("ece_classwise", "Class-wise ECE ({bins} bins)", higher_is_better=False)
BRIER = MetricKind("brier", "Brier score (0 to 2)", higher_is_better=False, unit="points")
AURC = MetricKind("aurc", "AURC", higher_is_better=False)
RISK_AT_COVERAGE = MetricKind(
    "risk_at_coverage",
    lambda coverage: f"Error at {100 * coverage:g} % coverage",
    higher_is_better=False,
)
COVERAGES = (0.8, 0.9, 0.95)
"""The shares of images, the most confident ones, whose error is measured."""
SELECTIVE_RISK = "Selective risk"
"""The curve of that error over all coverages."""
CONFORMAL_COVERAGE = MetricKind(
    "conformal_coverage",
    lambda method, alpha: f"Coverage of {method.upper()} sets at {100 * (1 - alpha):g} %",
)
CONFORMAL_SIZE = MetricKind(
    "conformal_set_size",
    lambda method, alpha: f"Size of {method.upper()} sets at {100 * (1 - alpha):g} %",
    higher_is_better=False,
    unit="classes",
)
SCALED_NLL = MetricKind("nll_scaled", "NLL, temperature-scaled", higher_is_better=False, unit="nats")
SCALED_ECE = MetricKind(
    "ece_scaled", "ECE, temperature-scaled ({bins} equal-width bins)", higher_is_better=False
)
SCALED_BRIER = MetricKind(
    "brier_scaled", "Brier score, temperature-scaled (0 to 2)", higher_is_better=False, unit="points"
)
SCALED = (SCALED_NLL, SCALED_ECE, SCALED_BRIER)
"""What is measured again after the logits are divided by a temperature."""
CLASS_ACCURACY = MetricKind("class_accuracy", "Accuracy")


def per_class_correct(correct: NDArray[np.bool_], labels: Labels, classes: int) -> NDArray[np.int64]:
    """Counts per class: (classes, 2) of correct items and of all items."""
    total = np.bincount(labels, minlength=classes)
    return np.stack([np.bincount(labels[correct], minlength=classes), total], axis=1)
