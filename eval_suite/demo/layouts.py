"""The demo world written in the layouts that CUB-200-2011, PASCAL VOC and COCO were published in.

Every picture has its own generator, seeded by (seed, part, number): its bytes depend on nothing else, neither on
the pictures before it nor on how many there are. A smaller world is a part of a larger one.
"""

import json
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from eval_suite.demo.creatures import CLASSES, sample_creature, sample_unseen
from eval_suite.demo.drawing import Pixels
from eval_suite.demo.places import draw_habitat, draw_texture
from eval_suite.demo.scenes import Inhabitant, Portrait, Scene, describe, make_portrait, make_scene, tight_box

OOD_SETS = ("unseen-creatures", "textures", "cluttered-backgrounds")


class DemoSize(NamedTuple):
    """How many pictures of each sort, and how large in pixels."""

    train_per_class: int
    val_per_class: int
    voc2007_trainval: int
    voc2007_test: int
    voc2012_trainval: int
    coco_train: int
    coco_val: int
    ood_per_set: int
    image_side: int = 64
    scene_height: int = 96
    scene_width: int = 128


class Part(IntEnum):
    """What a picture belongs to: the second number of its seed. New parts go to the end."""

    TRAIN = 0
    VAL = 1
    VOC2007_TRAINVAL = 2
    VOC2007_TEST = 3
    VOC2012_TRAINVAL = 4
    COCO_TRAIN = 5
    COCO_VAL = 6
    UNSEEN = 7
    TEXTURES = 8
    BACKGROUNDS = 9


def portrait(seed: int, part: Part, number: int, side: int) -> Portrait:
    """Picture ``number`` of the training or validation images; its class is ``number`` modulo the classes."""
    rng = _generator(seed, part, number)
    return make_portrait(rng, sample_creature(rng, number % len(CLASSES)), side, side)


def write_images(root: Path, size: DemoSize, seed: int) -> dict[str, int]:
    """The image folders ``train`` and ``val``, and CUB's text files about both; returns the counts."""
    paths: list[str] = []
    boxes: list[str] = []
    labels: list[str] = []
    splits: list[str] = []
    number_of = {"train": size.train_per_class, "val": size.val_per_class}
    for split, part in (("train", Part.TRAIN), ("val", Part.VAL)):
        for label, name in enumerate(CLASSES):
            for i in range(number_of[split]):
                made = portrait(seed, part, i * len(CLASSES) + label, size.image_side)
                paths.append(f"{split}/{name}/{i + 1:04d}.jpg")
                _save(root / paths[-1], made.pixels)
                x0, y0, x1, y1 = tight_box(made.mask)
                boxes.append(f"{x0:.1f} {y0:.1f} {x1 - x0:.1f} {y1 - y0:.1f}")
                labels.append(f"{label + 1}")
                splits.append(f"{split == 'train':d}")
    for file, values in (
        ("images", paths),
        ("image_class_labels", labels),
        ("bounding_boxes", boxes),
        ("train_test_split", splits),
        ("classes", list(CLASSES)),
    ):
        _write_lines(root / f"{file}.txt", [f"{i} {value}" for i, value in enumerate(values, start=1)])
    return {f"images/{split}": n * len(CLASSES) for split, n in number_of.items()}


def write_voc(root: Path, size: DemoSize, seed: int) -> dict[str, int]:
    """VOCdevkit with VOC2007 (trainval, test) and VOC2012 (trainval); returns the counts."""
    counts = {"VOC2007/trainval": size.voc2007_trainval, "VOC2007/test": size.voc2007_test}
    counts["VOC2012/trainval"] = size.voc2012_trainval
    for key, count in counts.items():
        year, split = key.split("/")
        first = 1 + (size.voc2007_trainval if split == "test" else 0)
        shown: dict[str, list[Inhabitant]] = {}
        for i in range(count):
            name = f"{first + i:06d}" if year == "VOC2007" else f"2012_{first + i:06d}"
            scene = _scene(seed, Part[f"{year}_{split.upper()}"], i, size)[0]
            _save(root / year / "JPEGImages" / f"{name}.jpg", scene.pixels)
            _write_lines(root / year / "Annotations" / f"{name}.xml", [voc_xml(year, name, scene)])
            shown[name] = scene.inhabitants
        names = list(shown)
        sets = (
            {"test": names}
            if split == "test"
            else {"trainval": names, "train": names[::2], "val": names[1::2]}
        )
        for set_name, members in sets.items():
            lists = root / year / "ImageSets" / "Main"
            _write_lines(lists / f"{set_name}.txt", members)
            for label in CLASSES:
                lines = [f"{name} {_presence(label, shown[name]):2d}" for name in members]
                _write_lines(lists / f"{label}_{set_name}.txt", lines)
    return counts


