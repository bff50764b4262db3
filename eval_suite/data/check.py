"""A look at every image of a set before hours are spent on it."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError, unknown_name
from eval_suite.core.parts import parts
from eval_suite.core.runtime import progress
from eval_suite.data import coco, images, outliers, voc
from eval_suite.data.boxes import open_localisation
from eval_suite.data.coco import caption_path, caption_splits, open_captions
from eval_suite.data.corners import Boxes
from eval_suite.data.decoding import open_item, to_rgb, why_unreadable
from eval_suite.data.detection import object_splits, open_objects
from eval_suite.data.images import ImageIndex, open_images, splits_of
from eval_suite.data.json_files import read_json
from eval_suite.data.kinds import ANNOTATED
from eval_suite.data.layouts.base import WITHOUT_SPLITS
from eval_suite.data.masks import IGNORED, mask_splits, open_masks
from eval_suite.data.objects import DefectsError
from eval_suite.data.outliers import open_outliers, parse_outliers, require_outliers

_NAMED = 20
_CHUNK = 64
_TRAINED_ON = re.compile(r"(.*?)(trainval|training|train)(.*)")
_EVALUATED = re.compile(r"(.*?)(test|validation|valid|val)(.*)")


class CheckReport(NamedTuple):
    """What to print; ``ok`` is False where an image cannot be read, has no box, or a split does not hold its layout."""

    lines: list[str]
    ok: bool


def check_data(spec: str, workers: int = 2) -> CheckReport:
    """Decode every image of every split, and tell what is there and what is wrong.

    For each split: what it holds (classes, objects or captions, and how many), image sizes, unreadable images by name,
    and the boxes of a split to evaluate on where images with classes have boxes. Between splits of such images: those
    with the same pixels, which make an evaluation too kind; published sets hold some, so they do not clear ``ok``.

    Args:
        spec: ``KIND:PATH`` of anything that a task reads, or ``[NAME=]KIND:PATH`` of outliers.
        workers: threads that decode.

    Raises:
        InputError: if the spec is of no known kind, or the folder is missing or does not hold its layout.
    """
    known = _kind(spec)
    lines: list[str] = []
    seen: dict[str, dict[bytes, str]] = {}
    looked: dict[Path, _Look] = {}
    ok = True
    for split, open_part in known.splits(spec):
        try:
            part = open_part()
        except InputError as error:
            defects = error.defects if isinstance(error, DefectsError) else [str(error)]
            lines += [f"error: {defect}" for defect in defects]
            ok = False
            continue
        looks = _look_at_all(part.images, workers, looked)
        lines += [f"{split}: {part.holds[0]}", *(f"  {line}" for line in part.holds[1:])]
        lines.append(f"  sizes: {_sizes(Counter(look.size for look in looks if look.size))}")
        lines += _broken(part.images.ids, looks)
        ok = ok and not any(look.problem for look in looks)
        if part.boxes is not None:
            lines += part.boxes.lines
            ok = ok and part.boxes.ok
        # The first of equal images stands for all of them.
        seen[split] = {
            look.digest: name
            for look, name in zip(looks[::-1], part.images.ids[::-1], strict=True)
            if look.digest
        }
    for one, other in combinations(seen, 2):
        if known.apart(one, other):
            lines += _shared(one, seen[one], other, seen[other])
    return CheckReport(lines, ok)


class _Part(NamedTuple):
    """The images of one split, what else it holds, in lines, and what was found of its boxes."""

    images: ImageIndex
    holds: list[str]
    boxes: CheckReport | None = None


class _Checked(NamedTuple):
    """How to look at one kind of data: its splits, and whether an image belongs to one only of a pair of them."""

    splits: Callable[[str], Iterable[tuple[str, Callable[[], _Part]]]]
    apart: Callable[[str, str], bool]


def _kind(spec: str) -> _Checked:
    head, colon, _ = spec.partition(":")
    # NAME=folder:PATH is a tree of outliers, folder:PATH one of class folders.
    if "=" in head or head in outliers.KINDS.keys() - parts("data").keys():
        return _Checked(_outlier_splits, lambda _one, _other: False)
    known = {*parts("data"), *ANNOTATED, *outliers.KINDS}
    if not colon:
        raise InputError(
            expected=f"data as KIND:PATH with KIND one of {', '.join(sorted(known))}", found=f"'{spec}'"
        )
    if head in ANNOTATED:
        return _Checked(_annotated_splits, _trained_on_and_evaluated)
    if head not in known and not head.endswith(".py"):
        raise unknown_name("data kind", head, known, listed_by="eval-suite list data outliers")
    return _Checked(
        lambda spec: [(split, partial(_open_classes, spec, split)) for split in splits_of(spec)],
        lambda _one, _other: True,
    )


def _trained_on_and_evaluated(one: str, other: str) -> bool:
    """Whether one split is to fine-tune on and the other to evaluate on.

    Others share images on purpose: trainval holds train and val, and Karpathy's splits hold COCO's.
    """
    for first, second in ((one, other), (other, one)):
        trained = _TRAINED_ON.fullmatch(first.rpartition("/")[2].lower())
        evaluated = _EVALUATED.fullmatch(second.rpartition("/")[2].lower())
        if trained and evaluated and trained.group(1, 3) == evaluated.group(1, 3):
            return trained[2] != "trainval" or evaluated[2] == "test"
    return False


def _open_classes(spec: str, split: str) -> _Part:
    index = open_images(spec, split)
    per_class = _per_class(index.labels, index.classes)
    holds = [
        f"{len(index):,} images in {len(index.classes):,} classes, {per_class} a class",
        f"classes: {_some(index.classes)}",
        *_notes(index.notes),
    ]
    boxes = images.layout_named(images.parse_spec(spec).kind).boxes and split != "train"
    return _Part(index, holds, _look_at_boxes(spec, split) if boxes else None)


def _open_objects(spec: str, split: str) -> _Part:
    index = open_objects(spec, split)
    per_class = _per_class(index.labels, index.classes)
    uncounted = (
        f"{int(index.crowd.sum()):,} crowds"
        if index.crowd.any()
        else f"{int(index.difficult.sum()):,} difficult"
    )
    holds = (
        f"{len(index):,} images, {len(index.labels):,} objects ({uncounted}) in "
        f"{len(index.classes):,} classes, {per_class} a class"
    )
    narrow = int(Boxes(index.boxes, inclusive=True).narrow().sum())
    noted = [f"note: {narrow:,} boxes are one pixel wide or high"] if narrow else []
    return _Part(index.images(), [holds, *noted, *_notes(index.notes)])


def _open_captions(spec: str, split: str) -> _Part:
    found = open_captions(spec, split)
    counts = [len(captions) for captions in found.captions]
    holds = f"{len(found):,} images, {sum(counts):,} captions, {min(counts)} to {max(counts)} an image"
    return _Part(found.images(), [holds, *_notes(found.notes)])


def _annotated_splits(spec: str) -> list[tuple[str, Callable[[], _Part]]]:
    """The splits with boxes, those with captions and those with masks, of which a folder may hold several.

    Raises:
        InputError: if there is neither.
    """
    found: list[tuple[str, Callable[[], _Part]]] = []
    errors: list[InputError] = []
    captions, boxes = _held_by_file(spec)
    for held, splits, open_part in (
        (captions, caption_splits, _open_captions),
        (boxes, object_splits, _open_objects),
    ):
        if not held:
            continue
        try:
            found += [(split, partial(open_part, spec, split)) for split in splits(spec)]
        except InputError as error:
            errors.append(error)
    if spec.startswith(f"{voc.KIND}:"):
        with suppress(InputError):
            found += [(f"{split} (masks)", partial(_open_masks, spec, split)) for split in mask_splits(spec)]
    if not found:
        raise errors[0]
    return found


def _held_by_file(spec: str) -> tuple[bool, bool]:
    """Whether captions and whether boxes are to be looked for: in a file that holds one of them, only that."""
    if not spec.startswith(f"{coco.KIND}:"):
        return False, True
    path = caption_path(spec)
    with suppress(InputError):
        content = read_json(path) if path.is_file() else None
        annotations = content.get("annotations", content.get("images")) if isinstance(content, dict) else None
        entries = (
            [each for each in annotations if isinstance(each, dict)] if isinstance(annotations, list) else []
        )
        captions = any(each.keys() & {"caption", "sentences"} for each in entries)
        boxes = any("bbox" in each for each in entries)
        if captions or boxes:
            return captions, boxes
    return True, True


def _open_masks(spec: str, split: str) -> _Part:
    """Masks with VOC's classes, or as many as an image can number where there are others."""
    index = open_masks(spec, split)
    try:
        index.require_sound()
    except DefectsError:
        own = replace(index, classes=[str(number) for number in range(IGNORED)])
        own.require_sound()
        return _Part(
            index.images(), [f"{len(index):,} masks with other classes than VOC's: name them with --classes"]
        )
    return _Part(index.images(), [f"{len(index):,} masks of VOC's classes"])


