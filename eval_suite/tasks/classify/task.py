"""The classify task: logits over a labelled set, and what they say."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from eval_suite.core.errors import InputError
from eval_suite.core.papers import CUTMIX
from eval_suite.core.records import Params
from eval_suite.data.images import ImageIndex, open_images
from eval_suite.tasks.base import Task
from eval_suite.tasks.classify.metrics import CONFORMAL_COVERAGE, CONFORMAL_SIZE, SCALED
from eval_suite.tasks.classify.options import ClassifyOptions, ScoredLogits


class ClassifyTask(Task):
    """Top-1/top-5 error, likelihood, calibration and per-class accuracy on a labelled set."""

    name = "classify"
    version = 1
    title = "Classification"
    paper = CUTMIX
    options = ClassifyOptions
    score_options = ScoredLogits
    predicts_together = True
    compiles = True
    protocol: ClassVar[Mapping[str, Sequence[Params]]] = {
        "calibration_split": tuple(
            {"key": kind.key} for kind in (*SCALED, CONFORMAL_COVERAGE, CONFORMAL_SIZE)
        ),
    }
    score_fields = ("classes", "class_order", "conformal_alpha")
    scored_files = (".npz", ".npy")

    def sets_read(self, options: Any) -> dict[str, str]:
        """Also that of the images that choose the temperature."""
        read, both = super().sets_read(options), self.learnt_and_evaluated(options)
        return read if both is None else {**read, "calibration_split": both[0].sha256()}

    def learnt_and_evaluated(self, options: Any) -> tuple[ImageIndex, ImageIndex] | None:
        """The images that choose the temperature and those to evaluate on, where there is one to choose."""
        if options.calibration_split is None:
            return None
        chosen_on = open_images(options.data, options.calibration_split)
        evaluated = open_images(options.data, options.split)
        if chosen_on.split == evaluated.split:
            raise InputError(
                expected="another calibration_split than the evaluated split",
                where=options.data,
                found=f"'{evaluated.split}' for both",
            )
        return chosen_on, evaluated
