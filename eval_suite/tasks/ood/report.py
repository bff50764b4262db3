"""How the report shows out-of-distribution detection: how well a backbone's confidence tells what it knows from what it does not."""

from eval_suite.core.metrics import ECE
from eval_suite.core.papers import CUTMIX
from eval_suite.report.section import (
    Chart,
    Column,
    Pick,
    Section,
    Series,
    TaskComparison,
    curve_chart,
    curve_names,
)
from eval_suite.tasks.ood.metrics import (
    ACCURACY,
    AUPR_IN,
    AUPR_OUT,
    AUROC,
    FPR,
    NON_NOISE,
    OOD_CONFIDENCE,
    TNR,
    params_of,
)
from eval_suite.tasks.ood.scores import MAX_SOFTMAX, score_title

_HISTOGRAMS = "Confidence on "


_PAPERS = params_of(MAX_SOFTMAX)
_HEADLINE = (AUROC, TNR, ACCURACY)


def _charts(comparison: TaskComparison) -> list[Chart]:
    by_score = [
        chart
        for without_noise in (False, True)
        if (chart := _auroc_by_score(comparison, without_noise)) is not None
    ]
    histograms = [name for name in curve_names(comparison) if name.startswith(_HISTOGRAMS)]
    found = [curve_chart(comparison, name, percent=True) for name in histograms]
    return by_score + [chart for chart in found if chart is not None]


def _auroc_by_score(comparison: TaskComparison, without_noise: bool) -> Chart | None:
    columns: dict[str, Column] = {}
    for id_ in comparison.picked(Pick(AUROC.key)):
        column = comparison.column(id_)
        if column is not None and ("sets" in column.sample.params) == without_noise:
            columns[score_title(str(column.sample.params["score"]))] = column
    if len(columns) < 2:
        return None
    series = []
    for backbone in comparison.records:
        cells = [(float(x), column.cells[backbone]) for x, column in enumerate(columns.values())]
        known = [(x, cell.value, cell.interval) for x, cell in cells if cell.value is not None]
        if known:
            x, y, intervals = (list(values) for values in zip(*known, strict=True))
            series.append(Series(backbone, x, y, intervals))
    over = "the sets that are not noise" if without_noise else "all outlier sets"
    return Chart(
        "AUROC by score function" + (", without noise" if without_noise else ""),
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
        "means over the outlier sets, in the overview without noise, which dominates means. Differences of AUROC are tested over the known images, for these outliers; the other "
        "rates are no means over images, so their differences stay untested."
    ),
    paper=CUTMIX,
    headline=tuple(Pick(kind.key, _PAPERS, prefer={"sets": NON_NOISE}) for kind in _HEADLINE),
    metrics=(
        *(Pick(kind.key, _PAPERS) for kind in (*_HEADLINE, FPR, AUPR_IN, AUPR_OUT)),
        Pick(AUROC.key),
        Pick(OOD_CONFIDENCE.key),
        Pick(ECE.key),
    ),
    charts=_charts,
    place=60,
    fold_rest=True,
)
