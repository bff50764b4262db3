"""The demo world written in the layouts that CUB-200-2011, PASCAL VOC and COCO were published in.

Every picture has its own generator, seeded by (seed, part, number): its bytes depend on nothing else, neither on
the pictures before it nor on how many there are. A smaller world is a part of a larger one.
"""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eval_suite.demo.creatures import CLASSES, sample_creature, sample_unseen
from eval_suite.demo.habitats import draw_habitat, draw_texture, finish
from eval_suite.demo.scenes import (
    Inhabitant,
    Portrait,
    Scene,
    describe,
    facing,
    make_portrait,
    make_scene,
    tight_box,
)

OOD_SETS = ("unseen-creatures", "textures", "cluttered-backgrounds")


@dataclass(frozen=True)
class DemoSize:
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
    lines: dict[str, list[str]] = {
        name: [] for name in ("images", "image_class_labels", "bounding_boxes", "train_test_split")
    }
    number_of = {"train": size.train_per_class, "val": size.val_per_class}
    identity = 0
    for split, part in (("train", Part.TRAIN), ("val", Part.VAL)):
        for label, name in enumerate(CLASSES):
            (root / split / name).mkdir(parents=True)
            for i in range(number_of[split]):
                identity += 1
                path = f"{split}/{name}/{i + 1:04d}.jpg"
                made = portrait(seed, part, i * len(CLASSES) + label, size.image_side)
                _save(root / path, made.pixels)
                x0, y0, x1, y1 = tight_box(made.mask)
                lines["images"].append(f"{identity} {path}")
                lines["image_class_labels"].append(f"{identity} {label + 1}")
                lines["bounding_boxes"].append(f"{identity} {x0:.1f} {y0:.1f} {x1 - x0:.1f} {y1 - y0:.1f}")
                lines["train_test_split"].append(f"{identity} {int(split == 'train')}")
    lines["classes"] = [f"{label + 1} {name}" for label, name in enumerate(CLASSES)]
    for name, rows in lines.items():
        _write_lines(root / f"{name}.txt", rows)
    return {f"images/{split}": n * len(CLASSES) for split, n in number_of.items()}


def write_voc(root: Path, size: DemoSize, seed: int) -> dict[str, int]:
    """VOCdevkit with VOC2007 (trainval, test) and VOC2012 (trainval); returns the counts."""
    counts = {}
    for year, splits in (
        ("VOC2007", {"trainval": size.voc2007_trainval, "test": size.voc2007_test}),
        ("VOC2012", {"trainval": size.voc2012_trainval}),
    ):
        for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
            (root / year / folder).mkdir(parents=True)
        number = 0
        for split, count in splits.items():
            names, shown = [], []
            for i in range(count):
                number += 1
                name = f"{number:06d}" if year == "VOC2007" else f"2012_{number:06d}"
                scene = _scene(seed, Part[f"{year}_{split.upper()}"], i, size)[0]
                _save(root / year / "JPEGImages" / f"{name}.jpg", scene.pixels)
                (root / year / "Annotations" / f"{name}.xml").write_text(voc_xml(year, name, scene), "utf-8")
                names.append(name)
                shown.append(scene.inhabitants)
            sets = {split: slice(None)}
            if split == "trainval":
                sets |= {"train": slice(0, None, 2), "val": slice(1, None, 2)}
            for set_name, part in sets.items():
                lists = root / year / "ImageSets" / "Main"
                _write_lines(lists / f"{set_name}.txt", names[part])
                for label in CLASSES:
                    presence = [_presence(label, inhabitants) for inhabitants in shown[part]]
                    lines = [f"{name} {mark:2d}" for name, mark in zip(names[part], presence, strict=True)]
                    _write_lines(lists / f"{label}_{set_name}.txt", lines)
            counts[f"{year}/{split}"] = count
    return counts


