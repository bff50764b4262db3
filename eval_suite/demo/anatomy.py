"""The body forms of the demo world's creatures: five that classes wear and three that none does."""

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from eval_suite.demo.drawing import Field, cone, ellipse, wedge


class Part(NamedTuple):
    """One shape of a body: the colour role it is painted in, the shape's distance and its numbers.

    A belly is painted inside the parts behind it; all else has an outline of its own.
    """

    role: str
    shape: Callable[..., Field]
    numbers: tuple[float, ...]

    @property
    def circle(self) -> tuple[float, float, float]:
        """Middle and radius of a circle around the shape."""
        n = self.numbers
        if self.shape is ellipse:
            return n[0], n[1], max(n[2], n[3])
        if self.shape is cone:
            return (n[0] + n[3]) / 2, (n[1] + n[4]) / 2, math.dist(n[0:2], n[3:5]) / 2 + max(n[2], n[5])
        middle = (n[0] + n[2] + n[4]) / 3, (n[1] + n[3] + n[5]) / 3
        return *middle, max(math.dist(middle, n[i : i + 2]) for i in (0, 2, 4))


class Form(NamedTuple):
    """A body about one unit long, facing right, around the origin, ``v`` downwards.

    Attributes:
        parts: from back to front.
        crown: middle of the head mark.
        eyes: x, y and radius of each.
        frontal: looks at the viewer, with white round the eyes.
    """

    parts: tuple[Part, ...]
    crown: tuple[float, float]
    eyes: tuple[tuple[float, float, float], ...]
    frontal: bool = False


