"""Pascal VOC's annotations: the XML of one image, read safely and checked against the image."""

import math
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from PIL import Image, UnidentifiedImageError

from eval_suite.core.errors import InputError, first_line, unknown_name


class VocObject(NamedTuple):
    """An object: x0 y0 x1 y1 counted from pixel 0 with both corners inside, and its class's label."""

    box: tuple[float, float, float, float]
    label: int
    difficult: bool


class Annotated(NamedTuple):
    """An image with its objects; ``size`` is width and height in pixels."""

    id: str
    path: Path
    size: tuple[int, int]
    objects: list[VocObject]


def read_annotation(root: Path, year: str, stem: str, number: dict[str, int]) -> Annotated:
    """The objects of one image, after a look at the image's own size.

    Args:
        root: the devkit.
        year: such as ``VOC2007``.
        stem: the image's name in its split.
        number: labels of the classes by name.

    Raises:
        InputError: if the annotation is missing, unsafe, incomplete or does not fit its image.
    """
    file = root / year / "Annotations" / f"{stem}.xml"
    tree = _parse(file)
    name = (tree.findtext("filename") or f"{stem}.jpg").strip()
    require_plain(name, file)
    size = (int(_value(tree, "size/width", file)), int(_value(tree, "size/height", file)))
    path = root / year / "JPEGImages" / name
    _require_image(path, size, file)
    objects = [_object(node, size, number, file) for node in tree.iterfind("object")]
    return Annotated(f"{year}/{stem}", path, size, objects)


def require_plain(name: str, file: Path) -> None:
    """Refuse a name that could lead out of the folder it is looked up in.

    Raises:
        InputError: naming the file that holds it.
    """
    if Path(name).name != name or name in (".", "..") or "\\" in name or "\0" in name:
        raise InputError(
            f"refused {file}: '{name[:60]}' is no plain file name and could leave the data's folder"
        )


class _SafeBuilder(ElementTree.TreeBuilder):
    """Builds the tree of a document without a type declaration: none can define entities or name other files."""

    def doctype(self, _name: str, _public: str | None, _system: str | None) -> None:
        raise InputError("a document type declaration, which could expand entities or name other files")


def _parse(file: Path) -> ElementTree.Element:
    try:
        parser = ElementTree.XMLParser(target=_SafeBuilder())
        parser.feed(file.read_bytes())
        root: ElementTree.Element = parser.close()
    except FileNotFoundError:
        raise InputError(
            f"expected an annotation at {file}, found none; every image of a split needs one"
        ) from None
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror or first_line(error)}") from None
    except ElementTree.ParseError as error:
        raise InputError(f"expected XML in {file}, found: {first_line(error)}") from None
    except InputError as error:
        raise InputError(
            f"refused {file}: it holds {error}; VOC's annotations have none, remove it"
        ) from None
    return root


def _object(
    node: ElementTree.Element, size: tuple[int, int], number: dict[str, int], file: Path
) -> VocObject:
    name = (node.findtext("name") or "").strip()
    if name not in number:
        raise InputError(f"{file}: {unknown_name('class', name, number)}")
    x0, y0, x1, y1 = (_value(node, f"bndbox/{side}", file) for side in ("xmin", "ymin", "xmax", "ymax"))
    width, height = size
    if not (1 <= x0 <= x1 <= width and 1 <= y0 <= y1 <= height):
        raise InputError(
            f"expected a box within 1..{width} x 1..{height}, xmin <= xmax and ymin <= ymax, for '{name}' in {file}, "
            f"found {x0:g} {y0:g} {x1:g} {y1:g}; correct the annotation"
        )
    difficult = (node.findtext("difficult") or "0").strip() == "1"
    return VocObject((x0 - 1, y0 - 1, x1 - 1, y1 - 1), number[name], difficult)


def _value(node: ElementTree.Element, path: str, file: Path) -> float:
    text = (node.findtext(path) or "").strip()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"expected a number as {path} in {file}, found '{text[:40]}'")
    return value


def _require_image(path: Path, size: tuple[int, int], file: Path) -> None:
    try:
        with Image.open(path) as image:
            found = image.size
    except FileNotFoundError:
        raise InputError(f"expected the image of {file} at {path}, found none") from None
    except (OSError, UnidentifiedImageError):
        return  # a broken file is counted, or refused, where it is decoded
    if found != size:
        raise InputError(
            f"expected an image of {size[0]} x {size[1]} pixels at {path}, as {file} says, "
            f"found {found[0]} x {found[1]}; correct one of the two"
        )
