"""A few images of each set to show with the numbers: the same ones for every backbone on the same data."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eval_suite.core.records import Example
from eval_suite.data.pictures import picture_name, save_pictures, spread_evenly
from eval_suite.tasks.ood.predictions import Predictions
from eval_suite.tasks.ood.rates import threshold_accepting_95
from eval_suite.tasks.ood.scores import MAX_SOFTMAX

SHOWN = 2
"""Pictures of a set of images; one is enough of noise."""
KNOWN = "in-distribution"


class Pictures:
    """Gathers a few pictures of each set, spread evenly over its readable items."""

    def __init__(self) -> None:
        self._pictures: dict[str, Image.Image] = {}

    def add(
        self,
        name: str,
        ids: list[str],
        positions: NDArray[np.int64],
        picture: Callable[[int], Image.Image],
        *,
        count: int = SHOWN,
    ) -> None:
        """Keep a few pictures of one set.

        Args:
            name: the set's name.
            ids: ids of all its items.
            positions: (n,) places of those that could be read.
            picture: the picture at a place.
            count: how many.
        """
        for place in positions[spread_evenly(len(positions), count)]:
            self._pictures[_file_name(name, ids[place])] = picture(int(place))

    def save(self, folder: Path) -> None:
        """Write them as PNG into ``examples/`` of a task's folder."""
        save_pictures(folder / "examples", self._pictures)


def examples(folder: Path, found: Predictions) -> list[Example]:
    """The pictures that lie in a task's folder, each with what the backbone said of it by its max softmax.

    Args:
        folder: the task's folder, next to the record.
        found: the predictions, with logits.
    """
    there = {path.name for path in (folder / "examples").glob("*.png")}
    if not there or MAX_SOFTMAX not in found.scores or found.logits is None:
        return []
    threshold = threshold_accepting_95(found.scores[MAX_SOFTMAX])
    shown = []
    for name, item, confidence, predicted in _items(found):
        file = _file_name(name, item)
        if file in there:
            accepted = bool(confidence >= threshold)
            mark = "✓" if accepted == (name == KNOWN) else "✗"
            verdict = "accepted" if accepted else "rejected"
            taken = found.classes[predicted] if found.classes else f"class {predicted}"
            caption = f"{name}: {mark} {verdict}; {taken} ({confidence:.0%})"
            shown.append(
                Example(image=f"{folder.name}/examples/{file}", alt=f"{name}, {item}", caption=caption)
            )
    return shown


def _items(found: Predictions) -> Iterator[tuple[str, str, float, int]]:
    assert found.logits is not None
    taken = found.logits.argmax(axis=1)
    if found.ids:
        yield from zip([KNOWN] * len(found.ids), found.ids, found.scores[MAX_SOFTMAX], taken, strict=True)
    for name, each in found.outliers.items():
        if each.ids and each.predicted is not None:
            names = [name] * len(each.ids)
            yield from zip(names, each.ids, each.scores[MAX_SOFTMAX], each.predicted, strict=True)


def _file_name(name: str, item: str) -> str:
    return picture_name(f"{name}-{item}")