def write_coco(root: Path, size: DemoSize, seed: int) -> dict[str, int]:
    """COCO captions 2014: ``train2014``, ``val2014`` and their annotations; returns the counts."""
    counts, image_id, caption_id = {}, 0, 0
    (root / "annotations").mkdir(parents=True)
    for split, part, count in (
        ("train2014", Part.COCO_TRAIN, size.coco_train),
        ("val2014", Part.COCO_VAL, size.coco_val),
    ):
        (root / split).mkdir()
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for i in range(count):
            scene, rng = _scene(seed, part, i, size)
            image_id += 1
            file_name = f"COCO_{split}_{image_id:012d}.jpg"
            _save(root / split / file_name, scene.pixels)
            height, width = scene.pixels.shape[:2]
            images.append(
                {"license": 1, "file_name": file_name, "height": height, "width": width, "id": image_id}
            )
            for caption in describe(rng, scene, height):
                caption_id += 1
                annotations.append({"image_id": image_id, "id": caption_id, "caption": caption})
        content = {
            "info": {
                "description": "Demo world",
                "version": "1.0",
                "year": 2014,
                "contributor": "eval_suite",
            },
            "licenses": [{"id": 1, "name": "MIT", "url": "https://opensource.org/license/mit"}],
            "images": images,
            "annotations": annotations,
        }
        path = root / "annotations" / f"captions_{split}.json"
        path.write_text(json.dumps(content, allow_nan=False), "utf-8")
        counts[f"coco/{split}"] = count
    return counts


def write_ood(root: Path, size: DemoSize, seed: int) -> dict[str, int]:
    """Flat folders of pictures that show no creature of a known class; returns the counts."""
    side = size.image_side
    makers: tuple[tuple[Part, Callable[[np.random.Generator], NDArray[np.uint8]]], ...] = (
        (Part.UNSEEN, lambda rng: make_portrait(rng, sample_unseen(rng), side, side).pixels),
        (Part.TEXTURES, lambda rng: finish(rng, draw_texture(rng, side, side))),
        (Part.BACKGROUNDS, lambda rng: finish(rng, draw_habitat(rng, side, side)[0])),
    )
    for name, (part, make) in zip(OOD_SETS, makers, strict=True):
        (root / name).mkdir(parents=True)
        for i in range(size.ood_per_set):
            _save(root / name / f"{i + 1:04d}.jpg", make(_generator(seed, part, i)))
    return {f"ood/{name}": size.ood_per_set for name in OOD_SETS}


def voc_xml(year: str, name: str, scene: Scene) -> str:
    """VOC's annotation of a scene; its boxes count pixels from 1 and include both corners."""
    height, width, depth = scene.pixels.shape
    head = (
        f"<folder>{year}</folder><filename>{name}.jpg</filename>"
        "<source><database>Demo world</database><annotation>eval_suite</annotation><image>eval_suite</image></source>"
        f"<size><width>{width}</width><height>{height}</height><depth>{depth}</depth></size>"
        "<segmented>0</segmented>"
    )
    return f"<annotation>{head}{''.join(_voc_objects(scene.inhabitants))}</annotation>\n".replace(
        "><", ">\n<"
    )


def _presence(label: str, inhabitants: list[Inhabitant]) -> int:
    """VOC's mark of a class in an image: 1 present, 0 only as difficult objects, -1 absent."""
    difficult = [each.difficult for each in inhabitants if each.creature.name == label]
    return -1 if not difficult else int(not all(difficult))


def _voc_objects(inhabitants: list[Inhabitant]) -> Iterator[str]:
    for each in inhabitants:
        x0, y0, x1, y1 = each.box
        yield (
            f"<object><name>{each.creature.name}</name><pose>{facing(each)}</pose>"
            f"<truncated>{int(each.truncated)}</truncated><difficult>{int(each.difficult)}</difficult>"
            f"<bndbox><xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        )


def _scene(seed: int, part: Part, number: int, size: DemoSize) -> tuple[Scene, np.random.Generator]:
    rng = _generator(seed, part, number)
    return make_scene(rng, number % len(CLASSES), size.scene_height, size.scene_width), rng


def _generator(seed: int, part: Part, number: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed, int(part), number]))


def _save(path: Path, pixels: NDArray[np.uint8]) -> None:
    # Full colour resolution: a small mark's colour would bleed away at JPEG's usual half resolution.
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=95, subsampling=0)
    path.write_bytes(content.getvalue())


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
