"""Options of the classify task."""

from pathlib import Path

from pydantic import Field, model_validator

from eval_suite.data.class_order import ClassOrder
from eval_suite.tasks.base import TaskOptions


class ClassifyOptions(TaskOptions):
    """Options of the classify task."""

    calibration_split: str | None = None
    """Split whose images choose a temperature that the logits are divided by, and the threshold of conformal sets; calibration is then measured before and after."""
    conformal_alpha: float = Field(default=0.1, gt=0, lt=1)
    """Share of images whose conformal set may miss the label."""

    @model_validator(mode="after")
    def _not_on_what_is_evaluated(self) -> "ClassifyOptions":
        if self.calibration_split is not None and self.calibration_split == self.split:
            raise ValueError(
                f"expected another calibration_split than the evaluated split, found '{self.split}' for both"
            )
        return self


class ScoredLogits(ClassifyOptions):
    """Options of scoring logits, probabilities or classes that other tools predicted."""

    classes: Path | None = None
    """File with the names of the outputs in their order, one a line or JSON; they are matched with the data's classes by name."""
    class_order: ClassOrder | None = None
    """Order of the outputs where they have no names: sorted (by code points) or natural (class_2 before class_10)."""
