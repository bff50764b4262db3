"""Classification: errors, likelihood and calibration on the evaluation split."""

from eval_suite.core.papers import CUTMIX
from eval_suite.report.compare import TaskComparison
from eval_suite.report.sections.section import Chart, Section, curve_chart

_TOP1, _TOP5, _ECE = "Top-1 error", "Top-5 error", "ECE (15 equal-width bins)"


def _charts(comparison: TaskComparison) -> list[Chart]:
    caption = (
        "On the diagonal, confidence equals accuracy; below it a backbone is surer than it is right. "
        "Bins with under 1 % of the images are left out (ten images at most)."
    )
    reliability = curve_chart(
        comparison, "Reliability diagram", diagonal=True, caption=caption, unit_square=True
    )
    return [reliability] if reliability else []


SECTION = Section(
    task="classify",
    title="Classification",
    protocol=(
        "Every image of the evaluation split is seen once, resized and cropped as the backbone's card says, and is "
        "wrong when its label is not among the k highest scores, ties counting against the backbone. "
        "Calibration compares the highest softmax probability with the accuracy in 15 bins of equal width."
    ),
    paper=CUTMIX,
    headline=(_TOP1, _TOP5, _ECE),
    metrics=(_TOP1, _TOP5, "NLL", _ECE, "Mean per-class accuracy"),
    charts=_charts,
)
