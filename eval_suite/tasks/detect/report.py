"""How the report shows detection: mAP of the detectors fine-tuned from each backbone."""

from eval_suite.core.papers import CUTMIX
from eval_suite.report.section import Chart, Pick, Section, TaskComparison, curve_chart
from eval_suite.tasks.detect.metrics import COCO_AP, COCO_AP_MEAN, MEAN_AP, detector_params, detectors, titled

_CAPTION = (
    "Interpolated precision at each recall, averaged over the classes; the area below is about the mAP (area). A class "
    "counts as 0 beyond the share of its objects that is found at any score."
)


def _charts(comparison: TaskComparison) -> list[Chart]:
    names = [titled("precision-recall (mean over classes)", detector) for detector in detectors()]
    charts = (curve_chart(comparison, name, caption=_CAPTION, unit_square=True) for name in names)
    return [chart for chart in charts if chart is not None]


SECTION = Section(
    task="detect",
    title="Detection",
    protocol=(
        "The backbone goes into a detector, all of which is fine-tuned on the training images (of Pascal VOC its trainval) "
        "and run over those to evaluate on; a detection is right when it overlaps an object of its class, not yet found, by IoU ≥ 0.5, and "
        "difficult objects count neither way (CutMix paper, appendix C; Everingham et al., IJCV 2010). VOC's own code takes "
        "a box from x0 to x1 as x1 - x0 + 1 wide (+1), others as x1 - x0 (no +1); the overview has each detector's number "
        "by the code the paper names for it, and paired differences are of the mAP (area), to which every image contributes "
        "smoothly. For boxes in COCO's format, whose widths are those between edges, the overview has COCO's AP, the mean over "
        "IoU 0.50 to 0.95, where crowds count neither way (Lin et al., ECCV 2014)."
    ),
    paper=CUTMIX,
    headline=(
        *(
            # Every record has COCO's AP; only boxes that count pixels have a mAP of widths that are one more.
            Pick(
                COCO_AP.key,
                {**params, "iou": COCO_AP_MEAN},
                unless=Pick(MEAN_AP.key, {**params, "plus_one": True}),
            )
            for params in map(detector_params, detectors())
        ),
        *(
            Pick(MEAN_AP.key, {**detector_params(detector), "variant": variant, "plus_one": kind.plus_one})
            for detector, kind in detectors().items()
            for variant in ("area", "voc07")
        ),
    ),
    metrics=tuple(
        Pick(kind.key, detector_params(detector)) for detector in detectors() for kind in (MEAN_AP, COCO_AP)
    ),
    charts=_charts,
    place=30,
)
