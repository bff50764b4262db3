"""Every kind of data that a task may name: how to find its folder, and a look at what that holds."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from eval_suite.data import coco, voc
from eval_suite.data.images import parse_spec, splits_of


class Kind(NamedTuple):
    """The PATH of a ``KIND:PATH``, which need not be there, and the names of the splits it holds.

    Both raise `InputError`: where the text is of another kind, or the folder does not hold the layout.
    """

    path: Callable[[str], Path]
    splits: Callable[[str], Iterable[str]]


CLASSES = Kind(lambda spec: parse_spec(spec).path, splits_of)
"""Images with classes, of any layout."""
ANNOTATED = {
    coco.KIND: Kind(coco.caption_path, coco.caption_splits),
    voc.KIND: Kind(voc.voc_path, voc.voc_splits),
}
"""Images with something else than one class."""


def kind_of(annotated: str | None) -> Kind:
    """The kind of data that a task reads: the name of an annotated one, or None for images with classes."""
    return CLASSES if annotated is None else ANNOTATED[annotated]
