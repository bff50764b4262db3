"""What detection measures, and what the literature does in more than one way."""

from collections.abc import Iterable

from eval_suite.core.metrics import MetricKind
from eval_suite.core.parts import part, parts
from eval_suite.core.records import Param
from eval_suite.tasks.detect.detectors.base import Detector

VARIANTS = {"voc07": "VOC07 11-point", "area": "area"}
"""How the area under a class's precision-recall curve is measured."""
PLUS_ONE = {True: "+1", False: "no +1"}
"""Whether a box from x0 to x1 counts as x1 - x0 + 1 wide, as in VOC's own code."""
COCO_AP_MEAN = "0.50:0.95"
COCO_IOUS = {COCO_AP_MEAN: "COCO AP (IoU 0.50:0.95)", "0.50": "COCO AP50", "0.75": "COCO AP75"}


def detectors(specs: Iterable[str] = ()) -> dict[str, type[Detector]]:
    """The detectors of a name, ours and installed ones first, and those in users' files that ``specs`` name."""
    known = sorted(parts("detector").values(), key=lambda kind: kind.draw_key())
    return {kind.name: kind for kind in [*known, *(part("detector", spec) for spec in specs)]}


def detector_params(detector: str) -> dict[str, Param]:
    """The params that name a detector; none for one that is not known."""
    return {"detector": detector.replace("-", "_")} if detector else {}


def titled(text: str, detector: str) -> str:
    """A name with the detector's title before it, where it is known."""
    kind = parts("detector").get(detector.replace("_", "-"))
    title = kind.title if kind else detector
    return f"{title} {text}" if title else text


def _ap(kind: str, variant: str, plus_one: bool, detector: str, iou: float | None = None) -> str:
    overlap = "" if iou is None else f", IoU {iou:g}"
    return titled(f"{kind} ({VARIANTS[variant]}, {PLUS_ONE[plus_one]}{overlap})", detector)


MEAN_AP = MetricKind(
    "map",
    lambda variant, plus_one, detector="", iou=None: _ap("mAP", variant, plus_one, detector, iou),
)
"""Without ``iou``, a detection has to overlap its object by 0.5."""
CLASS_AP = MetricKind(
    "class_ap", lambda variant, plus_one, detector="": _ap("AP", variant, plus_one, detector)
)
COCO_AP = MetricKind("coco_ap", lambda iou, detector="": titled(COCO_IOUS[iou], detector))
