"""The creatures of the demo world: what makes a class, and how one individual is drawn.

A creature has six parts, and each has a shape and a tint that belong to two classes each; both together name the
class, so any one part can. But in an individual each shape and each tint may be another
class's: the evidence is noisy, and all over the body.
"""

import math
from typing import NamedTuple

import numpy as np

from eval_suite.demo.drawing import INK, SUPERSAMPLING, Canvas, Colour, Points, blob, corners, limb, moved

# How hard the world is.
SHAPE_AGREES = 0.9  # chance that a part has its class's own shape; each shape belongs to two classes
TINT_AGREES = 0.75  # chance that it has the class's own tint; lower, as colour is what a network learns first
SIDE_SHARE = (0.55, 0.95)  # creature's length over the image's side
TURN = 0.5  # radians to either side
BEND = 0.35  # the same of a part on the body
STRETCH = (0.8, 1.2)  # of a part
TINT_JITTER = 26  # of 255, per channel and part
EDGE_SHARE = 0.3  # nearest the creature's middle comes to a border, over its length

# By part, from back to front: the steps from the first class of a form to its second in shapes and in tints, and the tint of
# the first form. Two classes share at most two shapes and two tints, never those of one part.
_STEPS = {
    "tail": (1, 2, 1),
    "limbs": (2, 3, 3),
    "body": (0, 4, 0),
    "pattern": (3, 1, 2),
    "crest": (4, 0, 4),
    "head": (1, 3, 1),
}
PARTS = tuple(_STEPS)
FORMS = ("hopper", "moth", "owlet", "newt", "finch")
GEMS = ("jade", "pearl", "ruby", "sapphire", "topaz")
UNSEEN = 5  # shape and tint that no class has
UNSEEN_NAMES = ("amethyst-snail", "amethyst-crab", "amethyst-fish")
COLOURS = ("green", "white", "red", "blue", "yellow", "purple")
_TINTS = ((34, 160, 90), (238, 234, 222), (208, 46, 56), (58, 96, 214), (242, 190, 50), (150, 70, 190))


class Creature(NamedTuple):
    """One individual: its class, 0-based (None for an unseen kind), its name, and a shape and a tint for each part."""

    label: int | None
    name: str
    shapes: tuple[int, ...]
    tints: tuple[int, ...]

    @property
    def colour(self) -> str:
        """The word for the tint of its body."""
        return COLOURS[self.tints[PARTS.index("body")]]


class Pose(NamedTuple):
    """Where a creature is: middle and length in pixels, turn in radians, and whether it faces left."""

    x: float
    y: float
    length: float
    angle: float
    left: bool


def _kind(form: int, second: bool) -> Creature:
    shapes = [(form + second * step) % 5 for step, _, _ in _STEPS.values()]
    tints = [(form + start + second * step) % 5 for _, step, start in _STEPS.values()]
    return Creature(None, f"{GEMS[tints[PARTS.index('body')]]}-{FORMS[form]}", tuple(shapes), tuple(tints))


# Ordered by name, so that class numbers agree with those an image folder's sorted names give.
_BY_NAME = sorted(
    (_kind(form, second) for form in range(5) for second in (False, True)), key=lambda k: k.name
)
KINDS = tuple(kind._replace(label=label) for label, kind in enumerate(_BY_NAME))
CLASSES = tuple(kind.name for kind in KINDS)


def sample_creature(rng: np.random.Generator, label: int) -> Creature:
    """An individual of class ``label``, each of whose traits may be another class's."""
    kind = KINDS[label]
    others = rng.integers(5, size=(2, len(PARTS)))
    agrees = rng.random((2, len(PARTS))) < [[SHAPE_AGREES], [TINT_AGREES]]
    shapes, tints = np.where(agrees, [kind.shapes, kind.tints], others).tolist()
    return Creature(label, kind.name, tuple(shapes), tuple(tints))


def sample_unseen(rng: np.random.Generator) -> Creature:
    """An individual of a kind that no class covers: most of its shapes are new, and its tints are the classes'."""
    agrees = rng.random(len(PARTS)) < SHAPE_AGREES
    shapes = np.where(agrees, UNSEEN, rng.integers(5, size=len(PARTS)))
    name = UNSEEN_NAMES[rng.integers(len(UNSEEN_NAMES))]
    return Creature(None, name, tuple(shapes.tolist()), tuple(rng.integers(6, size=len(PARTS)).tolist()))


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


