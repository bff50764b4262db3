"""The places of the demo world: cluttered habitats behind and before the creatures, and pure textures."""

import math
from typing import NamedTuple

import numpy as np
from PIL import Image

from eval_suite.demo.drawing import Canvas, Colour, Points, blend, blob, corners, limb, moved

CLUTTER = (6, 14)  # plants and stones per 64 x 64 pixels behind a creature
OCCLUDERS = (0, 3)  # those before it


class Habitat(NamedTuple):
    """A kind of place: two ways to say so in captions, the sky, two tints of ground, two of what grows there, and what."""

    phrases: tuple[str, str]
    sky: Colour
    ground: Colour
    patch: Colour
    growth: tuple[Colour, Colour]
    things: tuple[str, ...]


HABITATS = (
    Habitat(("in a green meadow", "in the grass"), (168, 208, 232), (128, 176, 84), (86, 138, 62),
            ((62, 118, 50), (170, 200, 90)), ("blades", "blades", "leaf")),
    Habitat(("on a sandy beach", "on the sand"), (132, 196, 220), (230, 206, 152), (206, 172, 116),
            ((170, 140, 104), (246, 232, 204)), ("stone", "stone", "blades")),
    Habitat(("in a dark forest", "between the trees"), (96, 128, 112), (108, 104, 74), (72, 92, 66),
            ((52, 98, 62), (138, 104, 64)), ("leaf", "blades", "trunk")),
    Habitat(("by a blue lake", "near the water"), (186, 214, 226), (92, 148, 184), (62, 112, 160),
            ((58, 126, 96), (140, 190, 210)), ("blades", "leaf", "stone")),
    Habitat(("in the snow", "on a snowy field"), (176, 190, 216), (232, 238, 244), (196, 208, 226),
            ((116, 128, 150), (250, 252, 255)), ("stone", "trunk", "stone")),
    Habitat(("among red rocks", "in a rocky desert"), (238, 196, 152), (190, 112, 78), (148, 78, 58),
            ((112, 62, 52), (220, 156, 112)), ("stone", "stone", "blades")),
    Habitat(("on a hill at dusk", "under a pink evening sky"), (216, 146, 158), (112, 92, 132), (78, 68, 108),
            ((58, 56, 92), (160, 126, 160)), ("blades", "leaf", "stone")),
)  # fmt: skip

_THINGS: dict[str, list[Points]] = {
    "blades": [limb(0.2 * tip, 0.8, 0.16, tip, -0.75, 0.03) for tip in (-0.6, 0.0, 0.6)],
    "leaf": [blob(0.0, 0.0, 0.45, 0.95)],
    "stone": [corners((-0.9, 0.4), (-0.6, -0.3), (0.1, -0.5), (0.8, -0.1), (0.9, 0.5), (0.0, 0.6))],
    "trunk": [limb(0.0, 0.9, 0.22, 0.0, -0.9, 0.12), limb(0.0, 0.1, 0.1, 0.6, -0.5, 0.05)],
}
_PAINTS: tuple[Colour, ...] = (
    (206, 72, 62), (242, 184, 74), (84, 150, 108), (66, 110, 176), (126, 84, 150), (236, 226, 200),
    (54, 54, 66), (222, 132, 158), (124, 178, 190), (150, 108, 74),
)  # fmt: skip


def draw_habitat(rng: np.random.Generator, height: int, width: int) -> tuple[Canvas, Habitat]:
    """A cluttered place without a creature, and which habitat it is."""
    habitat = HABITATS[rng.integers(len(HABITATS))]
    ground = Image.new("RGB", (width, height), habitat.ground)
    blend(ground, habitat.patch, rng.integers(0, 256, (6, 6), np.uint8))
    blend(ground, habitat.growth[rng.integers(2)], rng.integers(0, 120, (14, 14), np.uint8))
    canvas = Canvas(ground)
    if rng.random() < 0.6:
        ridge = rng.uniform(0.12, 0.4) + rng.uniform(-0.06, 0.06, 5)
        points = [(i / 4 * width, float(y) * height) for i, y in enumerate(ridge)]
        canvas.fill(corners((0, 0), *points, (width, 0)), habitat.sky)
    for _ in range(round(rng.uniform(*CLUTTER) * height * width / 64**2)):
        draw_thing(rng, canvas, habitat, rng.uniform(0, width), rng.uniform(0, height), height)
    return canvas, habitat


def draw_occluders(
    rng: np.random.Generator, canvas: Canvas, habitat: Habitat, x: float, y: float, length: float
) -> None:
    """Things before a creature of a length around (x, y)."""
    for _ in range(int(rng.integers(*OCCLUDERS, endpoint=True))):
        dx, dy = rng.uniform(-0.45, 0.45, 2) * length
        draw_thing(rng, canvas, habitat, x + dx, y + dy, length)


def draw_thing(
    rng: np.random.Generator, canvas: Canvas, habitat: Habitat, x: float, y: float, side: float
) -> None:
    """A plant or stone at (x, y) in pixels, whose half size is a twelfth to a fifth of a side."""
    low, high = habitat.growth
    share, size, angle = rng.random(), rng.uniform(0.08, 0.2) * side, rng.uniform(-0.7, 0.7)
    paint = tuple(round(a + share * (b - a)) for a, b in zip(low, high, strict=True))
    for points in _THINGS[habitat.things[rng.integers(len(habitat.things))]]:
        canvas.fill(moved(points, x, y, size, angle), (paint[0], paint[1], paint[2]))


def draw_texture(rng: np.random.Generator, height: int, width: int) -> Canvas:
    """A picture of nothing but a pattern."""
    first, second, third = (_PAINTS[i] for i in rng.permutation(len(_PAINTS))[:3])
    ground = Image.new("RGB", (width, height), first)
    cells = int(rng.integers(3, 16))
    blend(ground, second, rng.integers(0, 256, (cells, cells), np.uint8))
    canvas = Canvas(ground)
    period, angle, pattern = rng.uniform(0.1, 0.3) * min(height, width), rng.uniform(0, 3), rng.integers(4)
    middle, reach = (width / 2, height / 2), math.ceil(0.9 * max(height, width) / period)
    for i in range(-reach, reach + 1):
        if pattern == 0:
            bar = corners((-reach, i), (reach, i), (reach, i + 0.4), (-reach, i + 0.4))
            canvas.fill(moved(bar, *middle, period, angle), third)
        elif pattern < 3:
            for j in range(-reach, reach + 1):
                triangle = corners((i, j), (i + 0.5, j), (i, j + 0.5))
                figure = blob(i, j, 0.35, 0.35) if pattern == 1 else triangle
                canvas.fill(moved(figure, *middle, period, angle), third)
    return canvas
