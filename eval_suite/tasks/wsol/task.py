"""The wsol task: maps of a classifier over images with boxes, after fine-tuning where it is wanted."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from eval_suite.core.papers import CUTMIX
from eval_suite.core.records import Params
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.tasks.base import Fit, Score, Task
from eval_suite.tasks.wsol.metrics import BEST, MAX_BOX_ACC, MAX_BOX_ACC_V2, PX_AP
from eval_suite.tasks.wsol.options import WsolOptions

if TYPE_CHECKING:
    from eval_suite.backbones.backbone import Backbone


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

    def fits(self, options: Any) -> bool:
        """Where a preset or settings of its own are given."""
        return bool(options.fit.wanted)

    def fit(
        self, backbone: "Backbone", options: Any, runtime: RuntimeOptions, seed: int, folder: Path
    ) -> Fit:
        """Fine-tune a copy of the backbone where the options want it; a finished one of the same making is read again."""
        from eval_suite.tasks.wsol.fit import fit

        return fit(backbone, options, runtime, seed, folder)

    def predict(self, model: Any, options: Any, runtime: RuntimeOptions, folder: Path) -> Path:
        """Write the map and the logits of every readable image to ``predictions.npz``, and pictures to show."""
        from eval_suite.tasks.wsol.predict import predict

        return predict(model, options, runtime, folder)

    def score(self, predictions: Path, options: Any, truth: str | None, folder: Path | None) -> Score:
        """Metrics of a predictions file against the boxes of ``truth`` (KIND:PATH), by default of the options' data."""
        from eval_suite.tasks.wsol.score import score

        return score(predictions, options, truth, folder)
