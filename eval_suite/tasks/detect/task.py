"""The detect task: detectors fine-tuned from a backbone, run over test images, and scored as VOC does."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar

from eval_suite.core.errors import EvalSuiteError
from eval_suite.core.papers import CUTMIX
from eval_suite.core.records import Params
from eval_suite.core.runtime import has_gpu
from eval_suite.data.detection import default_split
from eval_suite.data.images import ImageIndex
from eval_suite.tasks.base import Task
from eval_suite.tasks.detect.options import DetectOptions

_SSDS = ({"detector": "ssd"}, {"detector": "ssd-fpn"})
_FASTER_RCNNS = ({"detector": "faster-rcnn-c4"}, {"detector": "faster-rcnn-fpn"})


class DetectTask(Task):
    """mAP of SSD and Faster R-CNN fine-tuned from the backbone on Pascal VOC, COCO or own data in either format."""

    name = "detect"
    version = 2
    fits_together = True
    title = "Detection"
    paper = CUTMIX
    options = DetectOptions
    scored_files = (".json",)
    annotated = "boxes"
    score_fields = ("ious", "classes")
    packages = ("onedl-mmdetection", "onedl-mmcv", "onedl-mmengine", "pycocotools")
    protocol: ClassVar[Mapping[str, Sequence[Params]]] = {
        "ssd.input_size": _SSDS,
        "faster_rcnn.short_side": _FASTER_RCNNS,
        "faster_rcnn.long_side": _FASTER_RCNNS,
    }

    @classmethod
    def preload(cls) -> None:
        """The steps and, where there is no GPU, for which it would look, MMDetection."""
        super().preload()
        if not has_gpu():
            from eval_suite.tasks.detect.openmmlab import load_openmmlab

            with suppress(EvalSuiteError):
                load_openmmlab()

    def resolved(self, options: Any) -> Any:
        """The options with the names of all splits."""
        split = options.split or default_split(options.data, "evaluate")
        train_split = options.train_split or default_split(options.data, "train", split)
        return options.model_copy(update={"split": split, "train_split": train_split})

    def learnt_and_evaluated(self, options: Any) -> tuple[ImageIndex, ImageIndex]:
        """The images of both splits."""
        return (
            options.objects(options.train_split, purpose="train").images(),
            options.objects(options.split).images(),
        )

    def sets_read(self, options: Any) -> dict[str, str]:
        """Those of the images with their objects, of both splits."""
        learnt = options.objects(options.train_split, purpose="train")
        return {"data": options.objects(options.split).sha256(), "train_split": learnt.sha256()}

    def fits(self, options: Any) -> bool:
        """Always."""
        return True
