"""Ground truth for predictions made by other tools: the labels of their items, by id."""

from collections.abc import Hashable, Sequence
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


def places_of(
    ids: Sequence[Hashable], known: Sequence[Hashable], path: Path | str, where: str
) -> NDArray[np.int64]:
    """Where the items of a predictions file stand in the ground truth: the one join of the two.

    Args:
        ids: (n,) items of the file.
        known: (m,) items of the ground truth.
        path: the file, for the message.
        where: the ground truth, for the message.

    Raises:
        InputError: if an id is not among those known.
    """
    place = {item: i for i, item in enumerate(known)}
    unknown = [item for item in ids if item not in place]
    if unknown:
        raise InputError(
            f"{len(unknown):,} ids of {path} are not in {where}, first: '{unknown[0]}'; name the split they are of "
            "with --split"
        )
    return np.array([place[item] for item in ids], np.int64)


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
    if not ids:
        return Truth(index.labels.astype(np.int64), index)
    return Truth(index.labels[places_of(ids, index.ids, path, spec)].astype(np.int64), index)
