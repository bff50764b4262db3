"""The wsol task: maps of a classifier over images with boxes, after fine-tuning where it is wanted."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from eval_suite.core.papers import CUTMIX
from eval_suite.core.records import Params
from eval_suite.data.boxes import open_localisation
from eval_suite.data.images import ImageIndex, open_images
from eval_suite.tasks.base import Task
from eval_suite.tasks.wsol.metrics import BEST, MAX_BOX_ACC, MAX_BOX_ACC_V2, PX_AP
from eval_suite.tasks.wsol.options import WsolOptions


class WsolTask(Task):
    """Weakly supervised localisation: Top-1 Loc, GT-known Loc and MaxBoxAccV2 of boxes drawn from class activation maps."""

    name = "wsol"
    version = 1
    fits_together = True
    title = "Localisation"
    paper = CUTMIX
    options = WsolOptions
    packages = ("opencv-python-headless", "numba", "grad-cam")
    protocol: ClassVar[Mapping[str, Sequence[Params]]] = {
        "transform": (),
        "map_class": (),
        "threshold_step": (
            {"sigma": BEST},
            *({"key": kind.key} for kind in (MAX_BOX_ACC, MAX_BOX_ACC_V2, PX_AP)),
        ),
    }

    def learnt_and_evaluated(self, options: Any) -> tuple[ImageIndex, ImageIndex] | None:
        """The training split and the one to evaluate on, where there is a fit."""
        if not self.fits(options):
            return None
        return open_images(options.data, purpose="train"), open_images(options.data, options.split)

    def sets_read(self, options: Any) -> dict[str, str]:
        """That of the images with their boxes or masks, and of the images that a fit learns from."""
        read = {"data": open_localisation(options.data, options.split, warn=lambda _line: None).sha256()}
        both = self.learnt_and_evaluated(options)
        return read if both is None else {**read, "fit": both[0].sha256()}

    without_classes = "let a fit give it a last layer (--fit.preset), or take a fitted probe's (--head probe)"

    def needs_classes(self, options: Any) -> bool:
        """Unless a fit gives the network a last layer."""
        return not self.fits(options)

    def fits(self, options: Any) -> bool:
        """Where a preset or settings of its own are given."""
        return bool(options.fit.wanted)
