"""The creatures of the demo world: what makes a class, and how one individual is drawn.

A class is certain from one small part alone, the mark on the head: two classes share its shape, two share
its colour, only both together name the class. Body form, colours and texture agree with the class more often than not.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.demo.anatomy import FORMS, Form, body_points
from eval_suite.demo.drawing import MARKS, Brush, Colour, Field, colour, disc, ellipse, repeat

# How hard the world is. Everything that decides it stands here.
FORM_AGREES = 0.85  # chance that the body form is the class's own; each form belongs to two classes
PALETTE_AGREES = 0.65  # weakest on purpose: colour is what a network learns first, and it would end the race
TEXTURE_AGREES = 0.80  # each texture belongs to two classes
MARK_RADIUS = (
    0.12,
    0.14,
)  # share of the creature's length: 3 pixels across on the smallest, 11 on the largest
COLOUR_JITTER = 0.05  # per channel: individuals differ, yet a ruby stays a ruby
SIDE_SHARE = (
    0.34,
    0.74,
)  # creature's length over the image side; its body then covers about 25-70 % of the side
TURN = 0.45  # radians to either side: heads move about, and no mark is found by place
EDGE_SHARE = 0.25  # nearest the creature's middle comes to a border, over its length: 60 % stay visible
LIGHT = (0.72, 1.18)  # gain of a whole picture
CLUTTER = (7, 15)  # plants and stones per 64 x 64 pixels
FALSE_MARKS = (0, 2)  # blossoms per picture that wear a mark's shape and colour but sit on no head


class Kind(NamedTuple):
    """A class: its mark, which is certain, and the body it tends to have, which is not."""

    name: str
    mark: str
    gem: str
    form: str
    palette: str
    texture: str


class Creature(NamedTuple):
    """One individual's traits; ``label`` is its class, 0-based, or None for an unseen kind."""

    label: int | None
    name: str
    mark: str
    gem: str
    form: str
    palette: str
    texture: str


class Pose(NamedTuple):
    """Where a creature is: middle in pixels, length in pixels, turn in radians, and whether it faces left."""

    x: float
    y: float
    length: float
    angle: float
    left: bool


class Palette(NamedTuple):
    """Colours of the body, of its pattern and of the belly."""

    body: Colour
    pattern: Colour
    belly: Colour


# Ordered by name, so that class numbers agree with those an image folder's sorted names give.
KINDS = (
    Kind("jade-hopper", "peak", "jade", "hopper", "brown", "plain"),
    Kind("jade-moth", "disc", "jade", "moth", "purple", "spots"),
    Kind("pearl-moth", "cross", "pearl", "moth", "orange", "bands"),
    Kind("pearl-owlet", "bar", "pearl", "owlet", "grey", "lozenges"),
    Kind("ruby-newt", "ring", "ruby", "newt", "teal", "stripes"),
    Kind("ruby-owlet", "disc", "ruby", "owlet", "cream", "spots"),
    Kind("sapphire-finch", "peak", "sapphire", "finch", "pink", "bands"),
    Kind("sapphire-newt", "cross", "sapphire", "newt", "green", "lozenges"),
    Kind("topaz-finch", "ring", "topaz", "finch", "blue", "stripes"),
    Kind("topaz-hopper", "bar", "topaz", "hopper", "black", "plain"),
)
UNSEEN_KINDS = (
    Kind("amethyst-snail", "lozenge", "amethyst", "snail", "cream", "plain"),
    Kind("coral-crab", "lozenge", "coral", "crab", "teal", "spots"),
    Kind("amethyst-fish", "lozenge", "amethyst", "fish", "grey", "bands"),
)
CLASSES = tuple(kind.name for kind in KINDS)

GEMS = {
    "jade": colour(22, 168, 92),
    "pearl": colour(252, 252, 248),
    "ruby": colour(222, 32, 48),
    "sapphire": colour(38, 84, 228),
    "topaz": colour(255, 202, 24),
    "amethyst": colour(158, 54, 206),
    "coral": colour(255, 122, 92),
}
CLASS_GEMS = tuple(dict.fromkeys(kind.gem for kind in KINDS))
CLASS_MARKS = tuple(dict.fromkeys(kind.mark for kind in KINDS))

