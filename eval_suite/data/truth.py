"""Ground truth for predictions made by other tools: the labels of their items, by id."""

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError
from eval_suite.core.predictions import About
from eval_suite.data.class_order import ClassMatch, ClassOrder, match_classes
from eval_suite.data.images import open_images


class Truth(NamedTuple):
    """What is true of the items in a predictions file.

    Attributes:
        labels: (n,) the outputs of the true classes.
        ids: of the items.
        match: which output stands for which class of the data.
        about: which items they are.
        differing: a line on labels that the file carries itself and that are others; empty where there are none.
    """

    labels: NDArray[np.int64]
    ids: list[str]
    match: ClassMatch
    about: About
    differing: str = ""

    @property
    def assumptions(self) -> list[str]:
        """What was taken for granted, a line each: the order of the outputs where it is the data's, and these labels before others."""
        order = f"the outputs are assumed to be in {self.match.how}" if self.match.assumed else ""
        return [line for line in (self.differing, order) if line]


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
        like = f"such as '{known[0]}'" if len(known) else "none"
        raise InputError(
            expected=f"ids of {where}, {like}",
            where=path,
            found=f"{len(unknown):,} others, first '{unknown[0]}'",
            remedy="write them so, or name the split they are of with --split",
        )
    return np.array([place[item] for item in ids], np.int64)


def true_labels(
    spec: str,
    split: str | None,
    *,
    ids: list[str],
    items: int,
    about: About,
    path: Path,
    labels: NDArray[np.int64] | None = None,
    outputs: int | None = None,
    names: list[str] | None = None,
    order: ClassOrder | None = None,
    natural: str = "say so by an array 'classes' in the predictions",
) -> Truth:
    """The labels of the items in a predictions file.

    Args:
        spec: the ground truth as KIND:PATH.
        split: its split; None takes the one that the file names, or else the split to evaluate on.
        ids: (n,) ids of the items; an empty list where the file has none and holds the whole split in order.
        items: how many items the file holds.
        about: what the file says of its data.
        path: the file, for the message.
        labels: (n,) that the file carries itself; None or empty where it has none.
        outputs: how many outputs the network had; None where the file does not tell.
        names: of the outputs; None or empty where the file has none.
        order: of the outputs, where they have no names.
        natural: how to tell that the outputs are in natural order, for the line on what is assumed.

    Raises:
        InputError: if an id is not in the ground truth, there are neither ids nor as many items as it has, or a class has
            no output.
    """
    index = open_images(spec, split or (about.split if about.split != "unknown" else None))
    if not ids and items != len(index):
        raise InputError(
            f"{path} holds {items} items without ids, but {spec} has {len(index)}; add an array 'ids'"
        )
    match = match_classes(
        index.classes,
        spec,
        outputs=outputs or len(names or index.classes),
        names=names or [],
        order=order,
        known_from=f"'classes' of {path}",
        remedy="name the outputs in their order, by an array 'classes' in the predictions or a file (score classify --classes FILE)",
        natural=natural,
    )
    places = places_of(ids, index.ids, path, spec) if ids else np.arange(len(index))
    evaluated = np.union1d(places, np.flatnonzero(np.isin(index.ids, about.failed)))
    part = index.select(evaluated) if len(evaluated) < len(index) else index
    true = match.outputs[index.labels[places]]
    differing = ""
    if labels is not None and len(labels) and (other := np.flatnonzero(labels != true)).size:
        first = other[0]
        differing = (
            f"{other.size:,} of the {items:,} labels in {path} are not those of {spec}, which count here, first that of "
            f"'{index.ids[places[first]]}': {labels[first]} and not {true[first]}"
        )
    return Truth(
        true,
        [index.ids[i] for i in places],
        match,
        index.about(part, about.failed),
        differing,
    )
