"""Detection: VOC07 scoring against MMDetection's eval_map on the same cores, on made-up detections of the test set's size.

Both give the mean AP of 4,952 images, 20 classes and 100 detections an image, VOC07 11-point with the +1 convention; the
difference of the two values is printed. eval_map gets as many processes as there are cores.
"""

import contextlib
import io
import os
import warnings

import numpy as np
from timing import options, ratios, report, spread, take_turns

from eval_suite.tasks.detect.average_precision import mean_ap
from eval_suite.tasks.detect.matching import Detections, Objects, rank

IMAGES, CLASSES, OBJECTS, PER_IMAGE = 4_952, 20, 14_976, 100
AIM = ">= 15"


def main() -> None:
    parser = options(__doc__, repeats=3, device=False)
    parser.add_argument("--images", type=int, default=IMAGES)
    arguments = parser.parse_args()
    detections, objects = made_up(arguments.images)
    values: dict[str, float] = {}

    def ours() -> None:
        ranking = rank(detections, objects, arguments.images, CLASSES, plus_one=True)
        values["eval_suite"] = mean_ap(ranking, "voc07")

    theirs = make_theirs(detections, objects, arguments.images, values)
    seconds = take_turns({"eval_suite": ours, "eval_map": theirs}, arguments.repeats, warm_up=1)
    print(
        f"scoring, {arguments.images:,} images, {CLASSES} classes, {len(detections.scores):,} detections, "
        f"{len(objects.labels):,} objects, {os.cpu_count()} cores"
    )
    for name, found in seconds.items():
        print(f"  {name:<11} {spread(found).text('s', 3)}  mAP {values[name]:.6f}")
    print(f"  difference of the values {abs(values['eval_suite'] - values['eval_map']):.1e}, aim <= 1e-4")
    print(f"  speed {report(ratios(seconds['eval_map'], seconds['eval_suite']), AIM)}")


def made_up(images: int) -> tuple[Detections, Objects]:
    """Objects in pictures of 500 pixels; of the detections a third lies near an object of the right class."""
    rng = np.random.default_rng(0)
    count = OBJECTS * images // IMAGES

    def boxes(number: int) -> np.ndarray:
        corner = rng.uniform(0, 350, (number, 2))
        return np.hstack([corner, corner + rng.uniform(20, 150, (number, 2))])

    objects = Objects(
        np.sort(rng.integers(0, images, count)),
        rng.integers(0, CLASSES, count),
        boxes(count),
        rng.random(count) < 0.2,
    )
    total = images * PER_IMAGE
    image = np.repeat(np.arange(images), PER_IMAGE)
    labels, found = rng.integers(0, CLASSES, total), boxes(total)
    first = np.searchsorted(objects.image, image)
    there = np.bincount(objects.image, minlength=images)[image]
    near = np.flatnonzero((rng.random(total) < 1 / 3) & (there > 0))
    chosen = first[near] + rng.integers(0, there[near])
    labels[near] = objects.labels[chosen]
    found[near] = objects.boxes[chosen] + rng.normal(0, 12, (len(near), 4))
    found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
    scores = rng.permutation(total) / total
    # As eval_map gets them: rounded to single precision.
    return Detections(image, labels, found.astype(np.float32).astype(float), scores), objects._replace(
        boxes=objects.boxes.astype(np.float32).astype(float)
    )


def make_theirs(detections: Detections, objects: Objects, images: int, values: dict[str, float]):
    """eval_map on the lists it wants, which are made beforehand."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        from mmdet.evaluation.functional import eval_map
    rows = np.hstack([detections.boxes, detections.scores[:, None]]).astype(np.float32)
    found, truth = [], []
    for i in range(images):
        mine = slice(i * PER_IMAGE, (i + 1) * PER_IMAGE)
        found.append([rows[mine][detections.labels[mine] == label] for label in range(CLASSES)])
        here = slice(*np.searchsorted(objects.image, [i, i + 1]))
        boxes, labels = objects.boxes[here].astype(np.float32), objects.labels[here]
        hard = objects.difficult[here]
        truth.append(
            {
                "bboxes": boxes[~hard],
                "labels": labels[~hard],
                "bboxes_ignore": boxes[hard],
                "labels_ignore": labels[hard],
            }
        )

    def run() -> None:
        values["eval_map"], _ = eval_map(
            found,
            truth,
            iou_thr=0.5,
            logger="silent",
            nproc=os.cpu_count() or 1,
            eval_mode="11points",
            use_legacy_coordinate=True,
        )

    return run


if __name__ == "__main__":
    main()
