"""ILSVRC's boxes: ImageNet's folders of images with LOC_<split>_solution.csv or the published XML next to them."""

from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError
from eval_suite.data.layouts.base import Content, ImageLayout, Layout, Located
from eval_suite.data.layouts.imagenet import ImageNet, base_folder, solution_places
from eval_suite.data.metadata import read_csv
from eval_suite.data.xml_files import CORNERS, read_xml, several_boxes


class Ilsvrc(ImageLayout):
    """Images as `open_imagenet` reads them, with boxes."""

    name: ClassVar[str] = "ilsvrc"
    boxes: ClassVar[bool] = True

    @staticmethod
    def read(path: Path) -> Layout:
        """Images as `open_imagenet` reads them, with boxes.

        Boxes come from LOC_<split>_solution.csv where `open_imagenet` looks for it, or else from <split>/**/<image>.xml in
        PATH/Annotations/CLS-LOC, PATH/Annotations, PATH/bbox or, for PATH = .../Data/CLS-LOC, .../Annotations/CLS-LOC. Only
        those of the image's own class count.

        Raises:
            InputError: as `open_imagenet` does.
        """
        return ImageNet.read(path)._replace(locate=partial(_locate, base_folder(path)))


def _locate(path: Path, split: str, content: Content) -> Located:
    table = next((place for place in solution_places(path, split) if place.is_file()), None)
    if table is not None:
        return Located(_from_table(table, content), None, None, table)
    real = path.resolve()
    places = [path / "Annotations" / "CLS-LOC", path / "Annotations", path / "bbox"]
    places.append(real.parent.parent / "Annotations" / "CLS-LOC")
    folder = next((place / split for place in places if (place / split).is_dir()), None)
    if folder is None:
        raise InputError(
            expected=f"LOC_{split}_solution.csv or Annotations/CLS-LOC/{split}/ with the boxes of {path}",
            found="neither",
        )
    return Located(_from_xml(folder, content), None, None, folder)


def _from_table(table: Path, content: Content) -> list[NDArray[np.float64]]:
    said: dict[str, list[str]] = {}
    for row in read_csv(table):
        if len(row) == 2:
            said[row[0]] = row[1].split()
    boxes = []
    for name, label in zip(content.ids, content.labels, strict=True):
        words = said.get(Path(name).stem, [])
        groups = [words[i : i + 5] for i in range(0, len(words), 5)]
        try:
            own = [
                [float(word) for word in group[1:]] for group in groups if group[0] == content.classes[label]
            ]
            found = np.array(own, np.float64).reshape(-1, 4)
        except ValueError:
            found = np.full((1, 4), np.nan)
        if not np.isfinite(found).all():
            raise InputError(
                expected=f"'wnid x0 y0 x1 y1' for each object of {Path(name).stem}",
                where=table,
                found=f"'{' '.join(words)[:80]}'",
            )
        boxes.append(found)
    return boxes


def _from_xml(folder: Path, content: Content) -> list[NDArray[np.float64]]:
    boxes = []
    for name, label in zip(content.ids, content.labels, strict=True):
        wnid = content.classes[label]
        stem = Path(name).stem
        place = next(
            (file for file in (folder / f"{stem}.xml", folder / wnid / f"{stem}.xml") if file.is_file()), None
        )
        boxes.append(np.zeros((0, 4)) if place is None else _boxes_in(place, wnid))
    return boxes


def _boxes_in(file: Path, wnid: str) -> NDArray[np.float64]:
    """The boxes of one class in an annotation."""
    objects = read_xml(file).findall("object")
    if (defect := next(filter(None, (several_boxes(item, file) for item in objects)), None)) is not None:
        raise InputError(defect)
    corners = [
        [item.findtext(corner, "nan") for corner in CORNERS]
        for item in objects
        if item.findtext("name") == wnid
    ]
    try:
        boxes = np.array(corners, np.float64).reshape(-1, 4)
    except ValueError:
        boxes = np.full((1, 4), np.nan)
    if not np.isfinite(boxes).all():
        raise InputError(
            expected=f"a box of numbers for every '{wnid}'", where=file, found="an object without one"
        )
    return boxes
