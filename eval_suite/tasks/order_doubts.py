"""What speaks against the order of the outputs: errors at chance, or that vanish when outputs are named otherwise."""

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.statistics import wilson_interval
from eval_suite.data.class_order import natural_order

_LARGE_DIFFERENCE = 0.1
_FEWEST_ITEMS = 20


def order_doubts(
    predicted: NDArray[np.integer], labels: NDArray[np.integer], classes: list[str]
) -> list[str]:
    """Lines that warn of outputs which are probably of other classes than was taken for granted.

    The best assignment of outputs to classes is found on every second item of each class and tried on the rest, so that
    few items of many classes do not look better than they are.

    Args:
        predicted: (n,) outputs.
        labels: (n,) outputs of the true classes.
        classes: names of all outputs; empty where unknown.
    """
    occurring = len(np.unique(labels))
    if len(labels) < _FEWEST_ITEMS or occurring < 2:
        return []
    classes = classes or [str(output) for output in range(int(max(predicted.max(), labels.max())) + 1)]
    errors = int((predicted != labels).sum())
    error, chance = errors / len(labels), 1 - 1 / occurring
    lines = []
    if errors * occurring >= len(labels) * (occurring - 1):  # in whole numbers: 180 of 210 is 6 of 7
        lines.append(
            f"a top-1 error of {error:.1%} is no better than guessing among {occurring:,} classes ({chance:.1%}); "
            "check the order of the classes, the mean and std, and the weights"
        )
    by_class = np.argsort(labels, kind="stable")
    fitted, tried = by_class[::2], by_class[1::2]
    assigned = _best_assignment(predicted[fitted], labels[fitted], len(classes))
    wrong = int((predicted[tried] != labels[tried]).sum())
    still_wrong = int((assigned[predicted[tried]] != labels[tried]).sum())
    better = wilson_interval(still_wrong, len(tried)).high < wilson_interval(wrong, len(tried)).low
    if better and wrong - still_wrong >= _LARGE_DIFFERENCE * len(tried):
        lines.append(
            f"on half of the items the top-1 error falls from {wrong / len(tried):.1%} to {still_wrong / len(tried):.1%} when "
            "outputs are assigned to other classes, as suits the other half, so they are probably not in the order taken here; "
            f"{_remedy(predicted, labels, classes, error)}"
        )
    return lines


def _best_assignment(
    predicted: NDArray[np.integer], labels: NDArray[np.integer], outputs: int
) -> NDArray[np.int64]:
    """(outputs,) the class that each output is given so that most items are right, no class twice."""
    from scipy.optimize import linear_sum_assignment  # slow to import, and help does not need it

    counts = np.zeros((outputs, outputs), np.int64)
    np.add.at(counts, (predicted, labels), 1)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    assigned = np.empty(outputs, np.int64)
    assigned[rows] = columns
    return assigned


def _remedy(
    predicted: NDArray[np.integer], labels: NDArray[np.integer], classes: list[str], error: float
) -> str:
    number = {name: output for output, name in enumerate(classes)}
    for option, arranged in (("natural", natural_order(classes)), ("sorted", sorted(classes))):
        place = np.array([number[name] for name in arranged], np.int64)
        other = float((place[predicted] != labels).mean())
        if other < error - _LARGE_DIFFERENCE:
            return f"--class-order {option} gives {other:.1%} on all"
    return "name them with --classes FILE"
