"""The epochs of a training run, as they are logged."""

from typing import NamedTuple


class Row(NamedTuple):
    """One line of ``log.jsonl``: one epoch, counted from 1. Errors are fractions on the validation split."""

    epoch: int
    lr: float
    train_loss: float
    top1_error: float
    top5_error: float
    seconds: float


def best_row(rows: list[Row]) -> Row:
    """The epoch of lowest top-1 error; of equal ones the last, as the CutMix authors count (``<=``)."""
    return min(reversed(rows), key=lambda row: row.top1_error)
