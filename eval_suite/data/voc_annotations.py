"""Pascal VOC's annotations: the XML of one image, checked against the image, with every defect and all that was assumed."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from eval_suite.core.errors import InputError
from eval_suite.core.files import require_regular
from eval_suite.data.decoding import FORMATS
from eval_suite.data.xml_files import CORNERS, UNREADABLE, read_xml, several_boxes

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_DIFFICULT = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "": False}
_ORIENTATION = 274  # EXIF tag; from 5 on, width and height change places
_SLACK = 1.0  # pixels that a box may reach outside its image, as rounding and counting from 0 leave it


class VocObject(NamedTuple):
    """An object: x0 y0 x1 y1 counted from pixel 0 with both corners inside, its class's name, and whether it is difficult."""

    box: tuple[float, float, float, float]
    name: str
    difficult: bool


class Annotated(NamedTuple):
    """The objects of an image, and its ``size``: width and height in pixels, zeros where neither file tells.

    ``changes`` tells what was assumed or corrected, in sentences that are counted over a split; ``defects`` why the
    annotation cannot be used.
    """

    size: tuple[int, int]
    objects: list[VocObject]
    changes: list[str]
    defects: list[str]


def read_annotation(file: Path, image: Path) -> Annotated:
    """The objects of one image, after a look at the image's own size.

    A box up to a pixel outside the image is cut off at its edge. Where the annotation tells no size, the image does.

    Args:
        file: the annotation.
        image: the image it is of, which need not be readable.
    """
    if not file.is_file():
        defect = f"expected an annotation at {file}, found none; an image without objects needs an empty one"
        return Annotated((0, 0), [], [], [defect])
    try:
        tree = read_xml(file)
    except InputError as error:
        return Annotated((0, 0), [], [], [str(error)])
    changes: list[str] = []
    defects: list[str] = []
    named = (tree.findtext("filename") or "").strip().replace("\\", "/").rpartition("/")[2]
    if named and not _same_image(named, image):
        changes.append("annotations name another image in <filename>; that of the split's line was taken")
    size = _size(tree, file, image, changes, defects)
    objects = [_object(node, size, file, changes, defects) for node in tree.iterfind("object")]
    return Annotated(size, [each for each in objects if each], changes, defects)


def class_names(file: Path) -> list[str]:
    """The class of each object in an annotation; none where it cannot be read, which `read_annotation` words."""
    try:
        return [(node.findtext("name") or "").strip() for node in read_xml(file).iterfind("object")]
    except InputError:
        return []


def _same_image(named: str, image: Path) -> bool:
    # Other suffixes and missing ones are leftovers of a conversion: the stem names the image.
    return named.casefold() in (image.name.casefold(), image.stem.casefold()) or (
        Path(named).stem.casefold() == image.stem.casefold()
    )


def _size(
    tree: "Element", file: Path, image: Path, changes: list[str], defects: list[str]
) -> tuple[int, int]:
    width, height = (_number(tree, f"size/{side}") for side in ("width", "height"))
    given = (int(width), int(height)) if width > 0 and height > 0 else (0, 0)
    try:
        with Image.open(require_regular(image), formats=FORMATS) as opened:
            size, turned = opened.size, opened.getexif().get(_ORIENTATION, 1)
    except FileNotFoundError:
        defects.append(f"expected the image of {file} at {image}, found none")
        return given
    except Exception:  # noqa: BLE001 - a broken file is counted, or refused, where it is decoded
        return given
    if given == (0, 0):
        changes.append("annotations have no <size>; the image's own was taken")
    elif given != size:
        upright = turned in (5, 6, 7, 8) and given == size[::-1]
        remedy = "store the image as its EXIF tag turns it" if upright else "correct one of the two"
        defects.append(
            f"expected an image of {given[0]} x {given[1]} pixels at {image}, as {file} says, found {size[0]} x {size[1]}; {remedy}"
        )
    if turned != 1:
        changes.append("images have an EXIF orientation, which is not applied: boxes count in stored pixels")
    return size


def _object(
    node: "Element", size: tuple[int, int], file: Path, changes: list[str], defects: list[str]
) -> VocObject | None:
    if (defect := several_boxes(node, file)) is not None:
        defects.append(defect)
        return None
    name = (node.findtext("name") or "").strip()
    if not name or UNREADABLE in name:
        found = f"'{name}', which is not in its encoding" if name else "none"
        defects.append(f"expected the name of a class for every object in {file}, found {found}")
        return None
    corners = [_number(node, side) for side in CORNERS]
    wrong = next((side for side, value in zip(CORNERS, corners, strict=True) if math.isnan(value)), None)
    if wrong is not None:
        text = node.findtext(wrong)
        found = (
            f"'{text.strip()[:40]}'" if text is not None else "none; polygons and turned boxes are not read"
        )
        defects.append(f"expected a number as {wrong} for '{name}' in {file}, found {found}")
        return None
    width, height = size if size != (0, 0) else (math.inf, math.inf)
    x0, y0, x1, y1 = corners
    inside = max(x0, 1.0), max(y0, 1.0), min(x1, width), min(y1, height)
    moved = max(abs(a - b) for a, b in zip(inside, corners, strict=True))
    if moved > _SLACK or inside[0] > inside[2] or inside[1] > inside[3]:
        defects.append(
            f"expected a box within 1..{width} x 1..{height}, xmin <= xmax and ymin <= ymax, for '{name}' in {file}, "
            f"found {x0:g} {y0:g} {x1:g} {y1:g}; correct the annotation"
        )
        return None
    if min(x0, y0) < 1:
        changes.append(
            "boxes begin before pixel 1, from which VOC counts, and were cut off there; if all are counted from 0, "
            "add 1 to every corner, or they lie one pixel too far left and up"
        )
    if x1 > width or y1 > height:
        changes.append("boxes end up to a pixel outside their image and were cut off there")
    said = (node.findtext("difficult") or "").strip().lower()
    if said not in _DIFFICULT:
        changes.append(f"objects have '{said[:20]}' as <difficult>; taken as not difficult")
    box = (inside[0] - 1, inside[1] - 1, inside[2] - 1, inside[3] - 1)
    return VocObject(box, name, _DIFFICULT.get(said, False))


def _number(node: "Element", path: str) -> float:
    """A finite number, or NaN where there is none."""
    try:
        value = float((node.findtext(path) or "").strip())
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan
