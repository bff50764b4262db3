"""A demo world seen through noise: a control that a measure has to fail on."""

import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from eval_suite.core.errors import EvalSuiteError, InputError
from eval_suite.core.store import staging

_SUMMARY = "noise.json"


def add_noise(world: Path, out: Path, sigma: float, seed: int = 0) -> Path:
    """Copy a demo world's class folders and OOD sets with Gaussian noise on every pixel, or find that copy there already.

    Args:
        world: a finished demo world.
        out: folder of the copy; replaced where it is of another noise.
        sigma: standard deviation of the noise; pixels are in [0, 1], and are cut off there.
        seed: decides the noise; each image has its own.

    Returns:
        ``out``.

    Raises:
        InputError: if the folder holds anything but a noisy demo world.
        EvalSuiteError: if it cannot be written.
    """
    wanted = {"world": json.loads((world / "demo.json").read_text("utf-8")), "sigma": sigma, "seed": seed}
    summary = out / _SUMMARY
    try:
        if summary.is_file() and json.loads(summary.read_text("utf-8")) == wanted:
            return out
        if out.exists() and not summary.is_file():
            raise InputError(
                expected=f"a noisy demo world or nothing at {out}",
                found="other content",
                remedy="choose another folder or move that content away",
            )
        with staging(out) as folder:
            copy = folder / "world"
            for part in ("images", "ood"):
                shutil.copytree(world / part, copy / part)
            for index, path in enumerate(sorted(copy.rglob("*.jpg"))):
                _add(path, sigma, np.random.default_rng([seed, index]))
            (copy / _SUMMARY).write_text(json.dumps(wanted), "utf-8")
            if out.exists():
                out.rename(folder / "old")
            copy.rename(out)
    except (OSError, ValueError) as error:
        raise EvalSuiteError(f"cannot write the noisy demo world to {out}: {error}") from error
    return out


def _add(path: Path, sigma: float, generator: np.random.Generator) -> None:
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"), np.float64) / 255
    noisy = np.clip(pixels + generator.normal(0.0, sigma, pixels.shape), 0.0, 1.0)
    Image.fromarray(np.round(255 * noisy).astype(np.uint8)).save(path, quality=95)
