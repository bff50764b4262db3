"""Which families of backbones enter which tasks: every cell through the command line, as a table in Markdown.

Weights are random (each family's are drawn once and read from a file, as a user's are) and the data tiny, so numbers say nothing;
what counts is that a cell ends with exit code 0, or with 2 and one line that says why not. Any other end fails this script.
Cells are kept in OUT/cells, a file a family; only those that are missing there are run.
"""

import argparse
import io
import json
import re
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import numpy as np
import timm
import torch
from PIL import Image
from torch import Tensor

from eval_suite.cli.main import main as eval_suite
from eval_suite.demo.world import make_demo

CLASSES = 10


class Family(NamedTuple):
    """An architecture of timm, the side of its images, whether it has classes, and what its file looks like."""

    arch: str
    side: int = 64
    headless: bool = False
    wrapped: Callable[[dict[str, Tensor]], dict[str, object]] = lambda state: {"state_dict": state}


def as_mae_saves(state: dict[str, Tensor]) -> dict[str, object]:
    """With the decoder's weights next to those of the encoder."""
    return {"model": {**state, "mask_token": torch.zeros(1, 1, 512), "decoder_pred.bias": torch.zeros(768)}}


FAMILIES = {
    "ResNet": Family("resnet10t"),
    "ConvNeXt": Family("convnext_atto"),
    "EfficientNet": Family("efficientnet_b0"),
    "MobileNetV3": Family("mobilenetv3_small_050"),
    "ViT": Family("vit_tiny_patch16_224"),
    "DeiT, distilled": Family("deit_tiny_distilled_patch16_224"),
    "Swin": Family("swin_tiny_patch4_window7_224"),
    "DINOv2 with registers": Family("vit_small_patch14_reg4_dinov2", side=56, headless=True),
    "MAE": Family("vit_small_patch16_224", headless=True, wrapped=as_mae_saves),
    "CLIP's image tower": Family("vit_xsmall_patch16_clip_224", headless=True),
    "MLP-Mixer": Family("mixer_s32_224", side=224),
    "own network of features": Family("", headless=True),
}
OWN = """
from torch import nn
import torch

def make():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 7, 4, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU()
    )
"""
SHORT = "--limit 2 --{0}.batch-size 2 --{0}.warmup 0 --iterations 1"
SSD = f"{SHORT.format('ssd')} --ssd.input-size 64 64"
FASTER = f"{SHORT.format('faster-rcnn')} --faster-rcnn.short-side 64 --faster-rcnn.long-side 86 --faster-rcnn.regions 8"
ROBUSTNESS = "--occlusion-sizes 2 --cutmix-sizes 2 --mixup-lambdas 0.5 --pgd-steps 2 --corruptions brightness --severities 1"
CELLS = {
    "probe": "probe --data folder:{images} --knn-k 3 --linear-c 1",
    "classify": "classify --data folder:{images}",
    "wsol, cam": "wsol --data cub:{images} --limit 2",
    "wsol, gradcam": "wsol --data cub:{images} --limit 2 --cam-method gradcam",
    "wsol, rollout": "wsol --data cub:{images} --limit 2 --cam-method rollout",
    "wsol, legrad": "wsol --data cub:{images} --limit 2 --cam-method legrad",
    "wsol, fit": "wsol --data cub:{images} --limit 2 --fit.preset custom --fit.epochs 1",
    "ood": "ood --data folder:{images} --outliers uniform",
    "ood, features": "ood --data folder:{images} --outliers uniform --scores knn --knn-k 3",
    "robustness": f"robustness --data folder:{{images}} --limit 2 {ROBUSTNESS}",
    "segment": "segment --data voc:{masks} --classes {masks}/classes.txt --short-side 64 --iterations 1 --fit-batch-size 2",
    "detect, ssd": f"detect --data voc:{{boxes}} --detectors ssd {SSD}",
    "detect, ssd-fpn": f"detect --data voc:{{boxes}} --detectors ssd-fpn {SSD}",
    "detect, faster-rcnn-c4": f"detect --data voc:{{boxes}} --detectors faster-rcnn-c4 {FASTER}",
    "detect, faster-rcnn-fpn": f"detect --data voc:{{boxes}} --detectors faster-rcnn-fpn {FASTER}",
    "caption": "caption --data coco:{captions} --epochs 1 --min-count 1 --num-beams 1 --max-length 4 --limit 2",
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for data, weights, records and cells")
    parser.add_argument("--family", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    out: Path = arguments.out.absolute()
    data = world(out / "data")
    for name in arguments.family:
        run_family(FAMILIES[name], data, out, cells_of(out, name))
    found = {name: read(cells_of(out, name)) for name in FAMILIES}
    print(table(found))
    wrong = [
        f"{name}, {cell}: {end}"
        for name, cells in found.items()
        for cell, end in cells.items()
        if end[0] not in (0, 2)
    ]
    print("\n".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


def cells_of(out: Path, family: str) -> Path:
    return out / "cells" / f"{family}.json"


def read(path: Path) -> dict[str, tuple[int, str]]:
    return json.loads(path.read_text()) if path.is_file() else {}


def world(folder: Path) -> dict[str, Path]:
    """Tiny data of every kind, made where they are missing."""
    demo = make_demo(folder / "demo", "tiny").out
    masks = folder / "masks"
    if not masks.is_dir():
        write_masks(masks)
    return {"images": demo / "images", "boxes": demo / "VOCdevkit", "captions": demo / "coco", "masks": masks}


def write_masks(root: Path) -> None:
    """Grey images with a square of class 1, as VOC2012 has them."""
    base = root / "VOC2012"
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (base / part).mkdir(parents=True)
    for split, count in (("train", 4), ("val", 2)):
        names = [f"{split}{i}" for i in range(count)]
        for i, name in enumerate(names):
            labels = np.zeros((48, 64), np.uint8)
            labels[8 + i : 28 + i, 10 + i : 30 + i] = 1
            Image.fromarray(120 + 100 * labels).convert("RGB").save(base / "JPEGImages" / f"{name}.jpg")
            mask = Image.fromarray(labels)
            mask.putpalette([0, 0, 0, 255, 255, 255])
            mask.save(base / "SegmentationClass" / f"{name}.png")
        (base / "ImageSets/Segmentation" / f"{split}.txt").write_text("\n".join(names))
    (root / "classes.txt").write_text("background\nsquare\n")


def run_family(family: Family, data: dict[str, Path], out: Path, path: Path) -> None:
    """Add to a file the exit code and, where that is not 0, the error's line of each cell that it lacks."""
    name = family.arch or "own"
    backbone = f"timm:{family.arch}@{weights(family, out)}" if family.arch else f"{own(out)}:make"
    common = ["--backbone", backbone, "--input-size", str(family.side), "--name", name, "--overwrite"]
    common += ["--out", str(out / "reports" / "table"), "--device", "cpu", "--threads", "1", "--workers", "0"]
    cells = read(path)
    path.parent.mkdir(exist_ok=True)
    for cell, words in CELLS.items():
        if cell in cells:
            continue
        task, *options = words.format(**data).split()
        head = ["--head", "probe"] if family.headless and task != "segment" else []
        begin = time.process_time()
        cells[cell] = one([task, *common, *options, *head])
        seconds = time.process_time() - begin
        print(f"{name:32} {cell:24} {seconds:5.1f} s  {cells[cell]}", file=sys.stderr, flush=True)
        path.write_text(json.dumps(cells, indent=1))


def one(argv: list[str]) -> tuple[int, str]:
    errors = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(errors):
        code = eval_suite(argv)
    lines = [line for line in errors.getvalue().splitlines() if line.startswith("error: ")]
    return code, lines[-1].removeprefix("error: ") if code else ""


def weights(family: Family, out: Path) -> Path:
    path = out / "weights" / f"{family.arch}.pth"
    if not path.is_file():
        torch.manual_seed(0)
        net = timm.create_model(family.arch, num_classes=0 if family.headless else CLASSES)
        for parameter in net.parameters():
            if not parameter.any():  # a last layer that begins at 0 would answer every image alike
                torch.nn.init.normal_(parameter, std=0.02)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(family.wrapped(net.state_dict()), path)
    return path


def own(out: Path) -> Path:
    path = out / "own.py"
    path.write_text(OWN)
    return path


def table(found: dict[str, dict[str, tuple[int, str]]]) -> str:
    """Families as rows; a number in a cell is that of the reason below, and an empty one was not run."""
    reasons: list[str] = []
    rows = ["| | " + " | ".join(CELLS) + " |", "|---" * (len(CELLS) + 1) + "|"]
    for name, cells in found.items():
        shown = []
        for cell in CELLS:
            if cell not in cells:
                shown.append("")
                continue
            code, line = cells[cell]
            reason = re.sub(r"found \w+ '[\w.]+' \([^)]*\)", "found another network", line)
            reason = re.sub(r"(backbone )?'[\w.]+' \([^)]*\)", "the network", reason)
            reason = re.sub(r"behind '[\w.]+'", "behind that map", reason)
            if code and reason not in reasons:
                reasons.append(reason)
            shown.append(f"{reasons.index(reason) + 1}" if code else "yes")
        rows.append(f"| {name} | " + " | ".join(shown) + " |")
    return "\n".join([*rows, "", *(f"{i}. {reason}" for i, reason in enumerate(reasons, 1))])


if __name__ == "__main__":
    sys.exit(main())
