"""COCO's captions: the annotation files of 2014 and 2017 and the Karpathy split, as images with their captions."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eval_suite.core.errors import InputError
from eval_suite.data.images import ImageIndex
from eval_suite.data.json_files import list_of_objects, read_json, text_of, whole_number
from eval_suite.data.metadata import inside

KIND = "coco"
KARPATHY_FILE = "dataset_coco.json"
_KARPATHY = {
    "karpathy-train": ("train", "restval"),
    "karpathy-val": ("val",),
    "karpathy-test": ("test",),
}
_TRAINED_ON = {
    "val2014": "train2014",
    "val2017": "train2017",
    "karpathy-val": "karpathy-train",
    "karpathy-test": "karpathy-train",
}
_EVALUATE = ("val2014", "val2017", "karpathy-test")
_NAMED = 3


@dataclass(frozen=True, eq=False)
class CaptionSet:
    """Images with their captions, before anything is decoded.

    ``image_ids`` are COCO's, each once. ``files`` (relative to ``root``) are the images, empty texts where the
    annotations name none. Each image has one caption or more; ``notes`` tells what was left out to make it so.
    """

    name: str
    spec: str
    split: str
    root: Path
    image_ids: list[int]
    files: list[str]
    captions: list[list[str]]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of images."""
        return len(self.image_ids)

    def subset(self, limit: int | None) -> "CaptionSet":
        """``limit`` images spread evenly over the split; all of them for None or a larger limit."""
        if limit is None or limit >= len(self):
            return self
        return self.select(np.linspace(0, len(self) - 1, limit).round().astype(int).tolist())

    def select(self, positions: Iterable[int]) -> "CaptionSet":
        """The images at these places."""
        chosen = list(positions)
        return replace(
            self,
            image_ids=[self.image_ids[i] for i in chosen],
            files=[self.files[i] for i in chosen],
            captions=[self.captions[i] for i in chosen],
        )

    def images(self) -> ImageIndex:
        """The images alone, as the loaders read them; their labels say nothing."""
        return ImageIndex(
            name=self.name,
            spec=self.spec,
            split=self.split,
            classes=["image"],
            ids=list(self.files),
            labels=np.zeros(len(self), np.int64),
            root=self.root,
            paths=[self.root / file for file in self.files],
            pixels=None,
        )

    def sha256(self) -> str:
        """Hash of ids, files and captions, and of the size of every image file."""
        text = json.dumps([self.image_ids, self.captions], ensure_ascii=True)
        digest = hashlib.sha256(text.encode())
        if any(self.files):
            digest.update(self.images().sha256().encode())
        return digest.hexdigest()


def open_captions(spec: str, split: str | None = None) -> CaptionSet:
    """Index one split of a COCO folder.

    Args:
        spec: ``coco:PATH``, where PATH holds ``annotations/captions_<split>.json`` and the folder ``<split>`` of
            images (here or in ``images/``) for train2014, val2014, train2017 or val2017, and perhaps Karpathy's
            ``dataset_coco.json`` (here or in ``annotations/``), which gives karpathy-train (with restval),
            karpathy-val and karpathy-test.
        split: an existing split; None takes the first of val2014, val2017, karpathy-test that is there.

    Raises:
        InputError: if the folder holds no such file, the split is absent, or a file does not hold what it should.
    """
    path = caption_path(spec)
    chosen = split or evaluation_split(spec)
    file = split_file(spec, chosen)
    if chosen in _KARPATHY:
        entries = _read_karpathy(file, _KARPATHY[chosen])
        folder = _image_root(path, sorted({name.split("/")[0] for _, name, _ in entries}))
    else:
        entries = [
            _Entry(e.image_id, f"{chosen}/{e.file}" if e.file else "", e.captions) for e in _read_coco(file)
        ]
        folder = _image_root(path, [chosen])
    nameless = [str(entry.image_id) for entry in entries if not entry.file]
    if nameless:
        raise InputError(
            f"expected a 'file_name' for every image in {file}, found none for {_some(nameless)}"
        )
    return _caption_set(entries, name=path.resolve().name, spec=spec, split=chosen, root=folder, source=file)


def evaluation_split(spec: str) -> str:
    """The split of ``coco:PATH`` to evaluate on where none is named.

    Raises:
        InputError: if there is none.
    """
    there = caption_splits(spec)
    chosen = next((name for name in _EVALUATE if name in there), None)
    if chosen is None:
        raise InputError(
            f"expected a split to evaluate on ({', '.join(_EVALUATE)}) in {spec}, found: {', '.join(there)}"
        )
    return chosen


def training_split(split: str) -> str | None:
    """The split whose captions a model is fitted to before it is evaluated on another, None where unknown."""
    return _TRAINED_ON.get(split)


def read_references(truth: str, split: str | None = None) -> CaptionSet:
    """Captions to score against.

    Args:
        truth: ``coco:PATH``, or a captions file of COCO's layout, whose images need no names.
        split: split of a ``coco:PATH``.

    Raises:
        InputError: if there is neither.
    """
    if truth.startswith(f"{KIND}:"):
        return open_captions(truth, split)
    path = Path(truth).expanduser()
    if not path.is_file():
        raise InputError(f"expected {KIND}:PATH or a captions file (JSON) as ground truth, found '{truth}'")
    return _caption_set(
        _read_coco(path), name=path.stem, spec=truth, split=split or "unknown", root=path.parent, source=path
    )


