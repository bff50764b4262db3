"""XML files that people and tools wrote: read safely, whatever encoding they are in."""

import codecs
import re
from pathlib import Path
from typing import TYPE_CHECKING

from eval_suite.core.errors import InputError, first_line
from eval_suite.core.files import read_file

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_LARGEST = 1_000_000
_DECLARED = re.compile(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._:-]+)["']""")
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
CORNERS = ("bndbox/xmin", "bndbox/ymin", "bndbox/xmax", "bndbox/ymax")
"""Where the box of an object stands below it, x0 y0 x1 y1."""
_ONCE = ("name", "bndbox", "difficult", *CORNERS)
UNREADABLE = "\ufffd"
"""Stands in texts for bytes that the file's encoding does not have."""


def read_xml(file: Path) -> "Element":
    """The root of a document, its names without namespaces.

    The encoding is that of the byte order mark, else the declared one, else UTF-8, also where the declared one is
    unknown. Bytes that do not fit become `UNREADABLE`: whoever needs such a text has to refuse it.

    Raises:
        InputError: if there is no such file, it is no XML, larger than a megabyte, or holds a document type declaration,
            by which it could define entities that expand without end or name other files.
    """
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import ParseError, XMLParser

    try:
        size = file.stat().st_size
        if size > _LARGEST:
            raise InputError(expected=f"XML of at most {_LARGEST:,} bytes", where=file, found=f"{size:,}")
        content = read_file(file)
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror or first_line(error)}") from None
    try:
        parser = XMLParser(forbid_dtd=True)
        parser.feed(_decoded(content))  # a text: a declared encoding no longer counts then
        root: Element = parser.close()
    except DefusedXmlException:
        raise InputError(
            f"refused {file}: it holds a document type declaration, which could expand entities or name other files; "
            "annotations need none, remove it"
        ) from None
    except ParseError as error:
        raise InputError(expected="XML", where=file, found=first_line(error)) from None
    for node in root.iter():
        node.tag = node.tag.rpartition("}")[2]
    return root


def several_boxes(node: "Element", file: Path) -> str | None:
    """What is wrong with an object that has something several times which it can have once; None where nothing is."""
    path = next((path for path in _ONCE if len(node.findall(path)) > 1), None)
    if path is None:
        return None
    found = len(node.findall(path))
    return f"expected one {path} for each object in {file}, found {found}; write an object for each box"


def _decoded(content: bytes) -> str:
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), None)
    if encoding is None:
        declared = _DECLARED.match(content)
        encoding = declared[1].decode() if declared else "utf-8"
    try:
        return content.decode(encoding, "replace")
    except LookupError:
        return content.decode("utf-8", "replace")
