"""Every kind of data that a task may name: how to find its folder, and a look at what that holds."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from eval_suite.core.errors import InputError
from eval_suite.data.coco import caption_path, caption_splits
from eval_suite.data.detection import FORMATS, object_splits, objects_path
from eval_suite.data.images import parse_spec, splits_of
from eval_suite.data.masks import mask_splits
from eval_suite.data.voc import voc_path


class Kind(NamedTuple):
    """The PATH of a ``KIND:PATH``, which need not be there, and the names of the splits it holds.

    Both raise `InputError`: where the text is of another kind, or the folder does not hold the layout.
    """

    path: Callable[[str], Path]
    splits: Callable[[str], Iterable[str]]


CLASSES = Kind(lambda spec: parse_spec(spec).path, splits_of)
"""Images with classes, of any layout."""
_ANNOTATIONS = {
    "boxes": Kind(objects_path, object_splits),
    "captions": Kind(caption_path, caption_splits),
    "masks": Kind(voc_path, mask_splits),
}
ANNOTATED = tuple(FORMATS)
"""The kinds of images with something else than one class."""


def kind_of(annotated: str | None) -> Kind:
    """The kind of data that a task reads: ``boxes``, ``captions``, ``masks``, or None for images with classes.

    Raises:
        InputError: if it is something else.
    """
    if annotated not in (None, *_ANNOTATIONS):
        raise InputError(
            expected=f"a task's 'annotated' to be {', '.join(map(repr, _ANNOTATIONS))} or None",
            found=repr(annotated),
        )
    return CLASSES if annotated is None else _ANNOTATIONS[annotated]