def _outlier_splits(spec: str) -> list[tuple[str, Callable[[], _Part]]]:
    if parse_outliers(spec).path is None:
        raise InputError(expected="outliers with a path", found=f"'{spec}', which are drawn and not read")
    require_outliers(spec)
    return [(WITHOUT_SPLITS, partial(_open_outliers, spec))]


def _open_outliers(spec: str) -> _Part:
    source = parse_outliers(spec)
    index = open_outliers(source).images
    return _Part(index, [f"{len(index):,} images of outliers '{source.name}'", *_notes(index.notes)])


def _notes(notes: Iterable[str]) -> list[str]:
    return [f"note: {note}" for note in notes]


class _Look(NamedTuple):
    size: tuple[int, int] | None
    digest: bytes
    problem: str


def _look_at_all(index: ImageIndex, workers: int, looked: dict[Path, _Look]) -> list[_Look]:
    """A look at every image of a split; those of other splits are in ``looked``, which is added to."""
    paths: Sequence[Path] = index.paths or [index.root / item for item in index.ids]
    new = [i for i, path in enumerate(paths) if path not in looked]
    chunks = [new[start : start + _CHUNK] for start in range(0, len(new), _CHUNK)]
    with ThreadPoolExecutor(max(1, workers)) as pool:
        parts = pool.map(lambda chunk: [_look(index, position) for position in chunk], chunks)
        looks = [look for part in progress(parts, len(chunks), f"checking {index.split}") for look in part]
    looked |= {paths[i]: look for i, look in zip(new, looks, strict=True)}
    return [looked[path] for path in paths]


