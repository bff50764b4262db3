"""Polygons on a canvas four times as large as the picture, which makes the edges of the picture smooth.

Pillow fills polygons with whole-number corners and resizes small bytes: what every version of it does alike.
"""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw

Points = NDArray[np.float64]
Colour = tuple[int, int, int]
Pixels = NDArray[np.uint8]

SUPERSAMPLING = 4
INK: Colour = (38, 30, 36)
LIGHT = (0.7, 1.15)  # gain of a whole picture
CAST = (0.85, 1.1)  # gain of each of its channels
GRAIN = 4.0  # standard deviation of each pixel, of 255


def blob(x: float, y: float, rx: float, ry: float, tilt: float = 0.0) -> Points:
    """Corners (20, 2) of an ellipse, turned clockwise by ``tilt`` radians as ``y`` points down."""
    turn = np.arange(20) * (math.pi / 10)
    return moved(np.stack([rx * np.cos(turn), ry * np.sin(turn)], 1), x, y, 1.0, tilt)


def limb(x0: float, y0: float, r0: float, x1: float, y1: float, r1: float) -> Points:
    """Corners (14, 2) of a rounded stroke whose half width goes from r0 to r1."""
    turn = math.atan2(y1 - y0, x1 - x0) + math.pi / 2 + np.arange(7) * (math.pi / 6)
    arc = np.stack([np.cos(turn), np.sin(turn)], 1)
    return np.concatenate([arc * r0 + (x0, y0), -arc * r1 + (x1, y1)])


def corners(*points: tuple[float, float]) -> Points:
    """A polygon (n, 2)."""
    return np.array(points, np.float64)


def moved(
    points: Points, x: float, y: float, scale: float = 1.0, angle: float = 0.0, flip: bool = False
) -> Points:
    """Points mirrored where they ``flip``, scaled, turned clockwise by ``angle`` and put at (x, y)."""
    c, s, side = scale * math.cos(angle), scale * math.sin(angle), -1 if flip else 1
    u, v = points[:, 0] * side, points[:, 1]
    out = np.empty_like(points)
    out[:, 0] = x + u * c - v * s
    out[:, 1] = y + u * s + v * c
    return out


def whole(points: Points) -> list[int]:
    """Points (n, 2) in pixels as whole numbers x, y, x, y, ... of the supersampled canvas."""
    flat: list[int] = np.rint(points * SUPERSAMPLING).astype(np.int64).ravel().tolist()
    return flat


class Canvas:
    """An image, and who is seen at each of its points: 0 nobody, else a number up to 255; both supersampled.

    Args:
        ground: the picture that is drawn upon, of the wanted size.
    """

    def __init__(self, ground: Image.Image) -> None:
        size = ground.width * SUPERSAMPLING, ground.height * SUPERSAMPLING
        self.image = ground.resize(size, Image.Resampling.NEAREST)
        self.owner = Image.new("L", size)
        self._brush, self._claim = ImageDraw.Draw(self.image), ImageDraw.Draw(self.owner)

    def fill(self, points: Points, paint: Colour, owner: int = 0, line: float = 0.0) -> None:
        """Paint a polygon, given in pixels, with an ink line around where ``line`` has a width in pixels."""
        flat = whole(points)
        if line:
            width = round(2 * line * SUPERSAMPLING)
            self._brush.line(flat + flat[:2], INK, width)
            self._claim.line(flat + flat[:2], owner, width)
        self._brush.polygon(flat, paint)
        self._claim.polygon(flat, owner)

    def fill_inside(self, outline: Points, figures: list[Points], paint: Colour) -> None:
        """Paint polygons where they are inside another, and who is seen stays."""
        corner = np.floor(outline.min(axis=0))
        size = ((np.ceil(outline.max(axis=0)) - corner) * SUPERSAMPLING).astype(int).tolist()
        masks = [Image.new("1", (size[0], size[1])) for _ in range(2)]
        for mask, polygons in zip(masks, ([outline], figures), strict=True):
            brush = ImageDraw.Draw(mask)
            for points in polygons:
                brush.polygon(whole(points - corner), 1)
        at = whole(corner)
        self.image.paste(paint, (at[0], at[1]), ImageChops.logical_and(*masks))

    def covered(self, owner: int) -> NDArray[np.bool_]:
        """Pixels (H, W) of which a number owns at least half."""
        width, height = (side // SUPERSAMPLING for side in self.owner.size)
        of = np.asarray(self.owner) == owner
        counts = of.reshape(height, SUPERSAMPLING, width, SUPERSAMPLING).sum(axis=(1, 3), dtype=np.int64)
        return 2 * counts >= SUPERSAMPLING**2

    def finish(self, rng: np.random.Generator) -> Pixels:
        """The picture (H, W, 3): reduced, lit from a side in a tint, with grain."""
        small = np.asarray(self.image.reduce(SUPERSAMPLING), np.float32)
        height, width = small.shape[:2]
        down, across = rng.uniform(-0.25, 0.25, 2)
        slope = np.linspace(-down, down, height)[:, None] + np.linspace(-across, across, width)
        light = rng.uniform(*LIGHT) * rng.uniform(*CAST, 3)
        lit = small * (light * (1 + slope[:, :, None])) + rng.normal(0, GRAIN, (height, width, 1))
        return np.clip(np.rint(lit), 0, 255).astype(np.uint8)


def blend(image: Image.Image, paint: Colour, levels: NDArray[np.uint8]) -> None:
    """Paint an image as thickly as levels on a coarse grid (n, n) say, smoothly enlarged."""
    image.paste(paint, mask=Image.fromarray(levels).resize(image.size, Image.Resampling.BICUBIC))
