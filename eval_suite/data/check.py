"""A look at every image of a set before hours are spent on it."""

import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from typing import NamedTuple

import numpy as np

from eval_suite.core.errors import InputError
from eval_suite.core.runtime import progress
from eval_suite.data.boxes import WITH_BOXES, open_localisation
from eval_suite.data.decoding import open_item, to_rgb, why_unreadable
from eval_suite.data.images import ImageIndex, open_images, parse_spec, splits_of
from eval_suite.data.voc import KIND, open_voc, voc_splits

_NAMED = 20
_CHUNK = 64


class CheckReport(NamedTuple):
    """What to print; ``ok`` is False where an image cannot be read, has no box, or a split does not hold its layout."""

    lines: list[str]
    ok: bool


def check_data(spec: str, workers: int = 2) -> CheckReport:
    """Decode every image of every split, and tell what is there and what is wrong.

    For each split: classes, images per class, image sizes, unreadable images by name, and the boxes of a split to
    evaluate on where the kind has boxes. Between splits: images with
    the same pixels, which make an evaluation too kind; published sets hold some, so they do not clear ``ok``.

    Args:
        spec: ``KIND:PATH``.
        workers: threads that decode.

    Raises:
        InputError: if the spec is no ``KIND:PATH`` with a known kind.
    """
    if spec.startswith(f"{KIND}:"):
        return _check_voc(spec, workers)
    kind = parse_spec(spec).kind
    try:
        splits = splits_of(spec)
    except InputError as error:
        return CheckReport([f"error: {error}"], ok=False)
    lines: list[str] = []
    seen: dict[str, dict[bytes, str]] = {}
    ok = True
    for split in splits:
        try:
            index = open_images(spec, split)
        except InputError as error:
            lines.append(f"error: {error}")
            ok = False
            continue
        looks = _look_at_all(index, workers)
        lines += _describe(index, looks)
        ok = ok and not any(look.problem for look in looks)
        if kind in WITH_BOXES and split != "train":
            boxes = _look_at_boxes(spec, split)
            lines += boxes.lines
            ok = ok and boxes.ok
        # The first of equal images stands for all of them.
        seen[split] = {
            look.digest: name for look, name in zip(looks[::-1], index.ids[::-1], strict=True) if look.digest
        }
    for one, other in combinations(seen, 2):
        lines += _shared(one, seen[one], other, seen[other])
    return CheckReport(lines, ok)


def _check_voc(spec: str, workers: int) -> CheckReport:
    """The same of images with objects; splits are not compared, since trainval holds train and val."""
    try:
        splits = voc_splits(spec)
    except InputError as error:
        return CheckReport([f"error: {error}"], ok=False)
    lines: list[str] = []
    ok = True
    for split in splits:
        try:
            index = open_voc(spec, split)
        except InputError as error:
            lines.append(f"error: {error}")
            ok = False
            continue
        looks = _look_at_all(index.images(), workers)
        counts = np.bincount(index.labels, minlength=len(index.classes))
        fewest, most = int(counts.argmin()), int(counts.argmax())
        lines += [
            f"{split}: {len(index):,} images, {len(index.labels):,} objects ({int(index.difficult.sum()):,} difficult) in "
            f"{len(index.classes):,} classes, {counts[fewest]:,} ({index.classes[fewest]}) to {counts[most]:,} "
            f"({index.classes[most]}) a class",
            f"  sizes: {_sizes(Counter(look.size for look in looks if look.size))}",
            *_broken(index.ids, looks),
        ]
        ok = ok and not any(look.problem for look in looks)
    return CheckReport(lines, ok)


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


def _describe(index: ImageIndex, looks: list[_Look]) -> list[str]:
    counts = np.bincount(index.labels, minlength=len(index.classes))
    fewest, most = int(counts.argmin()), int(counts.argmax())
    per_class = f"{counts[fewest]:,}"
    if counts[fewest] != counts[most]:
        per_class += f" ({index.classes[fewest]}) to {counts[most]:,} ({index.classes[most]})"
    lines = [
        f"{index.split}: {len(index):,} images in {len(index.classes):,} classes, {per_class} a class",
        f"  classes: {_some(index.classes)}",
        f"  sizes: {_sizes(Counter(look.size for look in looks if look.size))}",
    ]
    return lines + _broken(index.ids, looks)


def _broken(ids: list[str], looks: list[_Look]) -> list[str]:
    broken = [f"{name} ({look.problem})" for name, look in zip(ids, looks, strict=True) if look.problem]
    return [f"  error: {len(broken):,} cannot be read: {_some(broken)}"] if broken else []


def _look_at_boxes(spec: str, split: str) -> CheckReport:
    lines: list[str] = []
    try:
        found = open_localisation(spec, split, warn=lines.append)
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
