"""Pascal VOC's devkit: the splits of its years, and the objects of their images."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError, first_line
from eval_suite.core.predictions import About
from eval_suite.data.images import ImageIndex
from eval_suite.data.voc_annotations import read_annotation, require_plain

KIND = "voc"
CLASSES = [
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
]
JOINED = "+"
_SETS = ("trainval", "train", "val", "test")
_EVALUATE = ("test", "val")


@dataclass(frozen=True, eq=False)
class VocIndex:
    """Images of one or more splits with their objects, before anything is decoded.

    ``ids`` (n) such as ``VOC2007/000001`` are unique; ``sizes`` (n, 2) are width and height in pixels. The m objects
    lie in the order of their images: ``image`` (m,) says of which, ``boxes`` (m, 4) are x0 y0 x1 y1, counted from
    pixel 0 with both corners inside the object (VOC's own numbers minus one), ``labels`` (m,) count into ``classes``.
    """

    name: str
    spec: str
    split: str
    classes: list[str]
    ids: list[str]
    paths: list[Path]
    sizes: NDArray[np.int64]
    image: NDArray[np.int64]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    difficult: NDArray[np.bool_]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.ids)

    @property
    def names(self) -> list[str]:
        """The images' names within their year, such as ``000001``."""
        return [item.rpartition("/")[2] for item in self.ids]

    def subset(self, limit: int | None) -> "VocIndex":
        """The index of ``limit`` images spread evenly; all of them for None or a larger limit."""
        if limit is None or limit >= len(self):
            return self
        return self.select(np.linspace(0, len(self) - 1, limit).round().astype(np.int64))

    def select(self, positions: NDArray[np.integer]) -> "VocIndex":
        """The index of the images at some positions, each at most once, in their order here."""
        chosen = np.sort(positions)
        place = np.full(len(self), -1, np.int64)
        place[chosen] = np.arange(len(chosen))
        kept = place[self.image] >= 0
        return replace(
            self,
            ids=[self.ids[i] for i in chosen],
            paths=[self.paths[i] for i in chosen],
            sizes=self.sizes[chosen],
            image=place[self.image[kept]],
            boxes=self.boxes[kept],
            labels=self.labels[kept],
            difficult=self.difficult[kept],
        )

    def images(self) -> ImageIndex:
        """The images alone, as the readers of pictures take them; their labels say nothing."""
        return ImageIndex(
            name=self.name,
            spec=self.spec,
            split=self.split,
            classes=["image"],
            ids=self.ids,
            labels=np.zeros(len(self), np.int64),
            root=Path(),
            paths=self.paths,
            pixels=None,
        )

    def about(self, evaluated: "VocIndex", failed: list[str]) -> About:
        """What predictions say of this split when ``evaluated``, all of it or a subset, was predicted on."""
        return About(self.name, self.split, len(self), evaluated.sha256(), list(failed))

    def sha256(self) -> str:
        """Hash of classes, images, their sizes in pixels and bytes, and objects."""
        digest = hashlib.sha256()
        for words in (self.classes, self.ids):
            digest.update("\0".join(words).encode("utf-8", "surrogateescape") + b"\1")
        weights = np.array([path.stat().st_size if path.is_file() else -1 for path in self.paths], "<i8")
        for array, kind in ((self.sizes, "<i8"), (weights, "<i8"), (self.image, "<i8"), (self.labels, "<i8")):
            digest.update(array.astype(kind).tobytes())
        digest.update(self.boxes.astype("<f4").tobytes() + self.difficult.tobytes())
        return digest.hexdigest()


def open_voc(
    spec: str, split: str | None = None, *, purpose: Literal["train", "evaluate"] = "evaluate"
) -> VocIndex:
    """Index splits of a devkit, checking each annotation and the size of each image.

    Args:
        spec: ``voc:PATH``, where PATH holds ``VOC<year>/{JPEGImages,Annotations,ImageSets/Main}``, or does so in
            ``VOCdevkit``.
        split: ``VOC2007/test``, or several joined by ``+``. None takes every year's trainval for training, and for
            evaluation the first year's test, or else its val. Classes are those that ``ImageSets/Main`` has files
            ``<class>_<set>.txt`` for; without such files VOC's twenty.
        purpose: what the images are for.

    Raises:
        InputError: if the folder does not hold the layout, a split is absent or empty, or an annotation is unsafe,
            incomplete or does not fit its image.
    """
    root = _devkit(spec)
    there = _splits(root)
    chosen = split.split(JOINED) if split else _default_splits(spec, there, purpose)
    for name in chosen:
        if name not in there:
            raise InputError(f"{spec} has no split '{name}'; it has: {', '.join(there)}")
    classes = _classes(root)
    number = {name: label for label, name in enumerate(classes)}
    found = [read_annotation(root, year, stem, number) for year, stem in _members(root, chosen)]
    objects = [(i, each) for i, image in enumerate(found) for each in image.objects]
    return VocIndex(
        name=root.name if root.name != "VOCdevkit" else root.resolve().parent.name,
        spec=spec,
        split=JOINED.join(chosen),
        classes=classes,
        ids=[image.id for image in found],
        paths=[image.path for image in found],
        sizes=np.array([image.size for image in found], np.int64).reshape(-1, 2),
        image=np.array([i for i, _ in objects], np.int64),
        boxes=np.array([each.box for _, each in objects], np.float32).reshape(-1, 4),
        labels=np.array([each.label for _, each in objects], np.int64),
        difficult=np.array([each.difficult for _, each in objects], np.bool_),
    )


def voc_splits(spec: str) -> list[str]:
    """Names of the splits a devkit has, such as ``VOC2007/test``.

    Raises:
        InputError: if the folder does not hold the layout.
    """
    return _splits(_devkit(spec))


def voc_path(spec: str) -> Path:
    """The folder of ``voc:PATH``.

    Raises:
        InputError: if the text is none.
    """
    kind, colon, text = spec.partition(":")
    if kind != KIND or not colon or not text:
        raise InputError(f"expected boxes as {KIND}:PATH, found '{spec}'")
    return Path(text).expanduser()


def _devkit(spec: str) -> Path:
    path = voc_path(spec)
    for root in (path, path / "VOCdevkit"):
        if any(root.glob("VOC*/ImageSets/Main")):
            return root
    found = "no such folder" if not path.is_dir() else "none"
    raise InputError(
        f"expected VOC<year>/ImageSets/Main, Annotations and JPEGImages in {path}, found {found}; "
        f"check the path in {KIND}:PATH"
    )


def _splits(root: Path) -> list[str]:
    years = sorted(folder.parent.parent.name for folder in root.glob("VOC*/ImageSets/Main"))
    return [
        f"{year}/{name}"
        for year in years
        for name in _SETS
        if (root / year / "ImageSets" / "Main" / f"{name}.txt").is_file()
    ]


def _default_splits(spec: str, there: list[str], purpose: str) -> list[str]:
    if purpose == "train":
        chosen = [name for name in there if name.endswith("/trainval")]
        wanted = "trainval"
    else:
        chosen = [name for part in _EVALUATE for name in there if name.endswith(f"/{part}")][:1]
        wanted = " or ".join(_EVALUATE)
    if not chosen:
        raise InputError(f"expected a split {wanted} in {spec}, found: {', '.join(there) or 'none'}")
    return chosen


def _classes(root: Path) -> list[str]:
    """Classes in the order of their names, as VOC numbers its own."""
    found = set()
    for file in root.glob("VOC*/ImageSets/Main/*_*.txt"):
        name, _, part = file.stem.rpartition("_")
        if part in _SETS:
            found.add(name)
    return sorted(found) or list(CLASSES)


def _members(root: Path, splits: list[str]) -> Iterator[tuple[str, str]]:
    seen: set[tuple[str, str]] = set()
    for split in splits:
        year, _, name = split.partition("/")
        file = root / year / "ImageSets" / "Main" / f"{name}.txt"
        try:
            stems = [line.split()[0] for line in file.read_text("utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read {file}: {first_line(error)}") from None
        if not stems:
            raise InputError(f"expected names of images in {file}, found none; the split is empty")
        for stem in stems:
            require_plain(stem, file)
            if (year, stem) in seen:
                raise InputError(
                    f"expected each image once in {JOINED.join(splits)}, found '{stem}' twice ({file})"
                )
            seen.add((year, stem))
            yield year, stem
