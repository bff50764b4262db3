"""Localisation: boxes from class activation maps, at a fixed threshold and at the best one."""

from eval_suite.core.papers import CUTMIX
from eval_suite.report.compare import TaskComparison
from eval_suite.report.sections.section import Chart, Section, curve_chart

_TOP1, _KNOWN, _V2 = "Top-1 Loc (σ=0.15)", "GT-known Loc (σ=0.15)", "MaxBoxAccV2 (IoU 30/50/70)"
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
        "(CutMix paper, appendix B). The fixed σ stands beside threshold-free measures (best σ, MaxBoxAcc, MaxBoxAccV2) "
        "because the later study of the same authors (Choe et al., CVPR 2020) found no gain of CutMix over plain CAM once "
        "every method may choose its σ: a gain at one σ alone may lie in the range of the maps, not in what they show."
    ),
    paper=CUTMIX,
    headline=(_TOP1, _V2),
    metrics=(
        _TOP1,
        _KNOWN,
        "Top-1 Loc (best σ)",
        "MaxBoxAcc",
        _V2,
        "MaxBoxAccV2 (IoU 30)",
        "MaxBoxAccV2 (IoU 50)",
        "MaxBoxAccV2 (IoU 70)",
        "Top-1 error",
    ),
    charts=_charts,
)
