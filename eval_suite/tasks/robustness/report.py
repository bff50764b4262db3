"""How the report shows robustness: errors under attack, occlusion, mixing and corruption."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from eval_suite.core.metrics import Bounds, MetricSet
from eval_suite.core.papers import CUTMIX
from eval_suite.core.records import Metric, Record
from eval_suite.report.section import Chart, Pick, Records, Section, Series, TaskComparison, curve_chart
from eval_suite.tasks.robustness.effective import effective_robustness
from eval_suite.tasks.robustness.metrics import (
    CLEAN,
    CORRUPTION,
    FGSM,
    IN_BETWEEN,
    MCE_TO_BASELINE,
    MEAN_CORRUPTION,
    OCCLUSION,
)
from eval_suite.tasks.robustness.options import ATTACKS

_Errors = dict[tuple[str, str], float]
_CAPTIONS = {
    "Top-1 error under FGSM": "One step of ε in pixel units, with the true label; at 0 the clean error.",
    "Top-1 error under PGD": "Many small steps within ε from a random start; at 0 the clean error.",
    **{
        f"Top-1 error under {title}": "With AutoAttack's numbers unless the table says others; at 0 the clean error."
        for title in ATTACKS.values()
    },
    "Centre occlusion error": "A centre square is covered; at 0 the whole image is seen, at 1 nothing.",
    "Boundary occlusion error": "Everything around a centre square is covered; at 1 the whole image is seen.",
    "Patch drop error": "Random square patches are covered; at 0 the whole image is seen.",
    "Patch shuffle error": "The image is cut into a grid of parts, put together in random order.",
    "In-between error, Mixup": "Two images blended; an error when neither of their classes is predicted.",
    "In-between error, CutMix": "A centre square from another image; an error when neither class is predicted.",
    "Mean corruption error": "Mean over the corruptions; at 0 the clean error.",
}


def relative_corruption_errors(records: Records, baseline: str) -> Mapping[tuple[str, int], list[Metric]]:
    """The mean corruption error relative to the baseline, mCE = mean over c of Σ_s E(c, s) / Σ_s E_baseline(c, s).

    The ratio of mean errors over the same severities is the ratio of their sums. A baseline that is not trained here
    has one seed, which serves for all.

    Args:
        records: by backbone and seed.
        baseline: the backbone in the denominator, itself at 1.

    Reference: Hendrycks and Dietterich, ICLR 2019, sec. 4.1, with the report's baseline in the place of AlexNet.
    """
    of_baseline = {seed: _errors(record) for seed, record in records.get(baseline, {}).items()}
    found = {}
    for backbone, seeds in records.items():
        for seed, record in seeds.items():
            only = next(iter(of_baseline.values())) if len(of_baseline) == 1 else None
            reference, own = of_baseline.get(seed, only), _errors(record)
            if own and reference is not None and reference.keys() == own.keys():
                found[backbone, seed] = [_relative(own, reference, record)]
    return found


def derived(records: Records, baseline: str) -> Mapping[tuple[str, int], list[Metric]]:
    """All metrics that take several records."""
    relative, effective = (
        relative_corruption_errors(records, baseline),
        effective_robustness(records),
    )
    return {cell: [*relative.get(cell, []), *effective.get(cell, [])] for cell in {**relative, **effective}}


def _relative(own: _Errors, reference: _Errors, record: Record) -> Metric:
    into, n = MetricSet(), record.data.n_scored if record.data else 0
    perfect = [key[1] for key in own if reference[key] == 0]
    if perfect:
        into.missing(MCE_TO_BASELINE, n, f"the baseline makes no error under {perfect[0]}")
    else:
        ratios = [own[key] / reference[key] for key in own]
        method = f"mean over {len(ratios)} corruptions of the error divided by the baseline's"
        into.add(MCE_TO_BASELINE, sum(ratios) / len(ratios), n, uncertainty=Bounds(method=method))
    return into.metrics[0]


def _errors(record: Record) -> _Errors:
    """Error under each corruption, by the metric's id, which tells the severities, and the corruption.

    Where a record has them among some outputs and among all, those among some come first and count.
    """
    errors = [metric for metric in record.metrics if metric.key == CORRUPTION.key and metric.subset]
    return {
        (metric.id, metric.subset): metric.value
        for metric in errors
        if metric.id == errors[0].id and metric.subset and metric.value is not None
    }


def _charts(comparison: TaskComparison) -> list[Chart]:
    curves = (curve_chart(comparison, name, caption=caption) for name, caption in _CAPTIONS.items())
    charts = [
        replace(chart, percent=True, y_label="top-1 error, %", levels=_levels(comparison, chart.title))
        for chart in curves
        if chart
    ]
    return [*charts, *_per_corruption(comparison)]


def _levels(comparison: TaskComparison, title: str) -> dict[str, float]:
    """What guessing reaches on the items of a curve, under which in-between samples have two right answers."""
    kind = IN_BETWEEN if title.startswith("In-between") else CLEAN
    column = comparison.first(Pick(kind.key))
    return dict(column.sample.controls) if column else {}


def _per_corruption(comparison: TaskComparison) -> Iterator[Chart]:
    for id_, names in comparison.subsets.items():
        columns = [c for name in names if (c := comparison.subset_column(id_, name))]
        if columns and columns[0].sample.key == CORRUPTION.key:
            series = []
            for backbone in comparison.collation.suite.backbones:
                cells = [column.cells[backbone] for column in columns]
                if any(cell.value is not None for cell in cells):
                    y, bounds = [cell.value for cell in cells], [cell.interval for cell in cells]
                    series.append(Series(backbone, [float(x) for x in range(len(cells))], y, bounds))
            words = [name.replace("_", " ") for name in names]
            yield Chart(
                columns[0].metric,
                "",
                "top-1 error, %",
                series,
                categories=words,
                percent=True,
                levels=_levels(comparison, ""),
            )


SECTION = Section(
    task="robustness",
    title="Robustness",
    protocol=(
        "Attacks are white box, with the true label, in pixel units and clamped to [0, 1]; occlusion covers the centre "
        "or all but the centre, and in-between samples join two images of different classes, an error being to predict "
        "neither, as in the CutMix paper. Common corruptions follow ImageNet-C, whose severities are made for images "
        "of 224 pixels and weigh more on smaller ones."
    ),
    paper=CUTMIX,
    headline=(
        Pick(FGSM.key, prefer={"epsilon": "8/255"}),
        Pick(OCCLUSION.key, {"region": "centre"}),
        Pick(MEAN_CORRUPTION.key),
    ),
    charts=_charts,
    place=50,
    derive=derived,
)