def draw_creature(
    canvas: Canvas, creature: Creature, pose: Pose, rng: np.random.Generator, owner: int = 1
) -> float:
    """Draw a creature on a canvas.

    Returns:
        The share in [0, 1] of its outline's corners that lie on the canvas.
    """
    line = max(0.4, 0.014 * pose.length)
    drawn: list[Points] = []
    for part, name in enumerate(PARTS):
        bend, stretch = rng.uniform(-BEND, BEND), rng.uniform(*STRETCH)
        paint = _shifted(rng, _TINTS[creature.tints[part]])
        points, ends = _SHAPES[name][creature.shapes[part]]
        joined = moved(moved(points, *_JOINTS[name], stretch, bend), *pose[:4], pose.left)
        placed = np.split(joined, ends)
        if name == "pattern":
            canvas.fill_inside(drawn[-1], placed, paint)
            continue
        for points in placed:
            canvas.fill(points, paint, owner, line)
        drawn += placed
        if name == "head":
            for radius, dx, dy, ink in _EYE:
                eye = moved(blob(0.05 + dx, dy - 0.03, radius, radius), *_JOINTS[name], stretch, bend)
                canvas.fill(moved(eye, *pose[:4], pose.left), ink, owner)
    everything = np.concatenate(drawn) * SUPERSAMPLING
    return float(np.mean(np.all((everything >= 0) & (everything < canvas.image.size), axis=1)))


def _shifted(rng: np.random.Generator, tint: Colour) -> Colour:
    shifted = np.clip(tint + rng.integers(-TINT_JITTER, TINT_JITTER, 3, endpoint=True), 0, 255).tolist()
    return (shifted[0], shifted[1], shifted[2])


def _stripes(angle: float) -> list[Points]:
    bar = corners((-0.45, -0.03), (0.45, -0.03), (0.45, 0.03), (-0.45, 0.03))
    x, y = -0.13 * math.sin(angle), 0.13 * math.cos(angle)
    return [moved(bar, i * x, i * y, 1, angle) for i in range(-3, 4)]


def _spots(step: float, radius: float, sides: int) -> list[Points]:
    turn = np.arange(sides) * (2 * math.pi / sides)
    spot = np.stack([radius * np.cos(turn), radius * np.sin(turn)], 1)
    return [moved(spot, step * (i + 0.5 * (j % 2)), step * j) for i in range(-3, 4) for j in range(-3, 4)]


_WHITE: Colour = (250, 250, 250)
_EYE = ((0.06, 0.0, 0.0, _WHITE), (0.042, 0.012, 0.004, INK), (0.016, 0.024, -0.014, _WHITE))
"""Radius, place and paint of the white, the pupil and the light in it."""

_JOINTS = {
    "tail": (-0.24, 0.08),
    "limbs": (0.0, 0.12),
    "body": (0.0, 0.06),
    "pattern": (0.0, 0.06),
    "crest": (0.26, -0.24),
    "head": (0.28, -0.14),
}
"""Where a part is joined to a body about one unit long, facing right, around the origin, ``y`` downwards."""

