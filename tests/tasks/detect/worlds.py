"""Made-up detections of made-up objects, with near misses, duplicates and difficult ones."""

from typing import NamedTuple

import numpy as np

from eval_suite.tasks.detect.matching import Detections, Objects


class World(NamedTuple):
    detections: Detections
    objects: Objects
    images: int
    classes: int


def random_world(seed: int, images: int = 30, classes: int = 4, per_image: int = 12) -> World:
    rng = np.random.default_rng(seed)
    image = np.sort(rng.integers(0, images, images * 3))
    corner = rng.uniform(0, 60, (len(image), 2))
    boxes = np.hstack([corner, corner + rng.uniform(8, 40, corner.shape)]).astype(np.float32)
    objects = Objects(
        image, rng.integers(0, classes, len(image)), boxes.astype(np.float64), rng.random(len(image)) < 0.2
    )
    near = rng.integers(0, len(image), images * per_image)
    moved = (boxes[near] + rng.normal(0, 5, (len(near), 4))).astype(np.float32)
    moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
    other = rng.random(len(near)) < 0.2
    labels = np.where(other, rng.integers(0, classes, len(near)), objects.labels[near])
    order = np.argsort(objects.image[near], kind="stable")
    scores = rng.permutation(len(near)).astype(np.float32) / len(near)
    detections = Detections(
        objects.image[near][order],
        labels[order],
        moved[order].astype(np.float64),
        scores[order].astype(np.float64),
    )
    return World(detections, objects, images, classes)
