"""Options of the classify task."""

from eval_suite.tasks.base import TaskOptions


class ClassifyOptions(TaskOptions):
    """Options of the classify task: those every task shares."""
