"""The epochs of a training run, as they are logged."""

from typing import NamedTuple


class Row(NamedTuple):
    """One line of ``log.jsonl``: one epoch, counted from 1. Errors are fractions on the validation split, None in an epoch
    that was not judged.

    ``lr`` is the rate at the epoch's beginning. What the training cost: ``step_seconds``, the mean time of a step with reading
    its images; ``passes``, images that went forward through the network for each image of the data, in steps and in
    what regularizers look at before; ``memory``, the most bytes so far: of tensors on the GPU, on a CPU of the process.
    None where it was not measured.
    """

    epoch: int
    lr: float
    train_loss: float
    top1_error: float | None
    top5_error: float | None
    seconds: float
    step_seconds: float | None = None
    passes: float | None = None
    memory: int | None = None


def best_row(rows: list[Row]) -> Row:
    """The judged epoch of lowest top-1 error; of equal ones the last, as the CutMix authors count (``<=``)."""
    return min(reversed(rows), key=lambda row: float("inf") if row.top1_error is None else row.top1_error)