PALETTES = {
    "brown": Palette(colour(158, 112, 76), colour(100, 64, 42), colour(228, 198, 160)),
    "grey": Palette(colour(150, 155, 162), colour(92, 97, 108), colour(222, 222, 222)),
    "green": Palette(colour(134, 162, 96), colour(78, 106, 60), colour(222, 226, 172)),
    "teal": Palette(colour(98, 164, 164), colour(50, 104, 112), colour(206, 230, 220)),
    "pink": Palette(colour(230, 170, 176), colour(188, 108, 124), colour(252, 230, 222)),
    "orange": Palette(colour(228, 154, 88), colour(172, 92, 46), colour(252, 224, 182)),
    "cream": Palette(colour(232, 218, 180), colour(172, 148, 108), colour(252, 248, 230)),
    "purple": Palette(colour(158, 128, 178), colour(104, 78, 130), colour(226, 212, 232)),
    "blue": Palette(colour(120, 152, 198), colour(70, 92, 144), colour(214, 224, 238)),
    "black": Palette(colour(84, 82, 92), colour(46, 44, 54), colour(192, 188, 186)),
}

_INK = colour(40, 32, 38)
_WHITE = colour(255, 255, 255)
_BEAK = colour(244, 176, 60)
_BLUSH = colour(238, 130, 130)


def sample_creature(rng: np.random.Generator, label: int) -> Creature:
    """An individual of class ``label``: its mark is the class's, each weaker trait may be another class's."""
    kind = KINDS[label]
    form = kind if rng.random() < FORM_AGREES else KINDS[rng.integers(len(KINDS))]
    palette = kind if rng.random() < PALETTE_AGREES else KINDS[rng.integers(len(KINDS))]
    texture = kind if rng.random() < TEXTURE_AGREES else KINDS[rng.integers(len(KINDS))]
    return Creature(label, kind.name, kind.mark, kind.gem, form.form, palette.palette, texture.texture)


def sample_unseen(rng: np.random.Generator) -> Creature:
    """An individual of a kind that no class covers, with colours and textures that the classes wear too."""
    kind = UNSEEN_KINDS[rng.integers(len(UNSEEN_KINDS))]
    palette = KINDS[rng.integers(len(KINDS))].palette
    texture = KINDS[rng.integers(len(KINDS))].texture
    return Creature(None, kind.name, kind.mark, kind.gem, kind.form, palette, texture)


def sample_pose(
    rng: np.random.Generator, height: int, width: int, side_share: tuple[float, float] = SIDE_SHARE
) -> Pose:
    """A pose on a canvas that leaves most of the creature visible; lengths are shares of the shorter side."""
    length = rng.uniform(*side_share) * min(height, width)
    edge = EDGE_SHARE * length
    return Pose(
        x=rng.uniform(edge, width - edge),
        y=rng.uniform(edge, height - edge),
        length=length,
        angle=rng.uniform(-TURN, TURN),
        left=bool(rng.random() < 0.5),
    )


def visible_share(form: str, pose: Pose, height: int, width: int) -> float:
    """Share of a body in [0, 1] that lies on a canvas."""
    u, v = body_points(form)
    c, s = pose.length * math.cos(pose.angle), pose.length * math.sin(pose.angle)
    side = -1 if pose.left else 1
    x = np.float32(pose.x) + u * np.float32(side * c) - v * np.float32(s)
    y = np.float32(pose.y) + u * np.float32(side * s) + v * np.float32(c)
    seen = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return float(np.count_nonzero(seen) / seen.size)


