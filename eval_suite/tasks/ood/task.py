"""The ood task: how sure a backbone is of what it knows, and of what it has never seen."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from eval_suite.core.papers import CUTMIX
from eval_suite.core.parts import part
from eval_suite.core.records import Params
from eval_suite.tasks.base import Task
from eval_suite.tasks.ood.options import OodOptions
from eval_suite.tasks.ood.scores import ODIN, fitted_scores, scores_of_features


class OodTask(Task):
    """Out-of-distribution detection: TNR at 95 % TPR, AUROC, detection accuracy, AUPR and over-confidence by outlier set."""

    name = "ood"
    version = 1
    title = "Out-of-distribution detection"
    paper = CUTMIX
    options = OodOptions
    packages = ("pytorch-ood",)
    protocol: ClassVar[Mapping[str, Sequence[Params]]] = {
        "outlier_seed": (),
        "odin_temperature": ({"score": ODIN},),
        "odin_epsilon": ({"score": ODIN},),
        "fit_split": tuple({"score": score} for score in fitted_scores()),
        "fit_limit": tuple({"score": score} for score in fitted_scores()),
        "knn_k": ({"score": "knn"},),
        "react_percentile": ({"score": "react"},),
        "vim_dimension": ({"score": "vim"},),
    }

    without_classes = f"choose scores of features alone with --scores: {', '.join(scores_of_features())}, or take a fitted probe's last layer (--head probe)"

    def needs_classes(self, options: Any) -> bool:
        """Unless every score is of features alone."""
        return not all(part("ood_score", spec).of_features for spec in options.scores)

    def data_sha256(self, options: Any) -> str | None:
        """Not known before: that of several sets together."""
        return None
