"""A set in CUB's layout whose answers can be worked out: one coloured square on black in each picture."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}
SIDE = 32
# Its features are the three colour channels, its weights pick one: a map is the square itself.
FACTORY = """
import torch
from torch import nn

class Colours(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body = nn.Conv2d(3, 3, 1, bias=False)
        self.body.weight.data = torch.eye(3).flip(0)[:, :, None, None].contiguous()
        self.fc = nn.Linear(3, classes)
        self.fc.weight.data = 8 * torch.eye(classes, 3)
        self.fc.bias.data.zero_()

    def forward(self, x):
        return self.fc(self.body(x).mean((2, 3)))

def colours(num_classes=3):
    return Colours(num_classes)

def four():
    return Colours(4)

def pooled_twice():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3))
"""


class Square(NamedTuple):
    """Corners in pixels, both inside, and the colour that is shown."""

    x0: int
    y0: int
    x1: int
    y1: int
    shown: str


def square(name: str, number: int) -> Square:
    """The square of a picture; red/3 shows green, which is the wrong class."""
    x0, y0 = 3 + 2 * number, 5 + number
    return Square(x0, y0, x0 + 11 + number, y0 + 9, "green" if (name, number) == ("red", 3) else name)


def write_world(root: Path, per_class: int = 4) -> Path:
    """Pictures and CUB's text files in ``root/birds``, and the factory in ``root/model.py``."""
    folder = root / "birds"
    tables: dict[str, list[str]] = {
        name: [] for name in ("images", "image_class_labels", "bounding_boxes", "train_test_split")
    }
    identity = 0
    for split in ("train", "test"):
        for label, name in enumerate(COLOURS, start=1):
            for number in range(per_class):
                identity += 1
                path = f"{split}/{name}/{number}.png"
                x0, y0, x1, y1, shown = square(name, number)
                pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
                pixels[y0 : y1 + 1, x0 : x1 + 1] = COLOURS[shown]
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(folder / path)
                tables["images"].append(f"{identity} {path}")
                tables["image_class_labels"].append(f"{identity} {label}")
                tables["bounding_boxes"].append(f"{identity} {x0}.0 {y0}.0 {x1 - x0}.0 {y1 - y0}.0")
                tables["train_test_split"].append(f"{identity} {int(split == 'train')}")
    tables["classes"] = [f"{label} {name}" for label, name in enumerate(COLOURS, start=1)]
    for table, lines in tables.items():
        (folder / f"{table}.txt").write_text("\n".join(lines) + "\n")
    (root / "model.py").write_text(FACTORY)
    return folder
