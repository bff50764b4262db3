"""Detection: mAP of the detectors fine-tuned from each backbone."""

from eval_suite.core.conventions import BOXES_OF_DETECTOR
from eval_suite.core.papers import CUTMIX
from eval_suite.report.compare import TaskComparison
from eval_suite.report.sections.section import Chart, Section, curve_chart

_MAPS = (
    "mAP (VOC07 11-point, +1)",
    "mAP (area, +1)",
    "mAP (VOC07 11-point, no +1)",
    "mAP (area, no +1)",
    "COCO AP (IoU 0.50:0.95)",
    "COCO AP50",
    "COCO AP75",
)
_CAPTION = (
    "Interpolated precision at each recall, averaged over the classes; the area below is about the mAP (area). A class "
    "counts as 0 beyond the share of its objects that is found at any score."
)


def _charts(comparison: TaskComparison) -> list[Chart]:
    names = [f"{detector} precision-recall (mean over classes)" for detector in BOXES_OF_DETECTOR]
    charts = (curve_chart(comparison, name, caption=_CAPTION, unit_square=True) for name in names)
    return [chart for chart in charts if chart is not None]


SECTION = Section(
    task="detect",
    title="Detection",
    protocol=(
        "The backbone goes into a detector, all of which is fine-tuned on the trainval images of Pascal VOC and run over "
        "its test images; a detection is right when it overlaps an object of its class, not yet found, by IoU ≥ 0.5, and "
        "difficult objects count neither way (CutMix paper, appendix C; Everingham et al., IJCV 2010). VOC's own code takes "
        "a box from x0 to x1 as x1 - x0 + 1 wide (+1), others as x1 - x0 (no +1); the overview has each detector's number "
        "by the code the paper names for it, and paired differences are of the mAP (area), to which every image contributes "
        "smoothly."
    ),
    paper=CUTMIX,
    headline=tuple(
        f"{detector} mAP ({variant}, {convention})"
        for detector, convention in BOXES_OF_DETECTOR.items()
        for variant in ("area", "VOC07 11-point")
    ),
    metrics=tuple(f"{detector} {name}" for detector in BOXES_OF_DETECTOR for name in _MAPS),
    charts=_charts,
)
