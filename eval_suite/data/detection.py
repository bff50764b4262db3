"""Images with boxes by name, ``voc:PATH`` or ``coco:PATH``, to an index of their objects."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eval_suite.core.errors import InputError, unknown_name
from eval_suite.data import coco_objects, voc
from eval_suite.data.class_order import read_class_names
from eval_suite.data.objects import ObjectIndex, Purpose, counted


class _Format(NamedTuple):
    open: Callable[..., ObjectIndex]
    splits: Callable[[str], list[str]]
    path: Callable[[str], Path]
    default_split: Callable[[str, Purpose, str | None], str]


FORMATS = {
    coco_objects.KIND: _Format(
        coco_objects.open_coco,
        coco_objects.coco_object_splits,
        coco_objects.coco_path,
        coco_objects.default_split,
    ),
    voc.KIND: _Format(
        voc.open_voc, voc.voc_splits, voc.voc_path, lambda spec, purpose, _: voc.default_split(spec, purpose)
    ),
}
"""The formats of boxes, by the KIND of ``KIND:PATH``."""


def open_objects(
    spec: str, split: str | None = None, *, purpose: Purpose = "evaluate", class_file: Path | None = None
) -> ObjectIndex:
    """Index a split as `open_voc` or `open_coco` does; a file of annotations alone counts as ``coco:FILE``.

    ``class_file`` names the classes of annotations in VOC's format, in their order. Objects that are there twice are
    noted and count twice, as in the official evaluations.

    Raises:
        InputError: as these do, or if the text is of neither kind.
    """
    full = _with_kind(spec)
    names = None if class_file is None else read_class_names(class_file.expanduser())
    index = _format(full).open(full, split, purpose=purpose, class_list=names)
    return replace(index, notes=(*index.notes, *counted(_repeated(index))))


def object_splits(spec: str) -> list[str]:
    """Names of the splits that hold boxes.

    Raises:
        InputError: if there is none.
    """
    full = _with_kind(spec)
    return _format(full).splits(full)


def objects_path(spec: str) -> Path:
    """The PATH of ``KIND:PATH``, which need not be there.

    Raises:
        InputError: if the text is none.
    """
    full = _with_kind(spec)
    return _format(full).path(full)


def default_split(spec: str, purpose: Purpose, evaluated: str | None = None) -> str:
    """What `open_objects` takes where no split is named; for training, one that goes with the split ``evaluated``.

    Raises:
        InputError: if there is none for that purpose.
    """
    full = _with_kind(spec)
    return _format(full).default_split(full, purpose, evaluated)


def _repeated(index: ObjectIndex) -> list[tuple[str, str]]:
    """Objects of the same class and box as one before them in their image, with the image each is in."""
    rows = np.column_stack([index.image, index.labels, index.boxes])
    first = np.unique(rows, axis=0, return_index=True)[1]
    again = np.setdiff1d(np.arange(len(rows)), first)
    sentence = "objects have the class and the box of another in their image; each counts"
    return [(sentence, index.ids[index.image[row]]) for row in again]


def _with_kind(spec: str) -> str:
    return f"{coco_objects.KIND}:{spec}" if spec.endswith(".json") and Path(spec).is_file() else spec


def _format(spec: str) -> _Format:
    kind, colon, path = spec.partition(":")
    if not colon or not path:
        raise InputError(
            expected=f"boxes as {' or '.join(f'{name}:PATH' for name in sorted(FORMATS))}",
            found=f"'{spec}'",
        )
    if kind not in FORMATS:
        raise unknown_name("kind of boxes", kind, FORMATS)
    return FORMATS[kind]
