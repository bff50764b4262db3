"""Boxes in COCO's format: the instances files of COCO, of annotation tools, and of anyone's own."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError, unknown_name
from eval_suite.data.corners import corner_evidence, look_like_shares, outside
from eval_suite.data.decoding import size_of_file
from eval_suite.data.json_files import image_id, list_of_objects, read_json, text_of, whole_number
from eval_suite.data.layouts.base import listing
from eval_suite.data.metadata import inside
from eval_suite.data.objects import DefectsError, ObjectIndex, Purpose, counted

KIND = "coco"
_TRAIN = ("train2017", "train2014", "train", "training")
_EVALUATE = ("val2017", "val2014", "test", "val", "valid", "validation")
_OF_SPLIT = "_annotations.coco.json"


class _Source(NamedTuple):
    """A file of annotations, and the folders that its images may lie in."""

    file: Path
    folders: list[Path]


def open_coco(
    spec: str,
    split: str | None = None,
    *,
    purpose: Purpose = "evaluate",
    class_list: Sequence[str] | None = None,
) -> ObjectIndex:
    """Index one split of boxes in COCO's format.

    Classes are the file's ``categories`` in the order of their ids. Boxes are kept as they are, also where they reach
    outside their image, as COCO's own evaluation does; objects with ``iscrowd`` need not be found.

    Args:
        spec: ``coco:PATH``, where PATH holds ``annotations/instances_<split>.json``, or ``annotations/<split>.json``, with
            the images in ``<split>/``, ``images/<split>/`` or ``images/``; or ``<split>/_annotations.coco.json`` next to
            its images; or is such a file itself.
        split: an existing split; None takes val2017, val2014, test or val, and for training train2017, train2014 or train.
        purpose: what the images are for.
        class_list: refused, since the file's ``categories`` name the classes.

    Raises:
        InputError: if there is no such file, it has no images, annotations and categories, two of them have one id or
            name, or its boxes are corners or shares of their images' sides.
        DefectsError: if annotations are of no image or class in the file, or have no box.
    """
    if class_list is not None:
        raise InputError(
            expected=f"classes from the 'categories' of {spec}",
            found="a file of class names",
            remedy="leave --classes out",
        )
    there = _sources(coco_path(spec))
    chosen = split or default_split(spec, purpose)
    if chosen not in there:
        raise InputError(f"{spec} has no split '{chosen}'; it has: {', '.join(there)}")
    file, folders = there[chosen]
    content = read_json(file)
    images = list_of_objects(content, "images", file)
    annotations = list_of_objects(content, "annotations", file)
    categories = list_of_objects(content, "categories", file)
    if not images or not categories:
        raise InputError(expected="images and categories", where=file, found="none")
    keys = [image_id(image, "id", "images", file) for image in images]
    files = [
        inside(text_of(image, "file_name", f"image {key}", file), file)
        for image, key in zip(images, keys, strict=True)
    ]
    _require_each_once(keys, file)
    _require_each_once(files, file)
    root = next((f for f in folders if (f / files[0]).is_file()), folders[0])
    paths = [root / name for name in files]
    sizes = np.array([_size(image, path) for image, path in zip(images, paths, strict=True)], np.int64)
    categories.sort(key=lambda category: whole_number(category, "id", "categories", file))
    numbers = [whole_number(category, "id", "categories", file) for category in categories]
    _require_each_once(numbers, file)
    _require_each_once(classes := [text_of(each, "name", "a category", file) for each in categories], file)
    place, boxes, labels = _objects(annotations, keys, numbers, file, spec)
    doubt = _require_pixels(boxes, sizes[place], file)
    order = np.argsort(place, kind="stable")
    ids = [f"{chosen}/{name}" for name in files]
    return ObjectIndex(
        name=coco_path(spec).resolve().stem,
        spec=spec,
        split=chosen,
        classes=classes,
        ids=ids,
        paths=paths,
        sizes=sizes,
        image=place[order],
        boxes=np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:] - 1])[order],
        labels=labels[order],
        difficult=np.zeros(len(order), np.bool_),
        crowd=np.array([each.get("iscrowd") in (1, True) for each in annotations], np.bool_)[order],
        category_ids=numbers,
        image_keys=keys,
        widths_are_edges=True,
        notes=(*doubt, *counted(_doubts(boxes, sizes, place, ids))),
    )


def default_split(spec: str, purpose: Purpose, evaluated: str | None = None) -> str:
    """What `open_coco` takes where no split is named.

    Args:
        spec: ``coco:PATH``.
        purpose: what it is for.
        evaluated: for training, the split to evaluate on, whose year is preferred.

    Raises:
        InputError: if there is none for that purpose.
    """
    there = coco_object_splits(spec)
    if purpose == "train" and evaluated is not None:
        year = evaluated.replace("val", "train")
        if year != evaluated and year in there:
            return year
    wanted = _TRAIN if purpose == "train" else _EVALUATE
    chosen = next((name for name in wanted if name in there), None)
    if chosen is None and purpose == "evaluate" and len(there) == 1:
        # Who names a file has chosen; a lone training split of a folder is not meant to be evaluated on.
        chosen = there[0] if "train" not in there[0].lower() or coco_path(spec).is_file() else None
    if chosen is None:
        flag = "--train-split" if purpose == "train" else "--split"
        raise InputError(
            f"expected a split {' or '.join(wanted[:3])} in {spec}, found: {', '.join(there)}; name one with {flag}"
        )
    return chosen


def coco_object_splits(spec: str) -> list[str]:
    """Names of the splits with boxes.

    Raises:
        InputError: if there is none.
    """
    return list(_sources(coco_path(spec)))


def coco_path(spec: str) -> Path:
    """The PATH of ``coco:PATH``, which need not be there.

    Raises:
        InputError: if the text is none.
    """
    kind, colon, text = spec.partition(":")
    if kind != KIND or not colon or not text:
        raise InputError(expected=f"{KIND}:PATH", found=f"'{spec}'")
    return Path(text).expanduser()


def _sources(path: Path) -> dict[str, _Source]:
    if path.is_file():
        split = path.stem.removeprefix("instances_")
        above = path.parent.parent
        folders = [
            path.parent,
            path.parent / "images",
            above / split,
            above / "images" / split,
            above / "images",
            above,
        ]
        return {split: _Source(path, folders)}
    found: dict[str, _Source] = {}
    for base in (path / "annotations", path):
        files = {file.stem.removeprefix("instances_"): file for file in sorted(base.glob("instances_*.json"))}
        files |= {
            name: base / f"{name}.json" for name in (*_TRAIN, *_EVALUATE) if (base / f"{name}.json").is_file()
        }
        for split, file in files.items():
            folders = [path / split, path / "images" / split, path / "images", path, base]
            found.setdefault(split, _Source(file, folders))
    for file in sorted(path.glob(f"*/{_OF_SPLIT}")):
        found.setdefault(file.parent.name, _Source(file, [file.parent]))
    if not found:
        raise InputError(
            expected=f"annotations/instances_<split>.json or <split>/{_OF_SPLIT}",
            where=path,
            found=listing(path) if path.is_dir() else "no such folder",
            remedy=f"check the path in {KIND}:PATH, or name the file itself",
        )
    return found


def _objects(
    annotations: list[dict[str, Any]], keys: list[int | str], numbers: list[int], file: Path, spec: str
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """The image (m,), box (m, 4) x y width height, and label (m,) of each annotation."""
    place_of: dict[int | str, int] = {str(key): i for i, key in enumerate(keys)}
    place_of |= {key: i for i, key in enumerate(keys)}
    label_of = {number: label for label, number in enumerate(numbers)}
    defects, places, labels = [], [], []
    boxes = np.full((len(annotations), 4), np.nan)
    for row, each in enumerate(annotations):
        name = f"annotation {each.get('id', row)} in {file}"
        place, label = (
            _looked_up(place_of, each.get("image_id")),
            _looked_up(label_of, each.get("category_id")),
        )
        if place is None:
            defects.append(
                f"expected an image of the file for {name}, found image_id {each.get('image_id')!r}"
            )
        if label is None:
            wrong = unknown_name("category_id", str(each.get("category_id")), map(str, numbers))
            defects.append(f"{name}: {wrong}")
        try:
            boxes[row] = np.array(each.get("bbox"), np.float64)
        except (TypeError, ValueError):
            boxes[row] = np.nan
        if not np.isfinite(boxes[row]).all() or min(boxes[row, 2:]) < 0:
            defects.append(
                f"expected 'bbox' as x, y, width, height in pixels for {name}, found {str(each.get('bbox'))[:60]}"
            )
        places.append(place if place is not None else -1)
        labels.append(label if label is not None else -1)
    if defects:
        raise DefectsError(defects, spec)
    return np.array(places, np.int64), boxes, np.array(labels, np.int64)


def _looked_up(table: Mapping[Any, int], key: Any) -> int | None:
    return table.get(key) if isinstance(key, int | str) and not isinstance(key, bool) else None


def _size(image: Mapping[str, Any], path: Path) -> tuple[int, int]:
    """Width and height: those of the file, else of the image; zeros where neither tells."""
    width, height = image.get("width"), image.get("height")
    if isinstance(width, int) and isinstance(height, int) and min(width, height) > 0:
        return width, height
    try:
        return size_of_file(path)
    except Exception:  # noqa: BLE001 - a broken file is counted, or refused, where it is decoded
        return 0, 0


def _require_pixels(boxes: NDArray[np.float64], sizes: NDArray[np.int64], file: Path) -> list[str]:
    """Refuse boxes (m, 4) that are no x, y, width, height in pixels, and return a line where they may be none."""
    known = sizes.min(axis=1, initial=1) > 0
    boxes, sizes = boxes[known], sizes[known]
    evidence, found, remedy = corner_evidence(boxes, sizes), "", ""
    if look_like_shares(boxes, sizes):
        found, remedy = "numbers up to 1, as of shares", "multiply them by the images' sides"
    elif evidence.are_corners or evidence.contradictory:
        found = f"x0, y0, x1, y1: {evidence}"
        remedy = "subtract the first two numbers from the last two, or clip the boxes to their images if they are widths"
    if found:
        raise InputError(
            expected="'bbox' as x, y, width, height in pixels", where=file, found=found, remedy=remedy
        )
    return [f"the boxes of {file} may be x0, y0, x1, y1: {evidence}"] if evidence.doubtful else []


def _doubts(
    boxes: NDArray[np.float64], sizes: NDArray[np.int64], place: NDArray[np.int64], ids: list[str]
) -> Iterable[tuple[str, str]]:
    """What is strange about boxes (m, 4), x y width height, with the image each is in."""
    flat = (boxes[:, 2:] == 0).any(axis=1)
    corners = np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])
    away = outside(corners, sizes[place]) & (sizes[place].min(axis=1, initial=1) > 0)
    for strange, sentence in (
        (flat, "boxes have no area; nothing can be found there, and nothing is learnt from them"),
        (away & ~flat, "boxes lie wholly outside their image"),
    ):
        yield from ((sentence, ids[place[row]]) for row in np.flatnonzero(strange))


def _require_each_once(values: list[Any], file: Path) -> None:
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            raise InputError(
                expected="each id, file name and category name once", where=file, found=f"{value!r} again"
            )
        seen.add(value)
