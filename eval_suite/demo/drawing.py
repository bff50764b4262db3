"""Anti-aliased shapes on a canvas, drawn from signed distances.

Only sums, products, comparisons and square roots touch the pixels (waves are triangles, not sines), so that
every machine rounds to the same bytes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Colour = NDArray[np.float32]

_TINY = np.float32(1e-6)


def colour(red: int, green: int, blue: int) -> Colour:
    """A colour (3,) in [0, 1] from three bytes."""
    return np.array([red, green, blue], np.float32) / np.float32(255)


def ellipse(u: Field, v: Field, cx: float, cy: float, rx: float, ry: float, tilt: float = 0.0) -> Field:
    """Signed distance to an ellipse, exact to first order at its border.

    Args:
        u: (h, w) abscissae.
        v: (h, w) ordinates, downwards.
        cx: centre.
        cy: centre.
        rx: half axis along ``u`` before tilting.
        ry: half axis along ``v`` before tilting.
        tilt: radians, clockwise as ``v`` points down.
    """
    p, q = u - np.float32(cx), v - np.float32(cy)
    if tilt:
        c, s = np.float32(math.cos(tilt)), np.float32(math.sin(tilt))
        p, q = c * p + s * q, c * q - s * p
    p, q = p * np.float32(1 / rx), q * np.float32(1 / ry)
    level = p * p + q * q - np.float32(1)
    p, q = p * np.float32(2 / rx), q * np.float32(2 / ry)
    return level / (np.sqrt(p * p + q * q) + _TINY)


def cone(u: Field, v: Field, x0: float, y0: float, r0: float, x1: float, y1: float, r1: float) -> Field:
    """Distance to a rounded stroke from (x0, y0) to (x1, y1) whose half width goes from r0 to r1."""
    dx, dy = x1 - x0, y1 - y0
    p, q = u - np.float32(x0), v - np.float32(y0)
    length = dx * dx + dy * dy
    t = unit(p * np.float32(dx / length) + q * np.float32(dy / length))
    p, q = p - t * np.float32(dx), q - t * np.float32(dy)
    return np.sqrt(p * p + q * q) - (np.float32(r0) + t * np.float32(r1 - r0))


def wedge(u: Field, v: Field, x0: float, y0: float, x1: float, y1: float, x2: float, y2: float) -> Field:
    """Signed distance to a triangle, its corners in either order."""
    turn = math.copysign(1.0, (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0))
    planes = []
    for ax, ay, bx, by in ((x0, y0, x1, y1), (x1, y1, x2, y2), (x2, y2, x0, y0)):
        length = turn * math.hypot(bx - ax, by - ay)
        nx, ny = (by - ay) / length, (ax - bx) / length
        planes.append(u * np.float32(nx) + v * np.float32(ny) - np.float32(nx * ax + ny * ay))
    return np.maximum(np.maximum(planes[0], planes[1]), planes[2])


def box(u: Field, v: Field, rx: float, ry: float) -> Field:
    """Signed distance (outside corners: the larger of the two) to a centred rectangle of half sides rx, ry."""
    return np.maximum(np.abs(u) - np.float32(rx), np.abs(v) - np.float32(ry))


def disc(u: Field, v: Field, radius: float) -> Field:
    """Signed distance to a centred disc."""
    return np.sqrt(u * u + v * v) - np.float32(radius)


def unit(x: Field) -> Field:
    """Clip to [0, 1] in place."""
    np.maximum(x, np.float32(0), out=x)
    return np.minimum(x, np.float32(1), out=x)


def repeat(x: Field, period: float, phase: float = 0.0) -> Field:
    """The offset of every point from the middle of its period: a saw tooth in [-period/2, period/2)."""
    cells = x * np.float32(1 / period) + np.float32(phase)
    return (cells - np.floor(cells) - np.float32(0.5)) * np.float32(period)


def noise(rng: np.random.Generator, cells: int, height: int, width: int) -> Field:
    """Smooth noise (height, width) in [0, 1] with about ``cells`` bumps along each side."""
    grid = rng.random((cells + 2, cells + 2), np.float32)
    (top, bottom, wy), (left, right, wx) = _weights(cells, height), _weights(cells, width)
    rows = grid[top] + (grid[bottom] - grid[top]) * wy[:, None]
    first = rows[:, left]
    return first + (rows[:, right] - first) * wx


@dataclass(slots=True)
class Brush:
    """Paints on the part of a canvas that a turned and scaled frame of reference covers.

    Attributes:
        u: (h, w) abscissae of the window's pixels in the frame; +1 is ``scale`` pixels ahead.
        v: (h, w) ordinates, downwards.
        view: (3, h, w) window of the canvas, painted in place.
        window: rows and columns of the canvas that the window shows.
        scale: pixels per unit of the frame.
        turn: cosine and sine of the angle, and -1 where the frame is mirrored, else 1.
        origin: column and row of the frame's origin, counted from the window's corner.
    """

    u: Field
    v: Field
    view: Field
    window: tuple[slice, slice]
    scale: float
    turn: tuple[float, float, int]
    origin: tuple[float, float]

    @classmethod
    def over(
        cls,
        canvas: Field,
        x: float,
        y: float,
        scale: float,
        reach: float,
        angle: float = 0.0,
        flip: bool = False,
    ) -> Self:
        """Lay a frame on a canvas.

        Args:
            canvas: (3, H, W).
            x: pixels from the left border to the frame's origin.
            y: pixels from the top border to the frame's origin.
            scale: pixels per unit of the frame.
            reach: half side of the painted square, in units of the frame.
            angle: radians, clockwise.
            flip: mirror left and right.
        """
        rows, columns = _square(x, y, reach * scale + 1, canvas.shape[1], canvas.shape[2])
        px = (np.arange(columns.start, columns.stop, dtype=np.float32) + np.float32(0.5 - x)) * np.float32(
            1 / scale
        )
        py = (np.arange(rows.start, rows.stop, dtype=np.float32) + np.float32(0.5 - y)) * np.float32(
            1 / scale
        )
        c, s, side = math.cos(angle), math.sin(angle), -1 if flip else 1
        return cls(
            u=(px * np.float32(side * c)) + (py * np.float32(side * s))[:, None],
            v=(py * np.float32(c))[:, None] - (px * np.float32(s)),
            view=canvas[:, rows, columns],
            window=(rows, columns),
            scale=scale,
            turn=(c, s, side),
            origin=(x - columns.start, y - rows.start),
        )

    def around(self, x: float, y: float, reach: float) -> Self:
        """The same frame through the smallest window that holds a circle of it; ``window`` counts from this one."""
        c, s, side = self.turn
        column = self.origin[0] + self.scale * (c * side * x - s * y)
        row = self.origin[1] + self.scale * (s * side * x + c * y)
        rows, columns = at = _square(column, row, reach * self.scale + 2, *self.u.shape)
        origin = self.origin[0] - columns.start, self.origin[1] - rows.start
        view = self.view[:, rows, columns]
        return type(self)(self.u[at], self.v[at], view, at, self.scale, self.turn, origin)

    def cover(self, distance: Field, grow: float = 0.0) -> Field:
        """Share of each pixel (h, w) in [0, 1] inside a shape widened by ``grow`` pixels."""
        return unit(np.float32(0.5 + grow) - distance * np.float32(self.scale))

    def fill(self, distance: Field, paint: Colour, grow: float = 0.0, opacity: float = 1.0) -> None:
        """Paint a shape, given by its distance (h, w) in units of the frame and widened by ``grow`` pixels."""
        share = self.cover(distance, grow)
        if opacity != 1:
            share *= np.float32(opacity)
        change = paint[:, None, None] - self.view
        change *= share
        self.view += change


MARKS: dict[str, Callable[[Field, Field], Field]] = {
    "disc": lambda u, v: disc(u, v, 0.9),
    "ring": lambda u, v: np.abs(disc(u, v, 0.72)) - np.float32(0.28),
    "bar": lambda u, v: box(u, v, 1.1, 0.42),
    "cross": lambda u, v: np.minimum(box(u, v, 1.05, 0.34), box(u, v, 0.34, 1.05)),
    "peak": lambda u, v: wedge(u, v, -1.1, 0.8, 0.0, -1.1, 1.1, 0.8),
    "lozenge": lambda u, v: (np.abs(u) + np.abs(v) - np.float32(1.1)) * np.float32(0.7071),
}
"""Shapes about the size of the unit disc, as distances; the first five tell the classes apart."""


@cache
def _weights(cells: int, length: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Field]:
    position = (np.arange(length, dtype=np.float64) + 0.5) * cells / length
    low = np.floor(position).astype(np.intp)
    t = position - low
    return low, low + 1, (t * t * (3 - 2 * t)).astype(np.float32)


def _square(x: float, y: float, half: float, height: int, width: int) -> tuple[slice, slice]:
    top, left = max(math.floor(y - half), 0), max(math.floor(x - half), 0)
    bottom, right = max(math.ceil(y + half), 0), max(math.ceil(x + half), 0)
    return slice(min(top, height), min(bottom, height)), slice(min(left, width), min(right, width))
