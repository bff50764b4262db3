"""The classify task: logits over a labelled set, and what they say."""

from pathlib import Path
from typing import Any

from eval_suite.core.papers import CUTMIX
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.tasks.base import Score, Task
from eval_suite.tasks.classify.options import ClassifyOptions


class ClassifyTask(Task):
    """Top-1/top-5 error, likelihood, calibration and per-class accuracy on a labelled set."""

    name = "classify"
    version = 1
    title = "Classification"
    paper = CUTMIX
    options = ClassifyOptions

    def predict(self, model: Any, options: Any, runtime: RuntimeOptions, folder: Path) -> Path:
        """Write the logits of every readable image to ``predictions.npz``, and a few images to show."""
        from eval_suite.tasks.classify.predict import predict

        return predict(model, options, runtime, folder)

    def score(self, predictions: Path, options: Any, truth: str | None, folder: Path | None) -> Score:
        """Metrics of a predictions file; ``truth`` (KIND:PATH) gives the labels where the file has none."""
        from eval_suite.tasks.classify.score import score

        return score(predictions, options, truth, folder)