def caption_path(spec: str) -> Path:
    """The PATH of ``coco:PATH``, which need not be there.

    Raises:
        InputError: if the text is none.
    """
    kind, colon, text = spec.partition(":")
    if kind != KIND or not colon or not text:
        raise InputError(f"expected captions as {KIND}:PATH, found '{spec}'")
    return Path(text).expanduser()


def caption_splits(spec: str) -> dict[str, Path]:
    """The splits of a COCO folder, each with the file its captions stand in.

    Raises:
        InputError: if there is none.
    """
    path = caption_path(spec)
    if not path.is_dir():
        raise InputError(f"expected a folder with annotations/ at {path}, found none; check {KIND}:PATH")
    names = ("train2014", "val2014", "train2017", "val2017")
    files = {name: path / "annotations" / f"captions_{name}.json" for name in names}
    found = {name: file for name, file in files.items() if file.is_file()}
    karpathy = next(
        (f for f in (path / KARPATHY_FILE, path / "annotations" / KARPATHY_FILE) if f.is_file()), None
    )
    if karpathy is not None:
        found |= dict.fromkeys(_KARPATHY, karpathy)
    if not found:
        raise InputError(
            f"expected annotations/captions_val2014.json (or train2014, train2017, val2017) or {KARPATHY_FILE} in "
            f"{path}, found none of them; unpack COCO's annotations there"
        )
    return found


def split_file(spec: str, split: str) -> Path:
    """The file that the captions of a split stand in.

    Raises:
        InputError: if the folder has no such split.
    """
    there = caption_splits(spec)
    if split not in there:
        raise InputError(f"expected the split '{split}' in {spec}, found: {', '.join(there)}")
    return there[split]


class _Entry(NamedTuple):
    image_id: int
    file: str
    captions: list[str]


def _read_coco(path: Path) -> list[_Entry]:
    content = read_json(path)
    images = list_of_objects(content, "images", path)
    annotations = list_of_objects(content, "annotations", path)
    ids = [whole_number(image, "id", "images", path) for image in images]
    _require_each_once(ids, path)
    captions: dict[int, list[str]] = {image_id: [] for image_id in ids}
    strangers = Counter[int]()
    for annotation in annotations:
        image_id = whole_number(annotation, "image_id", "annotations", path)
        caption = text_of(annotation, "caption", f"the annotation of image {image_id}", path)
        if image_id in captions:
            captions[image_id].append(caption)
        else:
            strangers[image_id] += 1
    if strangers:
        raise InputError(
            f"{strangers.total():,} captions in {path} are of images that it does not list: {_some(map(str, strangers))}"
        )
    files = [str(image.get("file_name", "")) for image in images]
    return [
        _Entry(i, inside(file, path) if file else "", captions[i]) for i, file in zip(ids, files, strict=True)
    ]


def _read_karpathy(path: Path, parts: tuple[str, ...]) -> list[_Entry]:
    entries = []
    for image in list_of_objects(read_json(path), "images", path):
        if text_of(image, "split", "an image", path) not in parts:
            continue
        image_id = whole_number(image, "cocoid", "images", path)
        where = f"image {image_id}"
        folder, file = text_of(image, "filepath", where, path), text_of(image, "filename", where, path)
        sentences = list_of_objects(image, "sentences", path)
        name = inside(f"{folder}/{file}", path)
        entries.append(_Entry(image_id, name, [text_of(s, "raw", where, path) for s in sentences]))
    _require_each_once([entry.image_id for entry in entries], path)
    return entries


def _caption_set(
    entries: list[_Entry], *, name: str, spec: str, split: str, root: Path, source: Path
) -> CaptionSet:
    filled = [entry._replace(captions=[c for c in entry.captions if c.strip()]) for entry in entries]
    empty = sum(len(entry.captions) for entry in entries) - sum(len(entry.captions) for entry in filled)
    kept = [entry for entry in filled if entry.captions]
    bare = [str(entry.image_id) for entry in filled if not entry.captions]
    notes = []
    if empty:
        notes.append(f"{empty:,} empty captions in {source} were left out")
    if bare:
        notes.append(f"{len(bare):,} images in {source} have no caption and were left out: {_some(bare)}")
    if not kept:
        raise InputError(f"expected images with captions in {source} (split '{split}'), found none")
    return CaptionSet(
        name=name,
        spec=spec,
        split=split,
        root=root,
        image_ids=[entry.image_id for entry in kept],
        files=[entry.file for entry in kept],
        captions=[entry.captions for entry in kept],
        notes=tuple(notes),
    )


def _require_each_once(ids: list[int], path: Path) -> None:
    twice = [str(image_id) for image_id, count in Counter(ids).items() if count > 1]
    if twice:
        raise InputError(f"expected each image once in {path}, found more than once: {_some(twice)}")


def _image_root(path: Path, folders: list[str]) -> Path:
    """Where the folders of images lie: in PATH or in PATH/images."""
    inside = path / "images"
    return inside if all((inside / name).is_dir() for name in folders) else path


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:_NAMED]) + (f", ... ({len(listed):,} in all)" if len(listed) > _NAMED else "")
