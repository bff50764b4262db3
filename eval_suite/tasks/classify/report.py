"""How the report shows classification: errors, likelihood and calibration on the evaluation split."""

from eval_suite.core.metrics import ECE, TOP1_ERROR, TOP5_ERROR
from eval_suite.core.papers import CUTMIX
from eval_suite.report.section import Chart, Pick, Section, TaskComparison, curve_chart
from eval_suite.tasks.classify.metrics import (
    AURC,
    BRIER,
    CONFORMAL_COVERAGE,
    CONFORMAL_SIZE,
    ECE_CLASSWISE,
    ECE_EQUAL_MASS,
    MEAN_CLASS_ACCURACY,
    NLL,
    RISK_AT_COVERAGE,
    SCALED,
    SELECTIVE_RISK,
)


def _charts(comparison: TaskComparison) -> list[Chart]:
    caption = (
        "On the diagonal, confidence equals accuracy; below it a backbone is surer than it is right. "
        "Bins with under 1 % of the images are left out (ten images at most)."
    )
    reliability = curve_chart(
        comparison, "Reliability diagram", diagonal=True, caption=caption, unit_square=True
    )
    scaled = curve_chart(
        comparison,
        "Reliability diagram, temperature-scaled",
        diagonal=True,
        caption="The same after the logits are divided by a temperature that other images chose.",
        unit_square=True,
    )
    risk = curve_chart(
        comparison,
        SELECTIVE_RISK,
        caption="The top-1 error among the most confident images, over the share of images that are answered.",
        percent=True,
    )
    return [chart for chart in (reliability, scaled, risk) if chart]


SECTION = Section(
    task="classify",
    title="Classification",
    protocol=(
        "Every image of the evaluation split is seen once, resized and cropped as the backbone's card says, and is "
        "wrong when its label is not among the k highest scores, ties counting against the backbone. "
        "Calibration compares the highest softmax probability with the accuracy in 15 bins of equal width."
    ),
    paper=CUTMIX,
    headline=tuple(Pick(kind.key) for kind in (TOP1_ERROR, TOP5_ERROR, ECE)),
    metrics=tuple(
        Pick(kind.key)
        for kind in (
            *(TOP1_ERROR, TOP5_ERROR, NLL, ECE, MEAN_CLASS_ACCURACY),
            *(ECE_EQUAL_MASS, ECE_CLASSWISE, BRIER, AURC, RISK_AT_COVERAGE, *SCALED),
            *(CONFORMAL_COVERAGE, CONFORMAL_SIZE),
        )
    ),
    charts=_charts,
    place=10,
)
