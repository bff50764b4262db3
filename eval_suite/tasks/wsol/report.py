"""How the report shows localisation: boxes from class activation maps, at a fixed threshold and at the best one."""

from eval_suite.core.metrics import TOP1_ERROR
from eval_suite.core.papers import CUTMIX
from eval_suite.report.section import Chart, Pick, Section, TaskComparison, curve_chart
from eval_suite.tasks.wsol.metrics import GT_KNOWN_LOC, MAX_BOX_ACC, MAX_BOX_ACC_V2, TOP1_LOC

_CURVES = {
    "Top-1 Loc over σ": (
        "Share of images with the right class and the right box, as the threshold σ of the boxes moves; the fixed σ of "
        "the CutMix paper is 0.15. Curves of one height and different places differ in how peaked the maps are."
    ),
    "GT-known Loc over σ": "The same with the class given; the height of the peak is MaxBoxAcc.",
}


def _charts(comparison: TaskComparison) -> list[Chart]:
    charts = (curve_chart(comparison, name, caption=caption) for name, caption in _CURVES.items())
    return [chart for chart in charts if chart is not None]


SECTION = Section(
    task="wsol",
    title="Localisation (WSOL)",
    protocol=(
        "Without any box in training, the class activation map of every image is cut at σ of its maximum, and the box "
        "around the largest region must overlap a ground-truth box by IoU ≥ 0.5; Top-1 Loc asks for the right class too "
        "(CutMix paper, appendix B). The fixed σ stands next to threshold-free measures (best σ, MaxBoxAcc, MaxBoxAccV2) "
        "because the later study of the same authors (Choe et al., CVPR 2020) found no gain of CutMix over plain CAM once "
        "every method may choose its σ: a gain at one σ alone may lie in the range of the maps, not in what they show."
    ),
    paper=CUTMIX,
    headline=(Pick(TOP1_LOC.key), Pick(MAX_BOX_ACC_V2.key)),
    metrics=(
        Pick(TOP1_LOC.key),
        Pick(GT_KNOWN_LOC.key),
        Pick(MAX_BOX_ACC.key),
        Pick(MAX_BOX_ACC_V2.key),
        Pick(TOP1_ERROR.key),
    ),
    charts=_charts,
    place=20,
)
