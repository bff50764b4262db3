"""Boxes of score maps at every threshold: the component tree against one findContours for each threshold.

Both go from score maps in [0, 1] to box correctness at every threshold (interval 0.001): the largest region at IoU 0.5
(MaxBoxAcc) and all regions at IoU 0.3, 0.5 and 0.7 (MaxBoxAccV2). The peer is the evaluation paper's loop written plainly,
with the IoUs of all boxes of a map in one array operation. The maps are random ones of 7x7, 14x14 and 28x28, upsampled to
224x224 as `score_map` does it. All correctness is compared, on these maps and on noise, before anything is timed.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from timing import options, ratios, report, spread, take_turns

from eval_suite.tasks.wsol.box_accuracy import best_iou, box_iou, level_iou, threshold_grid
from eval_suite.tasks.wsol.components import all_boxes, largest_boxes, level_of, to_8bit
from eval_suite.tasks.wsol.geometry import score_map

SIZE = 224
IOUS = np.array([0.3, 0.5, 0.7])
AIMS = {"largest": ">= 10", "all": ">= 25"}

Case = tuple[NDArray[np.float64], NDArray[np.int64]]


def main() -> None:
    parser = options(__doc__, repeats=5, device=False)
    parser.add_argument("--maps", type=int, default=8, help="maps of each kind")
    parser.add_argument("--interval", type=float, default=0.001, help="step of the thresholds")
    arguments = parser.parse_args()
    thresholds = threshold_grid(arguments.interval)
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    kinds = {f"{knots}x{knots}": smooth_cases(rng, knots, arguments.maps) for knots in (7, 14, 28)}
    noise = [(rng.random((48, 48)), boxes(rng, 48)) for _ in range(arguments.maps)]
    print(f"boxes of {SIZE}x{SIZE} maps at {len(thresholds):,} thresholds, one thread")
    for rule in AIMS:
        for name, cases in (kinds | {"noise": noise}).items():
            require_equal(cases, rule, thresholds, name)
    checked = arguments.maps * (len(kinds) + 1) * len(thresholds)
    print(f"  same correctness in all {checked:,} cases of map and threshold, for either rule and every IoU")
    for rule, aim in AIMS.items():
        for name, cases in kinds.items():
            contestants = {
                "eval_suite": run(ours, cases, rule, thresholds),
                "findContours loop": run(loop, cases, rule, thresholds),
            }
            seconds = take_turns(contestants, arguments.repeats, warm_up=1)
            print(f"  {rule} regions, maps of {name}")
            for contestant, found in seconds.items():
                text = spread(found).scaled(1000 / arguments.maps).text("ms/map", 2)
                print(f"    {contestant:<18} {text}")
            print(f"    speed {report(ratios(seconds['findContours loop'], seconds['eval_suite']), aim)}")


def ours(case: Case, rule: str, thresholds: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Correctness (thresholds, IoUs) by the component tree."""
    score, truth = case
    map8 = to_8bit(score)
    largest = rule == "largest"
    fits = best_iou(largest_boxes(map8), truth) if largest else level_iou(all_boxes(map8), truth)
    return fits[level_of(thresholds, map8), None] >= limits(rule)


def loop(case: Case, rule: str, thresholds: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Correctness (thresholds, IoUs) by one findContours for each threshold."""
    score, truth = case
    map8 = (score * 255).astype(np.uint8)
    height, width = map8.shape
    found, ends = [], []
    for threshold in thresholds:
        _, binary = cv2.threshold(map8, int(threshold * np.max(map8)), 255, cv2.THRESH_BINARY)
        outlines = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
        if not outlines:
            found.append([0, 0, 0, 0])
        elif rule == "largest":
            outlines = [max(outlines, key=cv2.contourArea)]
        for outline in outlines:
            x, y, w, h = cv2.boundingRect(outline)
            found.append([x, y, min(x + w, width - 1), min(y + h, height - 1)])
        ends.append(len(found))
    fits = box_iou(np.asarray(found), truth).max(axis=1)
    best = np.array([fits[a:b].max() for a, b in zip([0, *ends[:-1]], ends, strict=True)])
    return best[:, None] >= limits(rule)


def limits(rule: str) -> NDArray[np.float64]:
    """The IoUs that a rule is judged at."""
    return IOUS[1:2] if rule == "largest" else IOUS


def run(
    contestant: Callable[[Case, str, NDArray[np.float64]], NDArray[np.bool_]],
    cases: list[Case],
    rule: str,
    thresholds: NDArray[np.float64],
) -> Callable[[], None]:
    """One pass over the maps."""

    def once() -> None:
        for case in cases:
            contestant(case, rule, thresholds)

    return once


def require_equal(cases: list[Case], rule: str, thresholds: NDArray[np.float64], name: str) -> None:
    """Stop where the two differ."""
    for number, case in enumerate(cases):
        if not np.array_equal(ours(case, rule, thresholds), loop(case, rule, thresholds)):
            raise SystemExit(f"the two differ on map {number} of '{name}' for {rule} regions")


def smooth_cases(rng: np.random.Generator, knots: int, count: int) -> list[Case]:
    """Upsampled random maps, each with two ground-truth boxes."""
    return [
        (score_map(rng.normal(size=(knots, knots)), (SIZE, SIZE)), boxes(rng, SIZE)) for _ in range(count)
    ]


def boxes(rng: np.random.Generator, size: int) -> NDArray[np.int64]:
    """Two random boxes."""
    corners = rng.integers(0, size, (2, 2, 2))
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


if __name__ == "__main__":
    main()
