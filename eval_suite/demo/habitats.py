"""The places of the demo world: cluttered habitats behind the creatures, and pure textures."""

import math
from functools import cache
from typing import NamedTuple

import numpy as np

from eval_suite.demo.creatures import CLASS_GEMS, CLASS_MARKS, CLUTTER, FALSE_MARKS, GEMS, LIGHT
from eval_suite.demo.drawing import (
    MARKS,
    Brush,
    Colour,
    Field,
    colour,
    cone,
    disc,
    ellipse,
    noise,
    repeat,
    unit,
)

_LEANS = 9


class Habitat(NamedTuple):
    """A kind of place: two ways to say so in captions, the sky, two tints of ground, and what grows or lies there."""

    phrases: tuple[str, str]
    sky: Colour
    ground: Colour
    patch: Colour
    growth: tuple[Colour, Colour]
    things: tuple[str, ...]


HABITATS = (
    Habitat(
        ("in a green meadow", "in the grass"),
        colour(168, 208, 232),
        colour(128, 176, 84),
        colour(86, 138, 62),
        (colour(62, 118, 50), colour(170, 200, 90)),
        ("blade", "blade", "leaf"),
    ),
    Habitat(
        ("on a sandy beach", "on the sand"),
        colour(132, 196, 220),
        colour(230, 206, 152),
        colour(206, 172, 116),
        (colour(170, 140, 104), colour(246, 232, 204)),
        ("pebble", "pebble", "blade"),
    ),
    Habitat(
        ("in a dark forest", "between the trees"),
        colour(70, 98, 88),
        colour(82, 76, 54),
        colour(52, 66, 48),
        (colour(44, 84, 52), colour(120, 90, 54)),
        ("leaf", "blade", "trunk"),
    ),
    Habitat(
        ("by a blue lake", "near the water"),
        colour(186, 214, 226),
        colour(92, 148, 184),
        colour(62, 112, 160),
        (colour(58, 126, 96), colour(140, 190, 210)),
        ("blade", "leaf", "ripple"),
    ),
    Habitat(
        ("in the snow", "on a snowy field"),
        colour(176, 190, 216),
        colour(232, 238, 244),
        colour(196, 208, 226),
        (colour(116, 128, 150), colour(250, 252, 255)),
        ("pebble", "trunk", "pebble"),
    ),
    Habitat(
        ("among red rocks", "in a rocky desert"),
        colour(238, 196, 152),
        colour(190, 112, 78),
        colour(148, 78, 58),
        (colour(112, 62, 52), colour(220, 156, 112)),
        ("pebble", "pebble", "blade"),
    ),
    Habitat(
        ("on a hill at dusk", "under a pink evening sky"),
        colour(216, 146, 158),
        colour(112, 92, 132),
        colour(78, 68, 108),
        (colour(58, 56, 92), colour(160, 126, 160)),
        ("blade", "leaf", "pebble"),
    ),
)

_PAINTS = tuple(
    colour(*rgb)
    for rgb in (
        (206, 72, 62), (242, 184, 74), (84, 150, 108), (66, 110, 176), (126, 84, 150), (236, 226, 200),
        (54, 54, 66), (222, 132, 158), (124, 178, 190), (150, 108, 74),
    )
)  # fmt: skip


