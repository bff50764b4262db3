"""Files become RGB pixels, whatever their mode."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eval_suite.data.decoding import to_rgb


@pytest.mark.parametrize(
    ("mode", "value", "suffix"),
    [("L", 100, "png"), ("RGB", (100, 100, 100), "png"), ("RGBA", (100, 100, 100, 50), "png"), ("LA", (100, 9), "png"),
     ("1", 1, "png"), ("CMYK", (0, 0, 0, 155), "jpeg"), ("I;16", 100 * 257, "png"), ("P", 3, "png")],
)  # fmt: skip
def test_every_colour_mode_becomes_rgb(mode: str, value: Any, suffix: str) -> None:
    image = Image.new(mode, (4, 4), value)
    if mode == "P":
        image.putpalette([0, 0, 0] * 3 + [100, 100, 100])
        image.info["transparency"] = bytes([255, 255, 255, 7])
    stream = io.BytesIO()
    image.save(stream, suffix)
    with Image.open(stream) as read:
        result = to_rgb(read)
    assert result.mode == "RGB"
    expected = 255 if mode == "1" else 100
    assert np.abs(np.asarray(result).astype(int) - expected).max() <= 1
