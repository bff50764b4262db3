"""What guessing reaches, by hand."""

import numpy as np
import pytest

from eval_suite.core.controls import CHANCE, MOST_FREQUENT, guessing
from eval_suite.core.metrics import MetricKind, MetricSet

ERROR = MetricKind("error", "Error", higher_is_better=False)


@pytest.mark.parametrize(
    ("k", "chance", "frequent"), [(1, 0.75, 0.4), (2, 0.5, 0.1), (4, 0.0, 0.0), (9, 0.0, 0.0)]
)
def test_guessing_by_hand(k: int, chance: float, frequent: float) -> None:
    labels = np.repeat([2, 0, 1], [6, 3, 1])
    found = guessing(labels, 4, k)
    assert found == pytest.approx({CHANCE: chance, MOST_FREQUENT: frequent})


def test_controls_stand_with_the_metrics_of_their_kind() -> None:
    metrics = MetricSet()
    metrics.share(ERROR, np.array([True, False]))
    metrics.share(ERROR, np.array([True]), subset="cat")
    metrics.missing(ERROR, 0, "none", {"k": 5})
    metrics.control(ERROR, {CHANCE: 0.9})
    assert [metric.controls for metric in metrics.metrics] == [{CHANCE: 0.9}, {}, {}]
    other = MetricSet()
    other.share(ERROR, np.array([True, True]))
    other.share(ERROR, np.array([False]), {"k": 5})
    metrics.control_by("ones", other)
    assert [metric.controls for metric in metrics.metrics] == [{CHANCE: 0.9, "ones": 1.0}, {}, {}]
