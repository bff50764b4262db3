"""Options of the classify task."""

from pathlib import Path

from eval_suite.data.class_order import ClassOrder
from eval_suite.tasks.base import TaskOptions


class ClassifyOptions(TaskOptions):
    """Options of the classify task: those every task shares."""


class ScoredLogits(ClassifyOptions):
    """Options of scoring logits, probabilities or classes that other tools predicted."""

    classes: Path | None = None
    """File with the names of the outputs in their order, one a line or JSON; they are matched with the data's classes by name."""
    class_order: ClassOrder | None = None
    """Order of the outputs where they have no names: sorted (by code points) or natural (class_2 before class_10)."""
