"""The demo world: a seeded, procedural stand-in for CUB, VOC, COCO and out-of-distribution sets, made in seconds.

Ten classes of creatures, each part of which is noisy evidence of the class, in the layouts that the real data sets
were published in, so that the code that reads those reads this. The bytes depend on seed, size and the version of Pillow.

A finished world::

    images/{train,val}/<class>/<number>.jpg     image folder, one size of picture
    images/{images,image_class_labels,classes,bounding_boxes,train_test_split}.txt    as CUB-200-2011 has them
    VOCdevkit/{VOC2007,VOC2012}/{JPEGImages,Annotations,ImageSets/Main}
    coco/{train2014,val2014,annotations}        captions, five to a picture
    ood/<set>/<number>.jpg                      pictures without a known creature
    demo.json                                   what was made; present only when all of it is
"""

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

from eval_suite.core.errors import EvalSuiteError, InputError, unknown_name
from eval_suite.core.store import staging
from eval_suite.demo.creatures import CLASSES
from eval_suite.demo.layouts import DemoSize, write_coco, write_images, write_ood, write_voc

VERSION = 3
"""Goes up whenever the same seed and size make other files."""

SIZES = {
    "tiny": DemoSize(6, 3, voc2007_trainval=12, voc2007_test=6, voc2012_trainval=6, coco_train=8, coco_val=4, ood_per_set=8),
    # What `eval-suite quickstart` evaluates on; next to nothing to train on.
    "quick": DemoSize(1, 20, voc2007_trainval=1, voc2007_test=1, voc2012_trainval=1, coco_train=1, coco_val=1, ood_per_set=60),
    "small": DemoSize(
        100, 100, voc2007_trainval=120, voc2007_test=60, voc2012_trainval=60, coco_train=120, coco_val=60, ood_per_set=300
    ),
    "medium": DemoSize(
        400, 400, voc2007_trainval=480, voc2007_test=240, voc2012_trainval=240, coco_train=480, coco_val=240, ood_per_set=1200
    ),
}  # fmt: skip

_SUMMARY = "demo.json"
_UNFINISHED = ".demo-incomplete"  # left by versions that built in place
_PARTS = {"images": write_images, "VOCdevkit": write_voc, "coco": write_coco, "ood": write_ood}


class DemoSummary(NamedTuple):
    """What a demo world holds.

    Attributes:
        out: its folder.
        counts: pictures by part, e.g. ``{"images/train": 1000, "VOC2007/test": 60, ...}``.
        classes: names in the order of their numbers.
        seconds: time spent; next to nothing where the world was there already.
    """

    out: Path
    counts: dict[str, int]
    classes: list[str]
    seconds: float


def make_demo(out: Path, size: str = "small", seed: int = 0) -> DemoSummary:
    """Make a demo world in a folder, or find that it is there already.

    The folder appears when all is written; until then the work lies next to it. A demo world of another seed, size
    or version, and one that was interrupted, is replaced.

    Args:
        out: the folder; may be missing or empty.
        size: a name in ``SIZES``.
        seed: 0 or larger.

    Raises:
        InputError: if the size is unknown, the seed negative, or the folder holds anything but a demo world.
        EvalSuiteError: if the folder cannot be written.
    """
    start = time.perf_counter()
    if size not in SIZES:
        raise unknown_name("demo size", size, SIZES)
    if seed < 0:
        raise InputError(expected="a demo seed of 0 or larger", found=f"{seed}", remedy="give another --seed")
    wanted = {"generator": "eval_suite demo world", "version": VERSION, "seed": seed, "size": size}
    target = Path(out).resolve()
    try:
        summary = _finished(target, wanted) or _build(target, wanted, SIZES[size], seed)
    except OSError as error:
        raise EvalSuiteError(
            f"cannot write the demo world to {out}: {error.strerror or error}; free some space or choose another folder"
        ) from error
    return DemoSummary(Path(out), summary["counts"], summary["classes"], time.perf_counter() - start)


def _finished(target: Path, wanted: dict[str, Any]) -> dict[str, Any] | None:
    """The summary of the wanted demo world where the folder holds it, or None where it may be built.

    Raises:
        InputError: if the folder holds anything but a demo world.
    """
    if not target.exists():
        return None
    if not target.is_dir():
        raise InputError(
            expected=f"a folder for the demo world at {target}",
            found="a file",
            remedy="choose another folder",
        )
    names = {path.name for path in target.iterdir()}
    foreign = sorted(names - {*_PARTS, _SUMMARY, _UNFINISHED})
    summary = _read_summary(target / _SUMMARY)
    if foreign or (names and summary is None and _UNFINISHED not in names):
        shown = ", ".join((foreign or sorted(names))[:3])
        raise InputError(
            expected=f"an empty folder or a demo world at {target}",
            found=f"other content ({shown})",
            remedy="choose another folder or move that content away",
        )
    if summary is None or _UNFINISHED in names:
        return None
    return summary if all(summary[key] == value for key, value in wanted.items()) else None


def _read_summary(path: Path) -> dict[str, Any] | None:
    try:
        summary = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    ours = (
        isinstance(summary, dict)
        and {"generator", "version", "seed", "size", "counts", "classes"} <= summary.keys()
    )
    return summary if ours else None


def _build(target: Path, wanted: dict[str, Any], size: DemoSize, seed: int) -> dict[str, Any]:
    with staging(target) as folder:
        whole = folder / "whole"
        whole.mkdir()
        counts: dict[str, int] = {}
        for part, write in _PARTS.items():
            counts |= write(whole / part, size, seed)
        summary = {**wanted, "counts": counts, "classes": list(CLASSES)}
        text = json.dumps(summary, allow_nan=False, indent=1) + "\n"
        (whole / _SUMMARY).write_text(text, "utf-8")
        if (ready := _finished(target, wanted)) is not None:
            return ready  # another process was faster, and made the same
        if target.exists():
            # Renamed away before it is deleted, so that nobody ever reads half of it.
            target.rename(folder / "old")
        whole.rename(target)
    return summary
