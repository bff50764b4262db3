"""How the report shows out-of-distribution detection: how well a backbone's confidence tells what it knows from what it does not."""

from typing import NamedTuple

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
    FULL_SPECTRUM,
    NON_NOISE,
    OOD_CONFIDENCE,
    TNR,
    params_of,
    sets_in_words,
)
from eval_suite.tasks.ood.scores import MAX_SOFTMAX, score_title

_HISTOGRAMS = "Confidence on "


_PAPERS = params_of(MAX_SOFTMAX)
_HEADLINE = (AUROC, TNR, ACCURACY)
# OpenOOD's groups, where the sets have them, take the place of means over all.
_GROUPS = tuple(
    Pick(kind.key, _PAPERS | {"sets": group}) for group in ("near", "far") for kind in (AUROC, FPR)
)


def _charts(comparison: TaskComparison) -> list[Chart]:
    by_score = [
        chart for means in _means(comparison) if (chart := _auroc_by_score(comparison, means)) is not None
    ]
    histograms = [name for name in curve_names(comparison) if name.startswith(_HISTOGRAMS)]
    found = [curve_chart(comparison, name, percent=True) for name in histograms]
    return by_score + [chart for chart in found if chart is not None]


class _Means(NamedTuple):
    """What a chart's AUROCs are means over, by the params of the metric; empty texts where it has none."""

    sets: str
    known: str

    @property
    def named(self) -> str:
        """For a title."""
        words = [sets_in_words(self.sets), "full spectrum" if self.known == FULL_SPECTRUM else ""]
        return "".join(f", {word}" for word in words if word)

    @property
    def over(self) -> str:
        """For a caption."""
        if self.sets == NON_NOISE:
            return "the sets that are not noise"
        return f"the sets of the group '{self.sets}'" if self.sets else "all outlier sets"


def _means_of(column: Column) -> _Means:
    return _Means(*(str(column.sample.params.get(name, "")) for name in _Means._fields))


def _means(comparison: TaskComparison) -> list[_Means]:
    """Every kind of mean that the records have: over all sets first."""
    columns = (comparison.column(id_) for id_ in comparison.picked(Pick(AUROC.key)))
    found = dict.fromkeys(_means_of(column) for column in columns if column is not None)
    return sorted(found, key=lambda means: (means.known, means.sets != "", means.sets != NON_NOISE))


def _auroc_by_score(comparison: TaskComparison, means: _Means) -> Chart | None:
    columns: dict[str, Column] = {}
    for id_ in comparison.picked(Pick(AUROC.key)):
        column = comparison.column(id_)
        if column is not None and _means_of(column) == means:
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
    return Chart(
        f"AUROC by score function{means.named}",
        "",
        "AUROC, %",
        series,
        f"Mean over {means.over}, with 95 % intervals where there is one seed. The max softmax is the paper's detector.",
        categories=list(columns),
        percent=True,
    )


SECTION = Section(
    task="ood",
    title="Out-of-distribution detection",
    protocol=(
        "A backbone's confidence is to tell images of the evaluation split from outliers: TNR@TPR95 is the share of outliers "
        "rejected where 95 % of the known images are accepted, detection accuracy the best mean of the two rates; values are "
        "means over the outlier sets, in the overview without noise, which dominates means, or near and far where the sets are in "
        "such groups. Differences are tested over known images and outliers together."
    ),
    paper=CUTMIX,
    headline=(
        *_GROUPS,
        *(Pick(kind.key, _PAPERS, prefer={"sets": NON_NOISE}, unless=_GROUPS[0]) for kind in _HEADLINE),
    ),
    metrics=(
        *_GROUPS,
        *(Pick(kind.key, _PAPERS) for kind in (*_HEADLINE, FPR, AUPR_IN, AUPR_OUT)),
        Pick(AUROC.key),
        Pick(OOD_CONFIDENCE.key),
        Pick(ECE.key),
    ),
    charts=_charts,
    place=60,
    fold_rest=True,
)
