"""One evaluation in several processes: each runs every so many-th batch, and all end with what one process would have."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.runtime import process_count, process_number
from eval_suite.data.loading import Share


def own_share() -> Share:
    """The batches of this process, of those that torchrun started; all of them for one alone."""
    return Share(process_number(), process_count())


class Gathered(NamedTuple):
    """Rows of all processes by the name of their column, in the order of one process, and the unreadable images of all."""

    columns: dict[str, Any]
    failed: list[str]


def gathered(
    columns: Mapping[str, Any], order: str, failed: Sequence[str] = (), names: Sequence[str] = ()
) -> Gathered:
    """Put together what processes made of their shares; each has all of it then.

    Batches are the same as in one process, and so are the numbers to the last bit.

    Args:
        columns: by name, arrays and lists of a row for each item, and empty ones or None for what is not asked for.
        order: the column that rows are sorted by.
        failed: names of this process's unreadable images.
        names: in whose order those of all processes are given.
    """
    if process_count() == 1:
        return Gathered(dict(columns), list(failed))
    everyone = _from_all((dict(columns), list(failed)))
    # A process without a batch knows neither what columns there are nor their width.
    filled = [each for each, _ in everyone if len(each.get(order, ()))]
    missing = {name for _, names_of_one in everyone for name in names_of_one}
    unreadable = [name for name in names if name in missing]
    if not filled:
        return Gathered(dict(columns), unreadable)
    rows = np.argsort(np.concatenate([each[order] for each in filled]), kind="stable")
    joined = {name: _joined([each[name] for each in filled], rows) for name in filled[0]}
    return Gathered(joined, unreadable)


def true_everywhere(holds: bool) -> bool:
    """Whether something holds in every process."""
    return holds if process_count() == 1 else all(_from_all(holds))


def _joined(parts: list[Any], rows: NDArray[np.int64]) -> Any:
    if parts[0] is None or not len(parts[0]):
        return parts[0]
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)[rows]
    together = [item for part in parts for item in part]
    return [together[row] for row in rows]


def _from_all(value: Any) -> list[Any]:
    from accelerate import PartialState
    from accelerate.utils import gather_object

    PartialState(cpu=_on_cpu())
    found: list[Any] = gather_object([value])
    return found


def _on_cpu() -> bool:
    import torch

    return not torch.cuda.is_available()
