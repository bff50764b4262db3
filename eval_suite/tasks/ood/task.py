"""The ood task: how sure a backbone is of what it knows, and of what it has never seen."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from eval_suite.core.papers import CUTMIX
from eval_suite.core.parts import part
from eval_suite.core.records import Params
from eval_suite.data.images import open_images
from eval_suite.data.outliers import open_outliers, parse_all_outliers
from eval_suite.tasks.base import Task
from eval_suite.tasks.ood.options import OodOptions
from eval_suite.tasks.ood.scores import ODIN, chosen_scores, fitted_scores, scores_of_features


class OodTask(Task):
    """Out-of-distribution detection: TNR at 95 % TPR, AUROC, detection accuracy, AUPR and over-confidence by outlier set."""

    name = "ood"
    version = 1
    title = "Out-of-distribution detection"
    paper = CUTMIX
    options = OodOptions
    packages = ("pytorch-ood",)
    predicts_together = True
    protocol: ClassVar[Mapping[str, Sequence[Params]]] = {
        "outlier_seed": (),
        "validation_outliers": tuple({"score": score.replace("-", "_")} for score in chosen_scores()),
        "validation_split": tuple({"score": score.replace("-", "_")} for score in chosen_scores()),
        "odin_temperature": ({"score": ODIN},),
        "odin_epsilon": ({"score": ODIN},),
        "fit_split": tuple({"score": score} for score in fitted_scores()),
        "fit_limit": tuple({"score": score} for score in fitted_scores()),
        "knn_k": ({"score": "knn"},),
        "react_percentile": ({"score": "react"},),
        "vim_dimension": ({"score": "vim"},),
        "ash_percentile": tuple({"score": score} for score in ("ash_p", "ash_b", "ash_s")),
        "scale_percentile": ({"score": "scale"},),
        "dice_sparsity": ({"score": "dice"},),
        "nnguide_k": ({"score": "nnguide"},),
        "vra_percentiles": ({"score": "vra"},),
    }

    without_classes = f"choose scores of features alone with --scores: {', '.join(scores_of_features())}, or take a fitted probe's last layer (--head probe)"

    def needs_classes(self, options: Any) -> bool:
        """Unless every score is of features alone."""
        return not all(part("ood_score", spec).of_features for spec in options.scores)

    def sets_read(self, options: Any) -> dict[str, str]:
        """Also those of the sets to tell apart and to choose on, and of the images that scores are fitted to."""
        read = super().sets_read(options)
        for option in ("outliers", "shifted", "validation_outliers"):
            for source in parse_all_outliers(getattr(options, option)):
                if source.path is not None:
                    read[f"{option}.{source.name}"] = open_outliers(source).images.sha256()
        if options.validation_split is not None:
            read["validation_split"] = open_images(options.data, options.validation_split).sha256()
        if any(part("ood_score", spec).fitted for spec in options.scores):
            read["fit_split"] = open_images(options.data, options.fit_split).sha256()
        return read
