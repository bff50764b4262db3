"""The confidence functions of out-of-distribution detection, one file a family; larger is more in-distribution."""

from eval_suite.tasks.ood.confidences.base import (
    FitOptions,
    OodScore,
    TrainingFeatures,
    make_confidences,
    needs_features,
)

__all__ = ["FitOptions", "OodScore", "TrainingFeatures", "make_confidences", "needs_features"]
