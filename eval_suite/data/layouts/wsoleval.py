"""Data in the text files of the evaluation paper's code (Choe et al., CVPR 2020): wsolevaluation's metadata."""

from functools import partial
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError
from eval_suite.data.layouts.base import Content, ImageLayout, Layout, Located, MaskFiles, listing
from eval_suite.data.metadata import Row, inside, numbers, read_rows, require_files

_SPLITS = {"train": "train", "train-weaksup": "train", "val": "val", "train-fullsup": "val", "test": "test"}
_IDS = "image_ids.txt"
_LABELS = "class_labels.txt"
_Value = TypeVar("_Value")


class WsolEval(ImageLayout):
    """PATH with a folder of text files for each split, and the images."""

    name: ClassVar[str] = "wsoleval"
    boxes: ClassVar[bool] = True

    @staticmethod
    def read(path: Path) -> Layout:
        """PATH with a folder of text files for each split, and the images.

        The text files (image_ids.txt, class_labels.txt, image_sizes.txt, localization.txt) lie in PATH/metadata/<split>/ or
        PATH/<split>/, where the split's folder is called train, val or test, or as the paper calls them train-weaksup,
        train-fullsup and test. The images are looked for in PATH/images/, PATH/dataset/ and, for PATH = .../metadata/<set> of
        the published tree, in .../dataset/<set>/; else next to the splits' folders.

        Raises:
            InputError: if there is no such folder.
        """
        for base in (path / "metadata", path):
            found = {name: base / name for name in _SPLITS if (base / name / _IDS).is_file()}
            if found:
                root = _image_root(path, base)
                splits = {_SPLITS[name]: folder for name, folder in found.items()}
                return Layout(
                    {name: partial(_content, path, splits, root, name) for name in splits},
                    ("test", "val"),
                    partial(_locate, splits, root),
                )
        raise InputError(
            expected=f"metadata/<split>/{_IDS} or <split>/{_IDS} in {path}, where <split> is one of {', '.join(_SPLITS)}",
            found=f"{listing(path)}",
        )


def _image_root(path: Path, _base: Path) -> Path:
    real = path.resolve()
    published = real.parent.parent / "dataset" / real.name if real.parent.name == "metadata" else None
    for place in (path / "images", path / "dataset", published):
        if place is not None and place.is_dir():
            return place
    return path


def _content(path: Path, splits: dict[str, Path], root: Path, split: str) -> Content:
    source = splits[split] / _IDS
    ids = [inside(row.fields[0], source) for row in read_rows(source, 1, "path")]
    if not ids or len(set(ids)) != len(ids):
        raise InputError(
            expected="each image once", where=source, found=f"{('one twice' if ids else 'none')}"
        )
    labels_of = {name: _labels(folder) for name, folder in splits.items()}
    own = labels_of[split]
    labels = np.array([_of(own, name, source.with_name(_LABELS)) for name in ids], np.int64)
    require_files(root, ids, source)
    files = [str(_relative(path, root) / name) for name in ids]
    return Content(_classes(list(labels_of.values())), ids, labels, files=files)


def _labels(folder: Path) -> dict[str, int]:
    source = folder / _LABELS
    found = {}
    for row in read_rows(source, 2, "path,class", separator=","):
        name, label = row.fields
        if not label.strip().isdecimal():
            raise InputError(
                expected=f"a whole number as class in line {row.number} of {source}", found=f"'{label[:40]}'"
            )
        found[name] = int(label)
    return found


def _classes(splits: list[dict[str, int]]) -> list[str]:
    """The names of the classes' folders where each class has one of its own, else their numbers."""
    held: dict[int, set[str]] = {}
    for labels in splits:
        for name, label in labels.items():
            held.setdefault(label, set()).add(Path(name).parent.name)
    count = max(held) + 1
    single = [next(iter(held[i])) for i in range(count) if len(held.get(i, ())) == 1]
    if len(set(single)) == count and all(single):
        return single
    return [str(i) for i in range(count)]


def _locate(splits: dict[str, Path], root: Path, split: str, content: Content) -> Located:
    folder = splits[split]
    source = folder / "localization.txt"
    rows = list(read_rows(source, 2, "path,x0,y0,x1,y1 or path,mask,ignore", separator=","))
    sizes_file = folder / "image_sizes.txt"
    size_of = {
        row.fields[0]: numbers(row, sizes_file, row.fields[1:])
        for row in read_rows(sizes_file, 3, "path,width,height", separator=",")
    }
    sizes = np.array([_of(size_of, name, sizes_file) for name in content.ids]).astype(np.int64)
    if (sizes < 1).any():
        name = content.ids[int((sizes < 1).any(axis=1).argmax())]
        raise InputError(
            expected="sizes of at least one pixel", where=sizes_file, found=f"another for '{name}'"
        )
    if rows and rows[0].fields[1].count(",") == 3:
        return Located(_boxes(rows, source, content), sizes, None, source)
    empty = [np.zeros((0, 4))] * len(content.ids)
    return Located(empty, sizes, _masks(rows, source, root, content), source)


def _boxes(rows: list[Row], source: Path, content: Content) -> list[NDArray[np.float64]]:
    boxes_of: dict[str, list[list[float]]] = {}
    for row in rows:
        values = row.fields[1].split(",")
        if len(values) != 4:
            raise InputError(
                expected=f"'path,x0,y0,x1,y1' in line {row.number} of {source}",
                found=f"'{','.join(row.fields)[:80]}'",
            )
        boxes_of.setdefault(row.fields[0], []).append(numbers(row, source, values))
    return [np.array(boxes_of.get(name, []), np.float64).reshape(-1, 4) for name in content.ids]


def _masks(rows: list[Row], source: Path, root: Path, content: Content) -> list[MaskFiles]:
    instances: dict[str, list[str]] = {}
    ignored: dict[str, str] = {}
    for row in rows:
        name = row.fields[0]
        mask, _, ignore = row.fields[1].partition(",")
        instances.setdefault(name, []).append(inside(mask, source))
        if ignore:
            ignored[name] = inside(ignore, source)
    named = [file for files in instances.values() for file in files]
    require_files(root, named + list(ignored.values()), source)
    return [
        MaskFiles(
            [root / file for file in _of(instances, name, source)],
            root / ignored[name] if name in ignored else None,
        )
        for name in content.ids
    ]


def _of(table: dict[str, _Value], name: str, source: Path) -> _Value:
    if name not in table:
        raise InputError(expected=f"a line for '{name}'", where=source, found="none")
    return table[name]


def _relative(path: Path, root: Path) -> Path:
    return root.relative_to(path) if root.is_relative_to(path) else root
