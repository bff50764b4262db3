"""The segment task: a linear layer on the frozen feature map, scored pixel by pixel."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from eval_suite.core.errors import InputError
from eval_suite.core.records import Paper, Params
from eval_suite.data.images import ImageIndex
from eval_suite.data.masks import default_mask_split
from eval_suite.tasks.base import Task
from eval_suite.tasks.segment.options import SegmentOptions

DINOV2 = Paper(
    title="DINOv2: Learning Robust Visual Features without Supervision",
    venue="TMLR",
    year=2024,
    url="https://arxiv.org/abs/2304.07193",
    code="https://github.com/facebookresearch/dinov2",
)


class SegmentTask(Task):
    """Mean IoU of a linear layer that gives each place of the frozen feature map a class, on Pascal VOC or own data in its format."""

    name = "segment"
    version = 1
    title = "Segmentation by a linear probe"
    paper = DINOV2
    options = SegmentOptions
    scored_files = ()
    annotated = "masks"
    score_fields = ("classes",)
    packages = ("opencv-python-headless",)
    protocol: ClassVar[Mapping[str, Sequence[Params]]] = {"short_side": (), "crop_size": ()}

    def resolved(self, options: Any) -> Any:
        """The options with the full names of both splits.

        Raises:
            InputError: if one is not there, or they are the same.
        """
        split = options.masks(options.split or default_mask_split(options.data, "evaluate")).split
        train = options.masks(options.train_split or default_mask_split(options.data, "train")).split
        if split == train:
            raise InputError(
                expected="another split to learn from than the evaluated one",
                where=options.data,
                found=f"'{split}' for both",
                remedy="name them with --split and --train-split",
            )
        return options.model_copy(update={"split": split, "train_split": train})

    def learnt_and_evaluated(self, options: Any) -> tuple[ImageIndex, ImageIndex]:
        """The images of both splits."""
        return options.masks(options.train_split).images(), options.masks(options.split).images()

    def sets_read(self, options: Any) -> dict[str, str]:
        """Those of both splits' images with their masks."""
        return {
            "data": options.masks(options.split).sha256(),
            "train_split": options.masks(options.train_split).sha256(),
        }

    def fits(self, options: Any) -> bool:
        """Always."""
        return True