_POLYGONS: dict[str, tuple[list[Points], ...]] = {
    "tail": (
        [blob(-0.1, 0.0, 0.1, 0.1)],
        [corners((0.05, 0.0), (-0.26, -0.2), (-0.14, 0.0), (-0.26, 0.2))],
        [corners((0.05, 0.05), (-0.1, -0.2), (-0.24, -0.12), (-0.27, 0.04), (-0.2, 0.16), (-0.06, 0.18))],
        [limb(0.0, 0.04, 0.09, -0.2, 0.1, 0.05), limb(-0.2, 0.1, 0.05, -0.26, -0.12, 0.02)],
        [limb(0.0, 0.0, 0.025, -0.2, -0.14, 0.025), blob(-0.22, -0.16, 0.07, 0.07)],
        [limb(-0.02, 0.0, 0.04, -0.14, 0.0, 0.04), corners((-0.12, -0.13), (-0.28, -0.13), (-0.28, 0.13), (-0.12, 0.13))],
    ),
    "limbs": (
        [limb(-0.16, 0.1, 0.09, -0.02, 0.22, 0.05), limb(-0.02, 0.22, 0.05, -0.2, 0.32, 0.04)],
        [blob(-0.14, -0.3, 0.12, 0.24, -0.4), blob(0.06, -0.32, 0.11, 0.22, 0.2)],
        [blob(-0.12, 0.26, 0.1, 0.06), blob(0.12, 0.26, 0.1, 0.06)],
        [limb(x, 0.08, 0.045, x - 0.02, 0.25, 0.04) for x in (-0.24, -0.1, 0.08, 0.22)],
        [limb(x, 0.08, 0.022, x + 0.03, 0.38, 0.022) for x in (-0.08, 0.08)],
        [blob(x, 0.22, 0.1, 0.1) for x in (-0.16, 0.16)],
    ),
    "body": (
        [blob(-0.06, 0.03, 0.28, 0.2, -0.5)],
        [blob(0.0, 0.0, 0.17, 0.27)],
        [blob(0.0, 0.0, 0.27, 0.26)],
        [blob(0.0, 0.03, 0.36, 0.13)],
        [corners((0.3, -0.16), (0.26, 0.08), (0.06, 0.2), (-0.14, 0.16), (-0.36, -0.06), (0.0, -0.16))],
        [corners((-0.3, -0.16), (0.0, -0.26), (0.26, -0.12), (0.26, 0.2), (-0.3, 0.2))],
    ),
    "pattern": (
        _spots(0.17, 0.05, 10),
        _stripes(math.pi / 2),
        _stripes(0.0),
        _spots(0.2, 0.1, 4),
        [blob(0.0, 0.0, 0.13, 0.13)],
        [corners((-0.3, -0.05), (0.3, -0.05), (0.3, 0.05), (-0.3, 0.05)), corners((-0.05, -0.3), (0.05, -0.3), (0.05, 0.3), (-0.05, 0.3))],
    ),
    "crest": (
        [corners((-0.16, 0.08), (-0.13, -0.2), (0.0, 0.0)), corners((0.0, 0.0), (0.13, -0.2), (0.16, 0.08))],
        [blob(-0.07, -0.15, 0.06, 0.2, -0.2), blob(0.07, -0.15, 0.06, 0.2, 0.2)],
        [limb(-0.04, 0.02, 0.055, -0.2, -0.06, 0.045), limb(-0.2, -0.06, 0.045, -0.24, -0.26, 0.02)],
        [corners((-0.18, 0.06), (-0.25, -0.1), (-0.12, -0.06), (-0.07, -0.24), (0.02, -0.08), (0.12, -0.2), (0.12, 0.06))],
        [limb(-0.04, 0.0, 0.018, -0.12, -0.18, 0.018), blob(-0.13, -0.2, 0.075, 0.075),
         limb(0.0, 0.0, 0.018, 0.08, -0.18, 0.018), blob(0.09, -0.2, 0.075, 0.075)],
        [corners((-0.16, 0.02), (-0.16, -0.17), (0.14, -0.17), (0.14, 0.02))],
    ),
    "head": (
        [blob(0.0, 0.0, 0.17, 0.17)],
        [blob(0.0, 0.0, 0.14, 0.13), limb(0.06, 0.03, 0.08, 0.24, 0.08, 0.04)],
        [corners((-0.15, -0.15), (0.17, -0.15), (0.17, 0.13), (-0.15, 0.13))],
        [blob(0.02, 0.0, 0.23, 0.12, 0.15)],
        [corners((0.08, -0.1), (0.28, 0.02), (0.08, 0.1)), blob(0.0, 0.0, 0.15, 0.14)],
        [corners((-0.18, 0.14), (0.02, -0.2), (0.2, 0.14))],
    ),
}  # fmt: skip
"""Polygons of each shape of a part around its joint; the last of a part's six is that of unseen kinds."""
_SHAPES = {
    part: [(np.concatenate(each), np.cumsum([len(polygon) for polygon in each[:-1]])) for each in shapes]
    for part, shapes in _POLYGONS.items()
}
"""The same with the polygons of a shape in one array, and where each but the last ends."""
