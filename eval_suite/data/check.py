"""A look at every image of a set before hours are spent on it."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError, unknown_name
from eval_suite.core.parts import parts
from eval_suite.core.runtime import progress
from eval_suite.data import coco, images, outliers, voc
from eval_suite.data.boxes import open_localisation
from eval_suite.data.coco import caption_splits, open_captions
from eval_suite.data.corners import Boxes
from eval_suite.data.decoding import open_item, to_rgb, why_unreadable
from eval_suite.data.images import ImageIndex, open_images, splits_of
from eval_suite.data.layouts.base import WITHOUT_SPLITS
from eval_suite.data.outliers import open_outliers, parse_outliers, require_outliers
from eval_suite.data.voc import open_voc, voc_splits

_NAMED = 20
_CHUNK = 64


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
    ok = True
    for split in known.splits(spec):
        try:
            part = known.open(spec, split)
        except InputError as error:
            lines.append(f"error: {error}")
            ok = False
            continue
        looks = _look_at_all(part.images, workers)
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
    for one, other in combinations(seen, 2) if known.apart else ():
        lines += _shared(one, seen[one], other, seen[other])
    return CheckReport(lines, ok)


class _Part(NamedTuple):
    """The images of one split, what else it holds, in lines, and what was found of its boxes."""

    images: ImageIndex
    holds: list[str]
    boxes: CheckReport | None = None


class _Checked(NamedTuple):
    """How to look at one kind of data; ``apart`` says that an image belongs to one split only."""

    splits: Callable[[str], Iterable[str]]
    open: Callable[[str, str], _Part]
    apart: bool = False


def _kind(spec: str) -> _Checked:
    head, colon, _ = spec.partition(":")
    # NAME=folder:PATH is a tree of outliers, folder:PATH one of class folders.
    if "=" in head or head in outliers.KINDS.keys() - parts("data").keys():
        return _Checked(_outlier_splits, _open_outliers)
    known = {*parts("data"), *_ANNOTATED, *outliers.KINDS}
    if not colon:
        raise InputError(
            f"expected data as KIND:PATH with KIND one of {', '.join(sorted(known))}, found '{spec}'"
        )
    if head not in known and not head.endswith(".py"):
        raise unknown_name("data kind", head, known, listed_by="eval-suite list data outliers")
    return _ANNOTATED.get(head, _Checked(splits_of, _open_classes, apart=True))


def _open_classes(spec: str, split: str) -> _Part:
    index = open_images(spec, split)
    per_class = _per_class(index.labels, index.classes)
    holds = [
        f"{len(index):,} images in {len(index.classes):,} classes, {per_class} a class",
        f"classes: {_some(index.classes)}",
    ]
    boxes = images.layout_named(images.parse_spec(spec).kind).boxes and split != "train"
    return _Part(index, holds, _look_at_boxes(spec, split) if boxes else None)


def _open_objects(spec: str, split: str) -> _Part:
    index = open_voc(spec, split)
    per_class = _per_class(index.labels, index.classes)
    difficult = int(index.difficult.sum())
    holds = (
        f"{len(index):,} images, {len(index.labels):,} objects ({difficult:,} difficult) in "
        f"{len(index.classes):,} classes, {per_class} a class"
    )
    narrow = int(Boxes(index.boxes, inclusive=True).narrow().sum())
    noted = [f"note: {narrow:,} boxes are one pixel wide or high"] if narrow else []
    return _Part(index.images(), [holds, *noted])


def _open_captions(spec: str, split: str) -> _Part:
    found = open_captions(spec, split)
    counts = [len(captions) for captions in found.captions]
    holds = f"{len(found):,} images, {sum(counts):,} captions, {min(counts)} to {max(counts)} an image"
    return _Part(found.images(), [holds, *(f"note: {note}" for note in found.notes)])


def _outlier_splits(spec: str) -> list[str]:
    if parse_outliers(spec).path is None:
        raise InputError(f"expected outliers with a path, found '{spec}', which are drawn and not read")
    require_outliers(spec)
    return [WITHOUT_SPLITS]


def _open_outliers(spec: str, _split: str) -> _Part:
    source = parse_outliers(spec)
    index = open_outliers(source).images
    return _Part(index, [f"{len(index):,} images of outliers '{source.name}'"])


# A devkit's trainval holds its train and val, and Karpathy's splits hold COCO's.
_ANNOTATED = {
    voc.KIND: _Checked(voc_splits, _open_objects),
    coco.KIND: _Checked(caption_splits, _open_captions),
}


class _Look(NamedTuple):
    size: tuple[int, int] | None
    digest: bytes
    problem: str


def _look_at_all(index: ImageIndex, workers: int) -> list[_Look]:
    chunks = [range(start, min(start + _CHUNK, len(index))) for start in range(0, len(index), _CHUNK)]
    with ThreadPoolExecutor(max(1, workers)) as pool:
        parts = pool.map(lambda chunk: [_look(index, position) for position in chunk], chunks)
        return [look for part in progress(parts, len(chunks), f"checking {index.split}") for look in part]


def _look(index: ImageIndex, position: int) -> _Look:
    try:
        image = to_rgb(open_item(index, position))
    except Exception as error:  # a broken file can make a decoder raise almost anything
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
