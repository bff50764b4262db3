"""SVG of matplotlib as a part of the page: the page's colours and type, and no byte for what repeats."""

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from eval_suite.report.palette import PAGE_COLOURS

Element = ElementTree.Element
AXIS, INK = "#8c8c8c", "#5c5c5c"
SERIES = "series-"  # before the position of the backbone in the id of what belongs to it
_PAGE_COLOURS = {AXIS: "var(--axis)", INK: "var(--muted)", **PAGE_COLOURS}
_NUMBER = re.compile(r"-?\d+\.\d+")
_STEPS = 100  # to a point: no screen shows less


def svg_for_page(svg: str, key: str, label: str) -> str:
    """Fit an SVG file into a page: no prologue, no global style, unique ids, the page's colours and type.

    Args:
        svg: as matplotlib writes it.
        key: unique on the page; prefixes the ids.
        label: what people read who cannot see it.
    """
    root = ElementTree.fromstring(svg)
    referenced = dict.fromkeys(re.findall(r'(?:href="|url\()#([^")]+)', svg))
    ids = {identity: f"{key}-{number}" for number, identity in enumerate(referenced)}
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = dict(_attributes(element, ids))
        element.text = element.text if (element.text or "").strip() else None
        element.tail = None
    _gather_shapes(root)
    _simplify(root)
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": label}
    return ElementTree.tostring(root, encoding="unicode").replace(" />", "/>")


def _attributes(element: Element, ids: dict[str, str]) -> Iterator[tuple[str, str]]:
    for full, value in element.attrib.items():
        name = _local(full)
        if name == "id":
            if value in ids:
                yield name, ids[value]
            elif value.startswith(SERIES):
                yield "data-b", value.removeprefix(SERIES)
        elif name in ("href", "clip-path"):
            yield name, re.sub(r"#([^)]+)", lambda match: f"#{ids[match[1]]}", value)
        elif name == "style":
            yield name, _page_style(value)
        elif name == "d":
            yield name, path_data(value)
        elif not (name == "transform" and re.match(r"rotate\(-?0 ", value)):
            yield name, _NUMBER.sub(lambda match: _text(round(float(match[0]) * _STEPS)), value)


def path_data(commands: str) -> str:
    """A path in hundredths of a point, straight lines as steps from point to point."""
    parts = commands.split()
    if set(filter(str.isalpha, parts)) - {"M", "L"}:
        return _NUMBER.sub(lambda match: _text(round(float(match[0]) * _STEPS)), " ".join(parts))
    found: list[str] = []
    at = (0, 0)
    for command, *point in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        x, y = (round(float(value) * _STEPS) for value in point)
        moves = command == "M"
        first, second = (_text(x), _text(y)) if moves else (_text(x - at[0]), _text(y - at[1]))
        # What follows a step is a step; a minus sign parts two numbers.
        letter = command if moves else "l" if found[-1][0] == "M" else "" if first[0] == "-" else " "
        found.append(letter + first + ("" if second[0] == "-" else " ") + second)
        at = (x, y)
    return "".join(found)


def _text(hundredths: int) -> str:
    return re.sub(r"^(-?)0\.", r"\1.", f"{hundredths / _STEPS:.2f}".rstrip("0").rstrip("."))


def _gather_shapes(root: Element) -> None:
    """Each marker once, at the beginning, looking as its uses say."""
    shapes: dict[str, Element] = {}
    first: dict[str, str] = {}
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in ("metadata", "style") or (child.tag == "defs" and not len(child)):
                parent.remove(child)
            elif child.tag == "path" and parent.tag == "defs":
                shape = shapes.setdefault(child.attrib["d"], child)
                first["#" + child.attrib["id"]] = "#" + shape.attrib["id"]
                child.attrib.pop("style", None)
                parent.remove(child)
    for use in root.iter("use"):
        use.attrib["href"] = first.get(use.attrib["href"], use.attrib["href"])
    if shapes:
        defs = Element("defs")
        defs.extend(shapes.values())
        root.insert(0, defs)


def _simplify(element: Element) -> None:
    """Groups that say nothing give way to what is in them, and say for all what all would say."""
    children = []
    for child in element:
        _simplify(child)
        plain = child.tag in ("g", "defs") and not child.attrib
        if child.tag == "g" and plain:
            children += list(child)
        elif not (plain and not len(child)):
            children.append(child)
    element[:] = children
    if element.tag != "g" or not children:
        return
    for name in ("clip-path", "style"):
        values = {child.get(name) for child in children}
        shared = values.pop() if len(values) == 1 else None
        if shared and name not in element.attrib and not re.search(r"(^|; )opacity", shared):
            element.set(name, shared)
            for child in children:
                del child.attrib[name]
    if (
        len(children) == 1
        and children[0].tag == "g"
        and not element.attrib.keys() & children[0].attrib.keys()
    ):
        element.attrib.update(children[0].attrib)
        element[:] = list(children[0])


def _page_style(style: str) -> str:
    kept = [rule.strip() for rule in style.split(";") if rule.strip() and "font-family" not in rule]
    text = "; ".join(re.sub(r"^font: ([\d.]+px).*", r"font-size: \1", rule) for rule in kept)
    return re.sub(r"#[0-9a-f]{6}", lambda match: _PAGE_COLOURS.get(match[0], match[0]), text)


def _local(name: str) -> str:
    return name.rpartition("}")[2]