def draw_creature(
    canvas: Field, creature: Creature, pose: Pose, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Draw a creature on a canvas (3, H, W) in place.

    Returns:
        (H, W), true where the creature covers at least half of the pixel.
    """
    form = FORMS[creature.form]
    body, pattern, belly = (_jitter(rng, tint) for tint in PALETTES[creature.palette])
    gem, phase, mark_radius = _jitter(rng, GEMS[creature.gem]), rng.random(), rng.uniform(*MARK_RADIUS)
    paints = {
        "body": body,
        "head": body,
        "limb": pattern,
        "wing": pattern,
        "belly": belly,
        "pale": belly,
        "beak": _BEAK,
    }
    brush = Brush.over(canvas, pose.x, pose.y, pose.length, 0.58, pose.angle, pose.left)
    line = max(0.55, 0.016 * pose.length)

    shadow = brush.around(0.0, 0.45, 0.42)
    shadow.fill(ellipse(shadow.u, shadow.v, 0.0, 0.45, 0.42, 0.09), _INK, opacity=0.28)
    outline = np.ones_like(brush.u)
    for part in form.parts:
        x, y, reach = part.circle
        near = brush.around(x, y, reach + line / pose.length)
        distance = part.shape(near.u, near.v, *part.numbers)
        if part.role == "belly":
            distance = np.maximum(distance, outline[near.window])
        else:
            outline[near.window] = np.minimum(outline[near.window], distance)
            near.fill(distance, _INK, grow=line)
        near.fill(distance, paints[part.role])
        if part.role == "body" and creature.texture != "plain":
            figure = _TEXTURES[creature.texture](near.u, near.v, phase)
            near.fill(np.maximum(figure, distance + np.float32(0.012)), pattern)
    for x, y, radius in form.eyes:
        near = brush.around(x, y, radius)
        eye = disc(near.u - np.float32(x), near.v - np.float32(y), radius - 0.6 * line / pose.length)
        outline[near.window] = np.minimum(outline[near.window], eye)
    covered = brush.cover(outline, grow=line)
    shade = np.clip(np.float32(0.04) + brush.v * np.float32(0.3), np.float32(-0.1), np.float32(0.16))
    brush.view *= np.float32(1) - covered * shade
    _draw_face(brush, form, outline, line)
    _draw_mark(brush.around(*form.crown, 0.2), creature.mark, gem, form.crown, mark_radius, line)

    mask = np.zeros(canvas.shape[1:], np.bool_)
    mask[brush.window] = covered >= 0.5
    return mask


def _draw_face(brush: Brush, form: Form, outline: Field, line: float) -> None:
    for x, y, radius in form.eyes:
        near = brush.around(x, y, 3.2 * radius)
        u, v = near.u - np.float32(x), near.v - np.float32(y)
        eye = disc(u, v, radius)
        blush = disc(u - np.float32(0.2 * radius), v - np.float32(2.1 * radius), radius)
        near.fill(np.maximum(blush, outline[near.window]), _BLUSH, opacity=0.5)
        if form.frontal:
            near.fill(eye, _WHITE, grow=0.4 * line)  # eyes have no ink around, so their rim is thinner
            eye = eye + np.float32(0.34 * radius)
        near.fill(eye, _INK)
        near.fill(disc(u - np.float32(0.28 * radius), v + np.float32(0.32 * radius), 0.34 * radius), _WHITE)


def _draw_mark(
    brush: Brush, mark: str, gem: Colour, crown: tuple[float, float], radius: float, line: float
) -> None:
    size = np.float32(radius)
    u, v = (brush.u - np.float32(crown[0])) / size, (brush.v - np.float32(crown[1])) / size
    distance = MARKS[mark](u, v) * size
    brush.fill(distance, _INK, grow=0.9 * line)
    brush.fill(distance, gem)


def _jitter(rng: np.random.Generator, tint: Colour) -> Colour:
    shift = (rng.random(3, np.float32) * np.float32(2) - np.float32(1)) * np.float32(COLOUR_JITTER)
    return np.clip(tint + shift, np.float32(0), np.float32(1))


def _spots(u: Field, v: Field, phase: float) -> Field:
    row = np.floor(v * np.float32(1 / 0.13)) * np.float32(0.065)
    return disc(repeat(u + row, 0.13, phase), repeat(v, 0.13), 0.038)


def _stripes(u: Field, v: Field, phase: float) -> Field:
    return np.abs(repeat(u + v * np.float32(0.25), 0.14, phase)) - np.float32(0.032)


def _bands(u: Field, v: Field, phase: float) -> Field:
    side: Field = np.abs(u)
    return np.abs(repeat(v + side * np.float32(0.2), 0.13, phase)) - np.float32(0.03)


def _lozenges(u: Field, v: Field, phase: float) -> Field:
    cell = np.abs(repeat(u, 0.17, phase)) + np.abs(repeat(v, 0.2))
    return (np.abs(cell - np.float32(0.085)) - np.float32(0.018)) * np.float32(0.7071)


_TEXTURES: dict[str, Callable[[Field, Field, float], Field]] = {
    "spots": _spots,
    "stripes": _stripes,
    "bands": _bands,
    "lozenges": _lozenges,
}
