"""The classify task: logits over a labelled set, and what they say."""

from eval_suite.core.papers import CUTMIX
from eval_suite.tasks.base import Task
from eval_suite.tasks.classify.options import ClassifyOptions, ScoredLogits


class ClassifyTask(Task):
    """Top-1/top-5 error, likelihood, calibration and per-class accuracy on a labelled set."""

    name = "classify"
    version = 1
    title = "Classification"
    paper = CUTMIX
    options = ClassifyOptions
    score_options = ScoredLogits
    score_fields = ("classes", "class_order")
