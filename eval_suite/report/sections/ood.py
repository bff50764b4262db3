"""Out-of-distribution detection: how well a backbone's confidence tells what it knows from what it does not."""

from eval_suite.core.papers import CUTMIX
from eval_suite.report.compare import Column, TaskComparison
from eval_suite.report.sections.section import Chart, Section, Series, curve_chart, curve_names

_AUROC, _TNR, _ACCURACY = "AUROC", "TNR@TPR95 (ID positive)", "Detection accuracy"
_FURTHER = ("FPR95 (OOD positive)", "AUPR-In (average precision)", "AUPR-Out (average precision)")
_PAPERS_SCORE, _WITHOUT_NOISE = "max softmax", "without noise"
_SCORES = ("max softmax", "max logit", "energy", "ODIN", "Mahalanobis", "KNN", "ReAct", "ViM")
_HISTOGRAMS = "Confidence on "


def _paper(metric: str) -> str:
    return f"{metric}, {_PAPERS_SCORE}"


_HEADLINE = (_paper(_AUROC), _paper(_TNR), _paper(_ACCURACY))
_RATES = (*_HEADLINE, *map(_paper, _FURTHER))


def _charts(comparison: TaskComparison) -> list[Chart]:
    by_score = [
        chart
        for ending in ("", f", {_WITHOUT_NOISE}")
        if (chart := _auroc_by_score(comparison, ending)) is not None
    ]
    histograms = [name for name in curve_names(comparison) if name.startswith(_HISTOGRAMS)]
    found = [curve_chart(comparison, name, percent=True) for name in histograms]
    return by_score + [chart for chart in found if chart is not None]


def _auroc_by_score(comparison: TaskComparison, ending: str) -> Chart | None:
    columns: dict[str, Column] = {}
    for score in _SCORES:
        column = comparison.column(f"{_AUROC}, {score}{ending}")
        if column is not None:
            columns[score] = column
    if len(columns) < 2:
        return None
    series = []
    for backbone in comparison.records:
        cells = [(float(x), column.cells[backbone]) for x, column in enumerate(columns.values())]
        known = [(x, cell.value, cell.interval) for x, cell in cells if cell.value is not None]
        if known:
            x, y, intervals = (list(values) for values in zip(*known, strict=True))
            series.append(Series(backbone, x, y, intervals))
    over = "the sets that are no noise" if ending else "all outlier sets"
    return Chart(
        f"AUROC by score function{ending}",
        "",
        "AUROC, %",
        series,
        f"Mean over {over}, with 95 % intervals where there is one seed. The max softmax is the paper's detector.",
        categories=list(columns),
        percent=True,
    )


SECTION = Section(
    task="ood",
    title="Out-of-distribution detection",
    protocol=(
        "A backbone's confidence is to tell images of the evaluation split from outliers: TNR@TPR95 is the share of outliers "
        "rejected where 95 % of the known images are accepted, detection accuracy the best mean of the two rates; values are "
        "means over the outlier sets. Differences of AUROC are tested over the known images, for these outliers; the other "
        "rates are no means over images, so their differences stay untested."
    ),
    paper=CUTMIX,
    headline=_HEADLINE,
    metrics=(
        *_RATES,
        *(f"{name}, {_WITHOUT_NOISE}" for name in _RATES),
        *(f"{_AUROC}, {score}" for score in _SCORES[1:]),
        "Mean confidence on outliers",
        "ECE (15 equal-width bins)",
    ),
    charts=_charts,
    fold_rest=True,
)
