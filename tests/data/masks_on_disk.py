"""A devkit with masks, drawn: a coloured square (class 1) and disc (class 2) on grey, with a border that does not count."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from eval_suite.data.masks import IGNORED, palette

COLOURS = {1: (220, 40, 40), 2: (40, 60, 220)}
NAMES = ["background", "square", "disc"]


def write_mask(path: Path, labels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(labels.astype(np.uint8))
    image.putpalette(palette())
    image.save(path)


def write_devkit(
    root: Path, *, train: int = 6, val: int = 4, size: tuple[int, int] = (64, 48), year: str = "VOC2012"
) -> Path:
    """Writes ROOT/VOC2012 and ROOT/classes.txt; returns the root."""
    rng = np.random.default_rng(0)
    base = root / year
    (base / "JPEGImages").mkdir(parents=True)
    (base / "ImageSets/Segmentation").mkdir(parents=True)
    for split, count in (("train", train), ("val", val)):
        names = []
        for i in range(count):
            name = f"{split}_{i:04d}"
            grey = int(rng.integers(90, 160))
            image = Image.new("RGB", size, (grey, grey, grey))
            mask = Image.new("L", size, 0)
            for label, draw in ((1, "rectangle"), (2, "ellipse")):
                x, y = (int(rng.integers(0, side - 20)) for side in size)
                box = (x, y, x + 19, y + 19)
                getattr(ImageDraw.Draw(image), draw)(box, fill=COLOURS[label])
                getattr(ImageDraw.Draw(mask), draw)(box, fill=label, outline=IGNORED)
            noise = rng.normal(0, 6, (size[1], size[0], 3))
            pixels = np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(base / "JPEGImages" / f"{name}.jpg", quality=95)
            write_mask(base / "SegmentationClass" / f"{name}.png", np.asarray(mask))
            names.append(name)
        (base / "ImageSets/Segmentation" / f"{split}.txt").write_text("\n".join(names) + "\n")
    (root / "classes.txt").write_text("\n".join(NAMES) + "\n")
    return root