def draw_habitat(rng: np.random.Generator, height: int, width: int) -> tuple[Field, Habitat]:
    """A cluttered place without a creature: pixels (3, height, width) in [0, 1], and which habitat it is."""
    habitat = HABITATS[rng.integers(len(HABITATS))]
    share = noise(rng, 4, height, width) * np.float32(0.65) + noise(rng, 12, height, width) * np.float32(0.35)
    canvas = _mix(habitat.ground, habitat.patch, unit(share * np.float32(2) - np.float32(0.5)))
    if rng.random() < 0.6:
        _draw_sky(rng, canvas, habitat.sky)
    canvas += (noise(rng, max(height, width) // 6, height, width) - np.float32(0.5)) * np.float32(0.1)
    canvas += (rng.random((height, width), np.float32) - np.float32(0.5)) * np.float32(0.07)
    for _ in range(round(rng.uniform(*CLUTTER) * height * width / 64**2)):
        growth = habitat.growth[0] + np.float32(rng.random()) * (habitat.growth[1] - habitat.growth[0])
        _place(rng, canvas, habitat.things[rng.integers(len(habitat.things))], (4, 11), growth)
    for _ in range(int(rng.integers(*FALSE_MARKS, endpoint=True))):
        gem, mark = CLASS_GEMS[rng.integers(len(CLASS_GEMS))], CLASS_MARKS[rng.integers(len(CLASS_MARKS))]
        _place(rng, canvas, mark, (2, 4), GEMS[gem])
    return canvas, habitat


def draw_texture(rng: np.random.Generator, height: int, width: int) -> Field:
    """A picture of nothing but a pattern: pixels (3, height, width) in [0, 1]."""
    first, second, third = (_PAINTS[i] for i in rng.permutation(len(_PAINTS))[:3])
    canvas = np.empty((3, height, width), np.float32)
    canvas[:] = first[:, None, None]
    brush = Brush.over(
        canvas,
        width / 2,
        height / 2,
        min(height, width),
        max(height, width) / min(height, width),
        rng.uniform(0, 3),
    )
    bend = np.zeros_like(brush.u)
    bend += noise(rng, 3, height, width) * np.float32(rng.uniform(0, 0.35))
    u, v, period = brush.u + bend, brush.v - bend, rng.uniform(0.09, 0.28)
    du, dv = repeat(u, period), repeat(v, period)
    pattern = rng.integers(6)
    if pattern == 0:
        brush.fill(np.abs(du) - np.float32(0.25 * period), second)
        brush.fill(np.abs(dv) - np.float32(0.12 * period), third, opacity=0.7)
    elif pattern == 1:
        brush.fill(du * dv / np.float32(0.25 * period), second)
    elif pattern == 2:
        brush.fill(disc(du, dv, 0.4 * period), second)
        brush.fill(disc(du, dv, 0.2 * period), third)
    elif pattern == 3:
        rings = repeat(disc(u, v, 0), period)
        brush.fill(np.abs(rings) - np.float32(0.26 * period), second)
        brush.fill(np.abs(rings) - np.float32(0.08 * period), third)
    elif pattern == 4:
        brush.fill(np.abs(np.abs(du) + repeat(v, 2 * period)) - np.float32(0.2 * period), second)
    else:
        canvas[:] = _mix(first, second, noise(rng, 9, height, width))
        level = noise(rng, 5, height, width) - np.float32(0.5)
        canvas += unit(np.float32(1) - np.abs(level) * np.float32(14)) * (third[:, None, None] - canvas)
    canvas += (rng.random((height, width), np.float32) - np.float32(0.5)) * np.float32(0.06)
    return canvas


def finish(rng: np.random.Generator, canvas: Field) -> np.ndarray:
    """Light a canvas (3, H, W) and round it to bytes (H, W, 3)."""
    lit = canvas * np.float32(255 * rng.uniform(*LIGHT)) + np.float32(0.5)
    return np.ascontiguousarray(np.clip(lit, 0, 255).astype(np.uint8).transpose(1, 2, 0))


def _mix(first: Colour, second: Colour, share: Field) -> Field:
    return first[:, None, None] + share * (second - first)[:, None, None]


def _draw_sky(rng: np.random.Generator, canvas: Field, sky: Colour) -> None:
    height, width = canvas.shape[1:]
    horizon = rng.uniform(0.12, 0.4) * height
    ridge = horizon + (noise(rng, 3, 1, width)[0] - np.float32(0.5)) * np.float32(0.16 * height)
    rows = np.arange(height, dtype=np.float32)[:, None]
    pale = sky[:, None, None] + rows / np.float32(height) * np.float32(0.25)
    canvas += unit(ridge - rows) * (pale - canvas)


def _place(
    rng: np.random.Generator, canvas: Field, thing: str, sizes: tuple[int, int], paint: Colour
) -> None:
    """Stamp a thing anywhere on a canvas; sizes are half sides in pixels on a canvas 64 pixels high."""
    height, width = canvas.shape[1:]
    across, down, large, lean = rng.random(4).tolist()
    x, y = int(across * width), int(down * height)
    size = round((sizes[0] + int(large * (sizes[1] - sizes[0] + 1))) * min(height, width) / 64)
    layers = _stamp(thing, size, int(lean * _LEANS))
    reach = layers[0][0].shape[0] // 2
    top, left = max(reach - y, 0), max(reach - x, 0)
    view = canvas[:, max(y - reach, 0) : y + reach, max(x - reach, 0) : x + reach]
    for share, gain in layers:
        change = (paint * np.float32(gain))[:, None, None] - view
        change *= share[top : top + view.shape[1], left : left + view.shape[2]]
        view += change


@cache
def _stamp(thing: str, size: int, lean: int) -> tuple[tuple[Field, float], ...]:
    """Layers of a thing from back to front: share of each pixel (h, w) it covers, and the gain of its paint."""
    half = math.ceil(1.5 * size) + 1
    canvas = np.zeros((3, 2 * half, 2 * half), np.float32)
    brush = Brush.over(canvas, half, half, size, 1.5, (lean - (_LEANS - 1) / 2) / _LEANS)
    u, v = brush.u, brush.v
    if thing in MARKS:
        distance = MARKS[thing](u, v)
        return (brush.cover(distance, grow=0.6), 0.35), (brush.cover(distance), 1.0)
    if thing == "blade":
        blades = [cone(u, v, 0.2 * tip, 0.8, 0.16, tip, -0.75, 0.03) for tip in (-0.6, 0.0, 0.6)]
        return ((brush.cover(np.minimum(np.minimum(blades[0], blades[1]), blades[2])), 1.0),)
    if thing == "leaf":
        leaf = np.maximum(disc(u - np.float32(0.45), v, 0.9), disc(u + np.float32(0.45), v, 0.9))
        vein = np.maximum(np.abs(u) - np.float32(0.05), leaf)
        return (brush.cover(leaf), 1.0), (brush.cover(vein), 0.75)
    if thing == "pebble":
        stone, top = ellipse(u, v, 0.0, 0.1, 0.85, 0.6), ellipse(u, v, -0.05, 0.0, 0.75, 0.48)
        return (brush.cover(stone), 0.7), (brush.cover(top), 1.0)
    if thing == "trunk":
        stem, branch = cone(u, v, 0.0, 0.8, 0.22, 0.0, -0.8, 0.12), cone(u, v, 0.0, 0.1, 0.1, 0.6, -0.5, 0.05)
        return ((brush.cover(np.minimum(stem, branch)), 0.8),)
    ripple = np.abs(ellipse(u, v, 0.0, 0.0, 0.85, 0.3)) - np.float32(0.06)
    return ((brush.cover(ripple), 1.0),)
