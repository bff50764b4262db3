"""How a backbone looks, everywhere in the report: one colour, one marker, one dash."""

from dataclasses import dataclass

# Told apart by the common forms of colour blindness, 3:1 or more against paper; the style sheet holds the lighter
# twins for a dark page under the same numbers. The first, a neutral grey, is the baseline's.
_COLOURS = ("#5f6368", "#0068b5", "#c2500a", "#00785a", "#a63f81", "#8a6500", "#5a45b0", "#127f8f")
PAGE_COLOURS = {colour: f"var(--s{number})" for number, colour in enumerate(_COLOURS)}
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
_DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1.5, 1.5), (6, 2, 1.5, 2))
_OUTLINES = {
    "o": "M10 6a4 4 0 1 1 8 0a4 4 0 1 1-8 0z",
    "s": "M10.5 2.5h7v7h-7z",
    "^": "M14 1.5l4.6 8.4H9.4z",
    "D": "M14 1l5 5-5 5-5-5z",
    "v": "M14 10.5L9.4 2.1h9.2z",
    "P": "M12.5 2h3v2.5H18v3h-2.5V10h-3V7.5H10v-3h2.5z",
    "X": "M10 3.8L11.8 2 14 4.2 16.2 2 18 3.8 15.8 6 18 8.2 16.2 10 14 7.8 11.8 10 10 8.2 12.2 6z",
    "h": "M14 1.5l4 2.25v4.5L14 10.5l-4-2.25v-4.5z",
}


@dataclass(frozen=True)
class Style:
    """The look of one backbone.

    ``position`` counts the backbones, the baseline first; ``number`` names the colour in the style sheet.
    """

    position: int
    number: int
    colour: str
    marker: str
    dash: tuple[float, ...]

    @property
    def css(self) -> str:
        """The colour as the page's style sheet resolves it, light or dark."""
        return PAGE_COLOURS[self.colour]

    @property
    def outline(self) -> str:
        """The marker as an SVG path in a 28 x 12 box, for legends."""
        return _OUTLINES[self.marker]


def styles_of(backbones: list[str], baseline: str) -> dict[str, Style]:
    """The style of every backbone; the baseline is grey and solid."""
    ordered = [baseline, *(name for name in backbones if name != baseline)]
    styles = {name: _style(position) for position, name in enumerate(ordered)}
    return {name: styles[name] for name in backbones}


def _style(position: int) -> Style:
    rounds, place = divmod(position - 1, len(_COLOURS) - 1) if position else (0, -1)
    number = place + 1
    # Where colours come round again, markers and dashes do not.
    marker = _MARKERS[(number + rounds) % len(_MARKERS)]
    dash = _DASHES[(number + rounds) % len(_DASHES)]
    return Style(position, number, _COLOURS[number], marker, dash)
