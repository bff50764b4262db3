"""ODIN, as a name among the confidences; `eval_suite.tasks.ood.odin` computes it from the images."""

from typing import Any, ClassVar

from eval_suite.core.records import Paper
from eval_suite.tasks.ood.confidences.base import OodScore


class Odin(OodScore):
    """Max softmax at a temperature, of images moved a step towards it."""

    name: ClassVar[str] = "odin"
    title: ClassVar[str] = "ODIN"
    paper: ClassVar[Paper] = Paper(
        "Enhancing The Reliability of Out-of-distribution Image Detection in Neural Networks",
        "ICLR",
        2018,
        "https://arxiv.org/abs/1706.02690",
        "https://github.com/ShiyuLiang/odin-pytorch",
    )
    of_images: ClassVar[bool] = True
    candidates: ClassVar[dict[str, tuple[Any, ...]]] = {
        "odin_temperature": (1.0, 10.0, 100.0, 1000.0),
        "odin_epsilon": (0.0, 0.0005, 0.001, 0.0014, 0.002, 0.004),
    }
