"""How the report shows probes: errors of each, and what they fall to with more training images."""

from eval_suite.report.section import Chart, Pick, Section, Series, TaskComparison
from eval_suite.tasks.probe.metrics import MEAN_CLASS_ACCURACY, TOP1, TOP5
from eval_suite.tasks.probe.task import DINO

_PROBES = ("knn", "linear")
_TITLES = {"knn": "Nearest neighbours", "linear": "Linear probe"}


def _charts(comparison: TaskComparison) -> list[Chart]:
    return [chart for probe in _PROBES if (chart := _by_share(comparison, probe)) is not None]


def _by_share(comparison: TaskComparison, probe: str) -> Chart | None:
    """Top-1 error against the share of the training images, where there are several."""
    series, levels = [], {}
    for backbone, seeds in comparison.records.items():
        record = seeds[min(seeds)]
        points = sorted(
            (float(metric.params.get("fraction", 1.0)), metric)
            for metric in record.metrics
            if metric.matches(TOP1.key, {"probe": probe}) and metric.value is not None
        )
        if len(points) > 1:
            xs, metrics = [x for x, _ in points], [metric for _, metric in points]
            series.append(Series(backbone, xs, [m.value for m in metrics], [m.interval for m in metrics]))
            levels = metrics[0].controls
    if not series:
        return None
    return Chart(
        f"{_TITLES[probe]}: error by training images",
        "share of each class's training images",
        "top-1 error",
        series,
        "The images of a smaller share are among those of a larger one; the first seed's.",
        percent=True,
        levels=levels,
    )


SECTION = Section(
    task="probe",
    title="Probes of frozen features",
    protocol=(
        "Features are computed once, without augmentation, from what the classifying layer is given, or from what a network "
        "without classes returns. Of the nearest training images by cosine each votes with exp(similarity / temperature); the "
        "linear probe is logistic regression, its L2 penalty chosen on a part of the training images, never on evaluated ones."
    ),
    paper=DINO,
    headline=tuple(Pick(TOP1.key, {"probe": probe}) for probe in _PROBES),
    metrics=tuple(Pick(kind.key) for kind in (TOP1, TOP5, MEAN_CLASS_ACCURACY)),
    charts=_charts,
    place=15,
)
