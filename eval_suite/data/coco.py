"""Images with their captions: COCO's annotation files, Karpathy's splits of COCO and Flickr, and own files in either form."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from eval_suite.core.errors import InputError
from eval_suite.data.images import ImageIndex, spread, unlabelled
from eval_suite.data.json_files import image_id, list_of_objects, read_json, text_of
from eval_suite.data.metadata import inside

KIND = "coco"
_KARPATHY_FILES = ("dataset_coco.json", "dataset_flickr8k.json", "dataset_flickr30k.json")
_KARPATHY = {
    "karpathy-train": ("train", "restval"),
    "karpathy-val": ("val",),
    "karpathy-test": ("test",),
}
_YEARS = ("train2014", "val2014", "train2017", "val2017")
_EVALUATE = ("val2014", "val2017", "karpathy-test", "test", "val", "valid", "validation")
_NAMED = 3


@dataclass(frozen=True, eq=False)
class CaptionSet:
    """Images with their captions, before anything is decoded.

    ``image_ids`` are those of the annotations, each once. ``files`` (relative to ``root``) are the images, empty texts where the
    annotations name none. Each image has one caption or more; ``notes`` tells what was left out to make it so.
    """

    name: str
    spec: str
    split: str
    root: Path
    image_ids: list[int | str]
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
        return self.select(spread(len(self), limit).tolist())

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
        paths = [self.root / file for file in self.files]
        return unlabelled(self.name, self.spec, self.split, list(self.files), paths, self.root)

    def sha256(self) -> str:
        """Hash of ids, files and captions, and of the size of every image file."""
        text = json.dumps([self.image_ids, self.captions], ensure_ascii=True)
        digest = hashlib.sha256(text.encode())
        if any(self.files):
            digest.update(self.images().sha256().encode())
        return digest.hexdigest()


def open_captions(spec: str, split: str | None = None) -> CaptionSet:
    """Index one split of a folder of captions.

    Args:
        spec: ``coco:PATH``, where PATH holds ``annotations/captions_<split>.json`` (or the same without ``annotations/``)
            and the images in ``<split>/``, ``images/<split>/`` or one folder for all; or Karpathy's ``dataset_coco.json``,
            ``dataset_flickr8k.json`` or ``dataset_flickr30k.json`` or an own ``dataset_<name>.json`` in that form, which
            gives karpathy-train (with restval), karpathy-val and karpathy-test; or is such a file itself.
        split: an existing split; None takes the first of val2014, val2017, karpathy-test, test, val that is there.

    Raises:
        InputError: if the folder holds no such file, the split is absent, or a file does not hold what it should.
    """
    path = caption_path(spec)
    chosen = split or evaluation_split(spec)
    file = split_file(spec, chosen)
    base = path.parent if path.is_file() else path
    if chosen in _KARPATHY:
        entries = _read_karpathy(file, _KARPATHY[chosen])
        root, files = _rooted(base, "", [entry.file for entry in entries])
    else:
        entries = _read_coco(file)
        nameless = [str(entry.image_id) for entry in entries if not entry.file]
        if nameless:
            raise InputError(
                expected="a 'file_name' for every image", where=file, found=f"none for {_some(nameless)}"
            )
        root, files = _rooted(base, chosen, [entry.file for entry in entries])
    entries = [entry._replace(file=name) for entry, name in zip(entries, files, strict=True)]
    return _caption_set(entries, name=path.resolve().stem, spec=spec, split=chosen, root=root, source=file)


def evaluation_split(spec: str) -> str:
    """The split of ``coco:PATH`` to evaluate on where none is named.

    Raises:
        InputError: if there is none.
    """
    there = list(caption_splits(spec))
    # Who names a file has chosen; a lone training split of a folder is not meant to be evaluated on.
    meant = "train" not in there[0] or caption_path(spec).is_file()
    alone = there[0] if len(there) == 1 and meant else None
    chosen = next((name for name in _EVALUATE if name in there), alone)
    if chosen is None:
        raise InputError(
            f"expected one of the splits {', '.join(_EVALUATE)} in {spec}, found: {', '.join(there)}; name one with --split"
        )
    return chosen


def training_split(evaluated: str) -> str | None:
    """The split that a decoder is fitted to where ``evaluated`` is evaluated on; None for one that has none."""
    for part in ("validation", "valid", "val", "test"):
        if part in evaluated and "train" not in evaluated:
            return evaluated.replace(part, "train")
    return None


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
        raise InputError(
            expected=f"{KIND}:PATH or a captions file (JSON) as ground truth", found=f"'{truth}'"
        )
    if _is_karpathy(path):
        return open_captions(f"{KIND}:{path}", split)
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
        raise InputError(expected=f"captions as {KIND}:PATH", found=f"'{spec}'")
    return Path(text).expanduser()


def caption_splits(spec: str) -> dict[str, Path]:
    """The splits of a folder of captions, each with the file its captions stand in.

    Raises:
        InputError: if there is none.
    """
    path = caption_path(spec)
    if path.is_file():
        if _is_karpathy(path):
            return dict.fromkeys(_KARPATHY, path)
        return {path.stem.removeprefix("captions_"): path}
    if not path.is_dir():
        raise InputError(
            expected=f"a folder with annotations/ at {path}", found="none", remedy=f"check {KIND}:PATH"
        )
    bases = [base for base in (path, path / "annotations") if base.is_dir()]
    named = {
        file.stem.removeprefix("captions_"): file for base in bases for file in base.glob("captions_*.json")
    }
    found = {name: named.pop(name) for name in _YEARS if name in named} | dict(sorted(named.items()))
    own = sorted(file.name for base in bases for file in base.glob("dataset_*.json"))
    karpathy = next(
        (base / name for name in (*_KARPATHY_FILES, *own) for base in bases if (base / name).is_file()), None
    )
    if karpathy is not None:
        found |= dict.fromkeys(_KARPATHY, karpathy)
    if not found:
        raise InputError(
            expected=f"annotations/captions_<split>.json, such as captions_val2014.json, or {' or '.join(_KARPATHY_FILES)}",
            where=path,
            found="none of them",
            remedy=f"unpack the annotations there, or name the file as {KIND}:FILE",
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
    image_id: int | str
    file: str
    captions: list[str]


def _is_karpathy(file: Path) -> bool:
    return file.name.startswith("dataset")


def _read_coco(path: Path) -> list[_Entry]:
    content = read_json(path)
    images = list_of_objects(content, "images", path)
    annotations = list_of_objects(content, "annotations", path)
    ids = [image_id(image, "id", "images", path) for image in images]
    _require_each_once(ids, path)
    captions: dict[int | str, list[str]] = {key: [] for key in ids}
    strangers = Counter[int | str]()
    for annotation in annotations:
        key = image_id(annotation, "image_id", "annotations", path)
        caption = text_of(annotation, "caption", f"the annotation of image {key}", path)
        if key in captions:
            captions[key].append(caption)
        else:
            strangers[key] += 1
    if strangers:
        raise InputError(
            f"{strangers.total():,} captions in {path} are of images that it does not list: {_some(map(str, strangers))}"
        )
    files = [
        "" if image.get("file_name") is None else text_of(image, "file_name", f"image {key}", path)
        for key, image in zip(ids, images, strict=True)
    ]
    return [
        _Entry(i, inside(file, path) if file else "", captions[i]) for i, file in zip(ids, files, strict=True)
    ]


def _read_karpathy(path: Path, parts: tuple[str, ...]) -> list[_Entry]:
    entries = []
    for image in list_of_objects(read_json(path), "images", path):
        if text_of(image, "split", "an image", path) not in parts:
            continue
        # Flickr's images have no id of COCO.
        key = image_id(image, "cocoid" if "cocoid" in image else "imgid", "images", path)
        where = f"image {key}"
        file = text_of(image, "filename", where, path)
        if "filepath" in image:
            file = f"{text_of(image, 'filepath', where, path)}/{file}"
        sentences = list_of_objects(image, "sentences", path)
        entries.append(_Entry(key, inside(file, path), [text_of(s, "raw", where, path) for s in sentences]))
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
        raise InputError(expected=f"images with captions in {source} (split '{split}')", found="none")
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


def _require_each_once(ids: list[int | str], path: Path) -> None:
    twice = [str(key) for key, count in Counter(ids).items() if count > 1]
    if twice:
        raise InputError(expected="each image once", where=path, found=f"more than once: {_some(twice)}")


def _rooted(path: Path, split: str, files: list[str]) -> tuple[Path, list[str]]:
    """The folder that the images lie below, found by the first of them, and their paths within it.

    They lie in a folder of the split's name, in PATH or in PATH/images; or without one in these or any folder of PATH.
    """
    within = [f"{split}/{file}" for file in files] if split else files
    inner = path / "images"
    places = [(inner, within), (path, within), (inner, files), (path, files)]
    places += [(folder, files) for folder in sorted(path.iterdir()) if folder.is_dir()]
    for root, names in places:
        if names and (root / names[0]).is_file():
            return root, names
    folders = {name.partition("/")[0] for name in within}
    return (inner if all((inner / name).is_dir() for name in folders) else path), within


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:_NAMED]) + (f", ... ({len(listed):,} in all)" if len(listed) > _NAMED else "")