def write_coco(root: Path, size: DemoSize, seed: int) -> dict[str, int]:
    """COCO captions 2014: ``train2014``, ``val2014`` and their annotations; returns the counts."""
    image_id = 0
    for split, part, count in (
        ("train2014", Part.COCO_TRAIN, size.coco_train),
        ("val2014", Part.COCO_VAL, size.coco_val),
    ):
        images, captions = [], []
        for i in range(count):
            scene, rng = _scene(seed, part, i, size)
            image_id += 1
            name, (height, width) = f"COCO_{split}_{image_id:012d}.jpg", scene.pixels.shape[:2]
            _save(root / split / name, scene.pixels)
            images.append({"license": 1, "file_name": name, "height": height, "width": width, "id": image_id})
            for n, caption in enumerate(describe(rng, scene, height)):
                captions.append({"image_id": image_id, "id": 5 * image_id - 4 + n, "caption": caption})
        content = {
            "info": {
                "description": "Demo world",
                "version": "1.0",
                "year": 2014,
                "contributor": "eval_suite",
            },
            "licenses": [{"id": 1, "name": "MIT", "url": "https://opensource.org/license/mit"}],
            "images": images,
            "annotations": captions,
        }
        _write_lines(root / "annotations" / f"captions_{split}.json", [json.dumps(content, allow_nan=False)])
    return {"coco/train2014": size.coco_train, "coco/val2014": size.coco_val}


def write_ood(root: Path, size: DemoSize, seed: int) -> dict[str, int]:
    """Flat folders of pictures that show no creature of a known class; returns the counts."""
    side = size.image_side
    makers: tuple[tuple[Part, Callable[[np.random.Generator], Pixels]], ...] = (
        (Part.UNSEEN, lambda rng: make_portrait(rng, sample_unseen(rng), side, side).pixels),
        (Part.TEXTURES, lambda rng: draw_texture(rng, side, side).finish(rng)),
        (Part.BACKGROUNDS, lambda rng: draw_habitat(rng, side, side)[0].finish(rng)),
    )
    for name, (part, make) in zip(OOD_SETS, makers, strict=True):
        for i in range(size.ood_per_set):
            _save(root / name / f"{i + 1:04d}.jpg", make(_generator(seed, part, i)))
    return {f"ood/{name}": size.ood_per_set for name in OOD_SETS}


def voc_xml(year: str, name: str, scene: Scene) -> str:
    """VOC's annotation of a scene; its boxes count pixels from 1 and include both corners."""
    height, width, depth = scene.pixels.shape
    objects = ""
    for each in scene.inhabitants:
        x0, y0, x1, y1 = each.box
        objects += (
            f"<object><name>{each.creature.name}</name><pose>{'Left' if each.pose.left else 'Right'}</pose>"
            f"<truncated>{int(each.truncated)}</truncated><difficult>{int(each.difficult)}</difficult>"
            f"<bndbox><xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        )
    return (
        f"<annotation><folder>{year}</folder><filename>{name}.jpg</filename>"
        "<source><database>Demo world</database><annotation>eval_suite</annotation><image>eval_suite</image></source>"
        f"<size><width>{width}</width><height>{height}</height><depth>{depth}</depth></size>"
        f"<segmented>0</segmented>{objects}</annotation>"
    ).replace("><", ">\n<")


def _presence(label: str, inhabitants: list[Inhabitant]) -> int:
    """VOC's mark of a class in an image: 1 present, 0 only as difficult objects, -1 absent."""
    difficult = [each.difficult for each in inhabitants if each.creature.name == label]
    return -1 if not difficult else int(not all(difficult))


def _scene(seed: int, part: Part, number: int, size: DemoSize) -> tuple[Scene, np.random.Generator]:
    rng = _generator(seed, part, number)
    return make_scene(rng, number % len(CLASSES), size.scene_height, size.scene_width), rng


def _generator(seed: int, part: Part, number: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed, int(part), number]))


def _save(path: Path, pixels: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Full colour resolution: a small part's colour would bleed away at JPEG's usual half resolution.
    Image.fromarray(pixels).save(path, "JPEG", quality=95, subsampling=0)


def _write_lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
