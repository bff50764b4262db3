"""The probe task: how well frozen features tell classes apart, with no more than a vote or a linear layer on top."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from eval_suite.core.errors import InputError
from eval_suite.core.records import Paper, Params
from eval_suite.data.images import ImageIndex, open_images
from eval_suite.tasks.base import Task
from eval_suite.tasks.probe.options import ProbeOptions

DINO = Paper(
    title="Emerging Properties in Self-Supervised Vision Transformers",
    venue="ICCV",
    year=2021,
    url="https://arxiv.org/abs/2104.14294",
    code="https://github.com/facebookresearch/dino",
)


class ProbeTask(Task):
    """Top-1/top-5 error of k nearest neighbours and of logistic regression on features that are not trained further."""

    name = "probe"
    version = 1
    title = "Probes of frozen features"
    paper = DINO
    options = ProbeOptions
    packages = ("scikit-learn",)
    protocol: ClassVar[Mapping[str, Sequence[Params]]] = {
        "train_split": (),
        "knn_temperature": ({"probe": "knn"},),
        "linear_c": ({"probe": "linear"},),
        "validation_fraction": ({"probe": "linear"},),
        "max_iterations": ({"probe": "linear"},),
    }

    def needs_classes(self, options: Any) -> bool:
        """Never: the probes bring them."""
        return False

    def fits(self, options: Any) -> bool:
        """Always."""
        return True

    def resolved(self, options: Any) -> Any:
        """The options with the name of the evaluated split.

        Raises:
            InputError: if it is the one to learn from.
        """
        evaluated = open_images(options.data, options.split).split
        learnt = open_images(options.data, options.train_split).split
        if evaluated == learnt:
            raise InputError(
                expected="another split to learn from than the evaluated one",
                where=options.data,
                found=f"'{evaluated}' for both",
                remedy="name them with --split and --train-split",
            )
        return options.model_copy(update={"split": evaluated, "train_split": learnt})

    def sets_read(self, options: Any) -> dict[str, str]:
        """Those of both splits."""
        learnt, evaluated = self.learnt_and_evaluated(options)
        return {"data": evaluated.sha256(), "train_split": learnt.sha256()}

    def learnt_and_evaluated(self, options: Any) -> tuple[ImageIndex, ImageIndex]:
        """The images of both splits."""
        return open_images(options.data, options.train_split), open_images(options.data, options.split)
