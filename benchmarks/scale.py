"""How the cost of each hot path grows: seconds and memory at 1, 10 and 100 times the work, each in a process of its own.

The slope is the growth of the seconds from one size to the next, as a power of the growth of the work: 1 is as much more
time as work. Seconds are the processor's, of the process and of what it started, so that other work on the machine counts
little. Data are made up; the largest of files is ImageNet's training set, of logits its validation set, of captions COCO's.
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from timing import options

AIM_SLOPE = 1.1


class HotPath(NamedTuple):
    """One of them: what a unit of its work is, how many the smallest size has, and what prepares so many to be run."""

    unit: str
    least: int
    prepare: Callable[[int], Callable[[], object]]


def files(count: int) -> Callable[[], object]:
    """Opening an image folder of a thousand classes."""
    for label in range(1000):
        folder = Path(f"data/val/n{label:08}")
        folder.mkdir(parents=True)
        for number in range(label, count, 1000):
            (folder / f"{number:07}.JPEG").touch()
    from eval_suite.data.images import open_images

    return lambda: open_images("folder:data", "val")


def logits(count: int) -> Callable[[], object]:
    """All metrics of `classify` with a thousand classes."""
    rng = np.random.default_rng(0)
    made = rng.standard_normal((count, 1000), np.float32)
    labels = rng.integers(0, 1000, count)
    names = [str(label) for label in range(1000)]
    from eval_suite.tasks.classify.measures import metrics_of

    return lambda: metrics_of(made, labels, names)


def corrupted(count: int) -> Callable[[], object]:
    """All metrics of `robustness` under twenty corruptions at five severities."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 1000, count)
    predicted = rng.integers(0, 2, (count, 20, 5), np.int16) * labels[:, None, None].astype(np.int16)
    import scipy.special  # noqa: F401 - as intervals would, which is no work on the images

    from eval_suite.core.predictions import About
    from eval_suite.tasks.robustness.predictions import Corruptions, Predictions
    from eval_suite.tasks.robustness.score import findings

    found = Predictions(
        ids=[str(item) for item in range(count)],
        labels=labels,
        classes=[str(label) for label in range(1000)],
        about=About("made up", "val", count, "", []),
        clean=labels,
        families={},
        pairs=np.empty((0, 2), np.int64),
        notes={},
        corruptions=Corruptions(predicted, [f"corruption {kind}" for kind in range(20)], [1, 2, 3, 4, 5]),
        settings={},
    )
    return lambda: findings(found, labels)


def confidences(count: int) -> Callable[[], object]:
    """The detection metrics of `ood`."""
    rng = np.random.default_rng(0)
    known, outliers = rng.beta(5, 1, count), rng.beta(2, 1, count)
    from eval_suite.tasks.ood.rates import detection

    return lambda: detection(known, outliers)


def outcomes(count: int) -> Callable[[], object]:
    """The paired interval of the report, of outcomes that never repeat."""
    a, b = np.random.default_rng(0).random((2, count))
    from eval_suite.core.statistics import paired_difference

    return lambda: paired_difference(a, b)


def maps(count: int) -> Callable[[], object]:
    """Boxes of 224x224 score maps at every threshold."""
    import wsol_boxes

    thresholds = wsol_boxes.threshold_grid(0.001)
    cases = wsol_boxes.smooth_cases(np.random.default_rng(0), 14, 10)
    wsol_boxes.ours(cases[0], "all", thresholds)  # compiles

    def run() -> None:
        for number in range(count):
            wsol_boxes.ours(cases[number % len(cases)], "all", thresholds)

    return run


def detections(count: int) -> Callable[[], object]:
    """Ranking and VOC07 mAP of detections, a hundred an image."""
    import detection_scoring as made

    found, objects = made.made_up(count)
    return lambda: made.mean_ap(made.rank(found, objects, count, made.CLASSES, plus_one=True), "voc07")


def captions(count: int) -> Callable[[], object]:
    """Tokenising captions and all their metrics, Java's included."""
    import caption_scoring as made

    candidates, references = made.made_up(count)
    java = made.java_program()
    return lambda: made.caption_scores(made.tokenise(candidates, references, java), java)


def neighbours(count: int) -> Callable[[], object]:
    """Votes of the nearest of so many training images for a thousand others, 384 features."""
    import torch

    from eval_suite.tasks.probe.knn import knn_votes

    rng = np.random.default_rng(0)
    known, queries = (rng.standard_normal((n, 384), np.float32) for n in (count, 1000))
    labels = rng.integers(0, 100, count)
    cpu = torch.device("cpu")
    return lambda: knn_votes(known, labels, queries, classes=100, k=20, temperature=0.07, device=cpu)


PATHS = {
    "image folder opened": HotPath("files", 12_812, files),
    "classify metrics": HotPath("images x 1,000 logits", 500, logits),
    "robustness metrics": HotPath("images x 100 corruptions", 500, corrupted),
    "OOD rates": HotPath("confidences of each kind", 10_000, confidences),
    "paired interval": HotPath("outcomes", 500, outcomes),
    "WSOL boxes": HotPath("maps", 50, maps),
    "VOC mAP": HotPath("images", 50, detections),
    "caption metrics": HotPath("captions", 405, captions),
    "k nearest neighbours": HotPath("training images", 2_000, neighbours),
}


def main() -> None:
    parser = options(__doc__, repeats=1, device=False)
    parser.add_argument("--only", nargs="*", default=list(PATHS), choices=list(PATHS))
    parser.add_argument("--sizes", type=int, nargs="*", default=[1, 10, 100], help="times the smallest work")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(json.dumps(measured(arguments.only[0], arguments.one)))
        return
    print(f"slope: aim <= {AIM_SLOPE}")
    print("| path | work | seconds | memory, MB | slope |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name in arguments.only:
        before: tuple[int, float] | None = None
        for size in arguments.sizes:
            found = run_alone(name, size)
            slope = "" if before is None else f"{slope_of(before, (size, found['seconds'])):.2f}"
            work = f"{size * PATHS[name].least:,} {PATHS[name].unit}"
            print(
                f"| {name} | {work} | {found['seconds']:.3f} | {found['megabytes']:,.0f} | {slope} |",
                flush=True,
            )
            before = size, found["seconds"]


def slope_of(before: tuple[int, float], after: tuple[int, float]) -> float:
    """Growth of the seconds as a power of the growth of the work."""
    return math.log(after[1] / before[1]) / math.log(after[0] / before[0])


def run_alone(name: str, size: int) -> dict[str, float]:
    """Measure in a process of its own, with one thread."""
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).resolve()), "--only", name, "--one", str(size)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | one_thread)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measured(name: str, size: int) -> dict[str, float]:
    """Processor seconds, and memory above that of the process with its data."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        work = PATHS[name].prepare(PATHS[name].least * size)
        start, before = peak(), processor_seconds()
        work()
        return {"seconds": processor_seconds() - before, "megabytes": max(0.0, peak() - start)}


def processor_seconds() -> float:
    """Of this process and of its children that have ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def peak() -> float:
    """Megabytes this process has used at once."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


if __name__ == "__main__":
    main()