def _look(index: ImageIndex, position: int) -> _Look:
    try:
        image = to_rgb(open_item(index, position))
    except Exception as error:  # noqa: BLE001 - a broken file can make a decoder raise almost anything
        return _Look(None, b"", why_unreadable(error))
    digest = hashlib.blake2b(repr(image.size).encode() + image.tobytes(), digest_size=16).digest()
    return _Look(image.size, digest, "")


def _per_class(labels: NDArray[np.int64], classes: list[str]) -> str:
    counts = np.bincount(labels, minlength=len(classes))
    fewest, most = int(counts.argmin()), int(counts.argmax())
    if counts[fewest] == counts[most]:
        return f"{counts[fewest]:,}"
    return f"{counts[fewest]:,} ({classes[fewest]}) to {counts[most]:,} ({classes[most]})"


def _broken(ids: list[str], looks: list[_Look]) -> list[str]:
    broken = [f"{name} ({look.problem})" for name, look in zip(ids, looks, strict=True) if look.problem]
    return [f"  error: {len(broken):,} cannot be read: {_some(broken)}"] if broken else []


def _look_at_boxes(spec: str, split: str) -> CheckReport:
    lines: list[str] = []
    try:
        found = open_localisation(spec, split, warn=lambda line: lines.append(f"warning: {line}"))
    except InputError as error:
        return CheckReport([*(f"  {line}" for line in lines), f"  error: {error}"], ok=False)
    if found.masks is not None:
        lines.append(f"masks: {sum(len(files.instances) for files in found.masks):,}")
    else:
        counts = np.array([len(boxes) for boxes in found.boxes])
        lines.append(f"boxes: {counts.sum():,}, {counts.min()} to {counts.max()} an image")
    return CheckReport([f"  {line}" for line in lines], ok=True)


def _sizes(sizes: Counter[tuple[int, int]]) -> str:
    if len(sizes) <= 3:
        return ", ".join(f"{w} x {h} ({n:,})" for (w, h), n in sizes.most_common()) or "none"
    widths, heights = zip(*sizes, strict=True)
    return f"{len(sizes):,} different, {min(widths)} to {max(widths)} wide, {min(heights)} to {max(heights)} high"


def _shared(one: str, ones: dict[bytes, str], other: str, others: dict[bytes, str]) -> list[str]:
    both = [f"{others[digest]} = {ones[digest]}" for digest in others if digest in ones]
    both.sort()
    return (
        [f"warning: {len(both):,} different images of {other} are also in {one}: {_some(both)}"]
        if both
        else []
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f", ... ({len(names):,} in all)" if len(names) > _NAMED else "")
