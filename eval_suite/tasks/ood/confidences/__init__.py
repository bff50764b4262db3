"""The confidence functions of out-of-distribution detection, one file a family; larger is more in-distribution."""

from eval_suite.tasks.ood.confidences.base import FitOptions, OodScore, TrainingFeatures, make_confidences

__all__ = ["FitOptions", "OodScore", "TrainingFeatures", "make_confidences"]
