"""Effective robustness: accuracy under a natural shift beyond what accuracy without it predicts."""

from collections.abc import Mapping
from math import exp, log, sqrt
from statistics import NormalDist, fmean, linear_regression
from typing import NamedTuple

from eval_suite.core.metrics import Bounds, MetricSet
from eval_suite.core.records import Metric, Params, Record
from eval_suite.core.statistics import Interval
from eval_suite.report.section import Records
from eval_suite.tasks.robustness.metrics import EFFECTIVE_ROBUSTNESS, SHIFT, SHIFT_REFERENCE

_FEWEST = 3
_Z = NormalDist().inv_cdf(0.975)


class Point(NamedTuple):
    """Accuracy ``before`` a shift on ``n_before`` images, and ``after`` it on ``n_after``."""

    before: float
    after: float
    n_before: int
    n_after: int


class Line(NamedTuple):
    """A line in logits of accuracy: logit(after) = slope · logit(before) + intercept."""

    slope: float
    intercept: float

    @classmethod
    def through(cls, points: list[tuple[float, float]]) -> "Line | None":
        """The least squares line of (before, after); None where fewer than three of different accuracy are inside (0, 1).

        Example:
            >>> Line.through([(0.5, 0.5), (0.6, 0.6), (0.7, 0.7)])
            Line(slope=1.0, intercept=0.0)
        """
        inside = [(_logit(x), _logit(y)) for x, y in points if 0 < x < 1 and 0 < y < 1]
        if len({x for x, _ in inside}) < _FEWEST:
            return None
        found = linear_regression(*zip(*inside, strict=True))
        return cls(found.slope, found.intercept)

    def at(self, before: float) -> float:
        """The accuracy after the shift that one before it predicts."""
        return 1 / (1 + exp(-(self.slope * _logit(before) + self.intercept)))


def effective_robustness(records: Records) -> Mapping[tuple[str, int], list[Metric]]:
    """What a backbone's accuracy under each shift is above the one that its accuracy without it predicts.

    ρ(f) = acc_shift(f) - β(acc(f)), where β is a line in logits, fitted to the other backbones of the report (means over
    their seeds), at least three. Fitted so, it speaks of robustness from training of another kind only where those are
    trained in the usual way; with its own point among them a backbone would be compared with itself.

    Args:
        records: by backbone and seed.

    Reference: Taori et al., NeurIPS 2020, sec. 2; there β is fitted to standard models of the authors' testbed.
    """
    of_sets: dict[str, dict[tuple[str, int], Point]] = {}
    for backbone, seeds in records.items():
        for seed, record in seeds.items():
            for images, point in points_of(record).items():
                of_sets.setdefault(images, {})[backbone, seed] = point
    found: dict[tuple[str, int], list[Metric]] = {}
    for images, points in of_sets.items():
        names = dict.fromkeys(backbone for backbone, _ in points)
        means = {
            name: _mean([point for (other, _), point in points.items() if other == name]) for name in names
        }
        for cell, point in points.items():
            others = [mean for name, mean in means.items() if name != cell[0]]
            found.setdefault(cell, []).append(
                _metric(point, Line.through(others), len(others), {"images": images})
            )
    return found


def points_of(record: Record) -> dict[str, Point]:
    """The accuracies of a record before and after each shift that it has, by the shift's name."""
    errors = {(metric.key, str(metric.params.get("images"))): metric for metric in record.metrics}
    points = {}
    for (key, images), after in errors.items():
        before = errors.get((SHIFT_REFERENCE.key, images))
        if key == SHIFT.key and before and before.value is not None and after.value is not None:
            points[images] = Point(1 - before.value, 1 - after.value, before.n, after.n)
    return points


def _metric(point: Point, line: Line | None, others: int, params: Params) -> Metric:
    into = MetricSet()
    if line is None or not 0 < point.before < 1:
        reason = f"fewer than {_FEWEST} other backbones with accuracies that a line can be fitted to"
        into.missing(EFFECTIVE_ROBUSTNESS, point.n_after, reason, params)
        return into.metrics[0]
    predicted = line.at(point.before)
    value = point.after - predicted
    # The prediction moves by slope · predicted (1 - predicted) / (before (1 - before)) with the accuracy before.
    spread = point.before * (1 - point.before)
    moves = line.slope * predicted * (1 - predicted) / spread
    half = _Z * sqrt(point.after * (1 - point.after) / point.n_after + moves**2 * spread / point.n_before)
    method = (
        f"normal approximation over the images, the line as it is: a logit fit over {others} other backbones, "
        f"slope {line.slope:.3f}, intercept {line.intercept:.3f}"
    )
    uncertainty = Bounds(Interval(max(value - half, -1.0), min(value + half, 1.0)), method)
    into.add(EFFECTIVE_ROBUSTNESS, value, point.n_after, params, uncertainty=uncertainty)
    return into.metrics[0]


def _mean(points: list[Point]) -> tuple[float, float]:
    return fmean(point.before for point in points), fmean(point.after for point in points)


def _logit(share: float) -> float:
    return log(share / (1 - share))