_OWLET = Form(
    parts=(
        Part("beak", ellipse, (-0.11, 0.46, 0.09, 0.045)),
        Part("beak", ellipse, (0.11, 0.46, 0.09, 0.045)),
        Part("wing", wedge, (-0.31, -0.20, -0.26, -0.50, -0.06, -0.36)),
        Part("wing", wedge, (0.06, -0.36, 0.26, -0.50, 0.31, -0.20)),
        Part("body", ellipse, (0.0, 0.16, 0.31, 0.31)),
        Part("belly", ellipse, (0.0, 0.26, 0.17, 0.18)),
        Part("wing", ellipse, (-0.29, 0.16, 0.10, 0.22, 0.25)),
        Part("wing", ellipse, (0.29, 0.16, 0.10, 0.22, -0.25)),
        Part("head", ellipse, (0.0, -0.20, 0.32, 0.24)),
        Part("beak", wedge, (-0.045, -0.11, 0.045, -0.11, 0.0, -0.02)),
    ),
    crown=(0.0, -0.30),
    eyes=((-0.15, -0.14, 0.08), (0.15, -0.14, 0.08)),
    frontal=True,
)
_MOTH = Form(
    parts=(
        Part("limb", cone, (0.06, -0.28, 0.014, 0.20, -0.50, 0.026)),
        Part("limb", cone, (-0.06, -0.28, 0.014, -0.20, -0.50, 0.026)),
        Part("body", ellipse, (-0.22, 0.30, 0.20, 0.15, -0.5)),
        Part("body", ellipse, (0.22, 0.30, 0.20, 0.15, 0.5)),
        Part("body", ellipse, (-0.30, 0.04, 0.25, 0.19, 0.5)),
        Part("body", ellipse, (0.30, 0.04, 0.25, 0.19, -0.5)),
        Part("pale", ellipse, (0.0, 0.18, 0.085, 0.24)),
        Part("head", ellipse, (0.0, -0.19, 0.23, 0.20)),
    ),
    crown=(0.0, -0.25),
    eyes=((-0.11, -0.12, 0.055), (0.11, -0.12, 0.055)),
    frontal=True,
)
_FINCH = Form(
    parts=(
        Part("beak", cone, (-0.06, 0.28, 0.02, -0.08, 0.45, 0.022)),
        Part("beak", cone, (0.08, 0.28, 0.02, 0.08, 0.45, 0.022)),
        Part("wing", cone, (-0.26, 0.14, 0.09, -0.47, 0.04, 0.05)),
        Part("body", ellipse, (-0.03, 0.12, 0.33, 0.23, -0.25)),
        Part("belly", ellipse, (0.08, 0.21, 0.18, 0.11, -0.3)),
        Part("beak", wedge, (0.38, -0.20, 0.53, -0.11, 0.38, -0.05)),
        Part("head", ellipse, (0.20, -0.17, 0.24, 0.22)),
        Part("wing", ellipse, (-0.13, 0.10, 0.19, 0.11, 0.3)),
    ),
    crown=(0.15, -0.25),
    eyes=((0.32, -0.15, 0.05),),
)
_NEWT = Form(
    parts=(
        Part("limb", cone, (-0.24, 0.16, 0.05, -0.30, 0.31, 0.04)),
        Part("limb", cone, (-0.06, 0.18, 0.05, -0.04, 0.33, 0.04)),
        Part("limb", cone, (0.14, 0.17, 0.05, 0.20, 0.32, 0.04)),
        Part("body", cone, (-0.24, 0.08, 0.11, -0.45, -0.08, 0.05)),
        Part("limb", cone, (0.16, -0.12, 0.035, 0.04, -0.25, 0.03)),
        Part("limb", cone, (0.14, -0.06, 0.035, -0.02, -0.12, 0.03)),
        Part("body", ellipse, (-0.06, 0.10, 0.32, 0.14)),
        Part("belly", ellipse, (-0.02, 0.17, 0.22, 0.06)),
        Part("head", ellipse, (0.27, -0.02, 0.24, 0.20)),
    ),
    crown=(0.21, -0.09),
    eyes=((0.39, -0.02, 0.048),),
)
_HOPPER = Form(
    parts=(
        Part("pale", ellipse, (-0.38, 0.20, 0.09, 0.09)),
        Part("body", cone, (0.08, -0.18, 0.05, -0.10, -0.45, 0.065)),
        Part("body", cone, (0.22, -0.22, 0.05, 0.16, -0.47, 0.065)),
        Part("limb", ellipse, (0.16, 0.36, 0.09, 0.05)),
        Part("body", ellipse, (-0.09, 0.15, 0.29, 0.24, -0.15)),
        Part("belly", ellipse, (0.08, 0.22, 0.12, 0.13)),
        Part("limb", ellipse, (-0.13, 0.37, 0.18, 0.06)),
        Part("head", ellipse, (0.21, -0.08, 0.24, 0.20)),
    ),
    crown=(0.15, -0.14),
    eyes=((0.34, -0.08, 0.048),),
)
_SNAIL = Form(
    parts=(
        Part("pale", cone, (0.30, 0.02, 0.02, 0.26, -0.20, 0.035)),
        Part("pale", cone, (0.36, 0.04, 0.02, 0.42, -0.17, 0.035)),
        Part("pale", cone, (-0.42, 0.34, 0.05, 0.30, 0.32, 0.10)),
        Part("pale", cone, (0.30, 0.30, 0.12, 0.34, 0.10, 0.13)),
        Part("body", ellipse, (-0.09, 0.02, 0.33, 0.33)),
        Part("wing", ellipse, (-0.05, 0.04, 0.20, 0.20)),
        Part("head", ellipse, (-0.02, 0.06, 0.10, 0.10)),
    ),
    crown=(0.32, 0.12),
    eyes=((0.26, -0.20, 0.045), (0.42, -0.17, 0.045)),
    frontal=True,
)
_CRAB = Form(
    parts=(
        Part("limb", cone, (-0.20, 0.20, 0.035, -0.38, 0.38, 0.025)),
        Part("limb", cone, (0.20, 0.20, 0.035, 0.38, 0.38, 0.025)),
        Part("limb", cone, (-0.12, 0.24, 0.035, -0.20, 0.42, 0.025)),
        Part("limb", cone, (0.12, 0.24, 0.035, 0.20, 0.42, 0.025)),
        Part("limb", cone, (-0.26, 0.05, 0.04, -0.42, -0.10, 0.04)),
        Part("limb", cone, (0.26, 0.05, 0.04, 0.42, -0.10, 0.04)),
        Part("wing", ellipse, (-0.40, -0.20, 0.10, 0.13, 0.4)),
        Part("wing", ellipse, (0.40, -0.20, 0.10, 0.13, -0.4)),
        Part("limb", cone, (-0.10, 0.0, 0.025, -0.12, -0.22, 0.03)),
        Part("limb", cone, (0.10, 0.0, 0.025, 0.12, -0.22, 0.03)),
        Part("body", ellipse, (0.0, 0.12, 0.34, 0.22)),
    ),
    crown=(0.0, 0.08),
    eyes=((-0.12, -0.24, 0.065), (0.12, -0.24, 0.065)),
    frontal=True,
)
_FISH = Form(
    parts=(
        Part("wing", wedge, (-0.26, 0.04, -0.50, -0.20, -0.46, 0.26)),
        Part("wing", wedge, (-0.14, -0.18, -0.06, -0.40, 0.16, -0.18)),
        Part("body", ellipse, (0.05, 0.03, 0.38, 0.25)),
        Part("belly", ellipse, (0.10, 0.16, 0.24, 0.10)),
        Part("wing", wedge, (0.02, 0.04, -0.16, 0.00, -0.12, 0.18)),
    ),
    crown=(0.17, -0.09),
    eyes=((0.32, -0.02, 0.055),),
)

FORMS = {
    "owlet": _OWLET,
    "moth": _MOTH,
    "finch": _FINCH,
    "newt": _NEWT,
    "hopper": _HOPPER,
    "snail": _SNAIL,
    "crab": _CRAB,
    "fish": _FISH,
}


@cache
def body_points(form: str) -> tuple[Field, Field]:
    """Abscissae and ordinates (n,) of evenly spread points inside a form: what is seen of it can be counted."""
    steps = np.arange(-0.6, 0.6, 0.025, dtype=np.float32)
    u, v = np.broadcast_arrays(steps[None, :], steps[:, None])
    inside = np.logical_or.reduce([part.shape(u, v, *part.numbers) < 0 for part in FORMS[form].parts])
    return u[inside], v[inside]
