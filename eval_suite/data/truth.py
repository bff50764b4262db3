"""Ground truth for predictions made elsewhere: the labels of their items, by id."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError
from eval_suite.core.predictions import About
from eval_suite.data.images import ImageIndex, open_images


class Truth(NamedTuple):
    """Labels (n,) of the predicted items, and the split they are from."""

    labels: NDArray[np.int64]
    index: ImageIndex  # type: ignore[assignment]  # hides tuple.index, which nobody needs here


def true_labels(
    spec: str, split: str | None, *, ids: list[str], items: int, about: About, path: Path
) -> Truth:
    """The labels of the items in a predictions file.

    Args:
        spec: the ground truth as KIND:PATH.
        split: its split; None takes the one that the file names, or else the split to evaluate on.
        ids: (n,) ids of the items; an empty list where the file has none and holds the whole split in order.
        items: how many items the file holds.
        about: what the file says of its data.
        path: the file, for the message.

    Raises:
        InputError: if an id is not in the ground truth, or there are neither ids nor as many items as it has.
    """
    index = open_images(spec, split or (about.split if about.split != "unknown" else None))
    if not ids and items != len(index):
        raise InputError(
            f"{path} holds {items} items without ids, but {spec} has {len(index)}; add an array 'ids'"
        )
    label_of = dict(zip(index.ids, index.labels, strict=True))
    chosen = ids or index.ids
    unknown = [item for item in chosen if item not in label_of]
    if unknown:
        raise InputError(f"{len(unknown)} ids of {path} are not in {spec}, first: '{unknown[0]}'")
    return Truth(np.array([label_of[item] for item in chosen], np.int64), index)
