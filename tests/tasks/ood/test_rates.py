"""Detection metrics: hand-computed cases, invariances, ties, and scikit-learn and pytorch-ood as references."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pytorch_ood.metrics import OODMetrics
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from eval_suite.tasks.ood.rates import (
    Detection,
    detection,
    detection_from_counts,
    odin_reference_aupr,
    odin_reference_tnr,
    placements,
    rank,
    threshold_accepting_95,
)

Scores = NDArray[np.float64]


def scikit_learn(known: Scores, outliers: Scores) -> Detection:
    """The same six numbers, each by its own call."""
    scores = np.concatenate([known, outliers])
    is_known = np.arange(len(scores)) < len(known)
    fpr, tpr, _ = roc_curve(is_known, scores, drop_intermediate=False)
    fpr_out, tpr_out, _ = roc_curve(~is_known, -scores, drop_intermediate=False)
    return Detection(
        tnr=1 - fpr[tpr >= 0.95 - 1e-12].min(),
        auroc=roc_auc_score(is_known, scores),
        accuracy=(0.5 * (tpr + 1 - fpr)).max(),
        aupr_in=average_precision_score(is_known, scores),
        aupr_out=average_precision_score(~is_known, -scores),
        fpr_outliers_positive=fpr_out[tpr_out >= 0.95 - 1e-12].min(),
    )


def same(found: Detection, expected: Detection) -> None:
    np.testing.assert_allclose(np.array(found, float), np.array(expected, float), atol=1e-12)


def test_four_and_four_by_hand() -> None:
    # By falling confidence: k .9, k .8, o .7, k .6, o .5 with k .5 (a tie), o .3, o .1.
    found = detection(np.array([0.9, 0.8, 0.6, 0.5]), np.array([0.7, 0.5, 0.3, 0.1]))
    assert found.tnr == 0.5  # all four are accepted from 0.5 on, where 0.7 and 0.5 pass too
    assert found.auroc == (4 + 4 + 3 + 2.5) / 16
    assert found.accuracy == 0.75  # between 0.6 and 0.5: 3/4 and 3/4; or 0.8 and 0.7: 2/4 and 4/4
    assert found.aupr_in == pytest.approx((1 + 1 + 3 / 4 + 4 / 6) / 4)
    assert found.aupr_out == pytest.approx((1 + 1 + 3 / 4 + 4 / 6) / 4)
    assert found.fpr_outliers_positive == 0.5  # rejecting all outliers, up to 0.7, costs 0.6 and 0.5


def test_the_threshold_is_the_largest_that_accepts_95_percent() -> None:
    known = np.arange(100, 200, dtype=float)
    assert threshold_accepting_95(known) == 105.0
    # 104.5 lies below the 95 highest, so it is rejected; 105 is accepted together with its equal.
    assert detection(known, np.array([104.5])).tnr == 1.0
    assert detection(known, np.array([105.0])).tnr == 0.0
    assert detection(known, np.array([104.5, 105.0, 106.0, 3.0])).tnr == 0.5
    assert threshold_accepting_95(known[:20]) == 101.0
    assert threshold_accepting_95(known[:19]) == 100.0


def test_outliers_as_positives_is_another_number() -> None:
    known = np.array([*np.linspace(1, 2, 90), *np.full(10, -5.0)])
    outliers = np.linspace(0, 0.9, 100)
    found = detection(known, outliers)
    assert found.tnr == 0.0
    assert found.fpr_outliers_positive == 0.1


@pytest.mark.parametrize("n", [20, 40, 60, 100, 140, 300, 1000, 9000])
def test_exactly_95_percent_is_enough_at_any_size(n: int) -> None:
    known = np.concatenate([np.ones(19 * n // 20), np.zeros(n // 20)])
    assert detection(known, np.full(7, 0.5)).tnr == 1.0
    assert detection(np.full(7, 0.5), 1 - known).fpr_outliers_positive == 0.0


def test_perfect_worst_and_constant() -> None:
    high, low = np.linspace(0.6, 1, 50), np.linspace(0, 0.5, 30)
    same(detection(high, low), Detection(*map(np.array, (1.0, 1.0, 1.0, 1.0, 1.0, 0.0))))
    worst = detection(low, high)
    assert (worst.tnr, worst.auroc, worst.accuracy, worst.fpr_outliers_positive) == (0.0, 0.0, 0.5, 1.0)
    constant = detection(np.full(30, 0.3), np.full(10, 0.3))
    same(constant, Detection(*map(np.array, (0.0, 0.5, 0.5, 0.75, 0.25, 1.0))))


def draw(kind: str, rng: np.random.Generator) -> tuple[Scores, Scores]:
    known, outliers = rng.normal(1, 1, rng.integers(1, 400)), rng.normal(0, 1.5, rng.integers(1, 400))
    if kind == "ties":
        return known.round(), outliers.round()
    if kind == "saturated":
        return np.minimum(known, 1), np.minimum(outliers, 1)
    return known, outliers


@pytest.mark.parametrize("kind", ["continuous", "ties", "saturated"])
@pytest.mark.parametrize("seed", range(8))
def test_equal_to_scikit_learn(kind: str, seed: int) -> None:
    known, outliers = draw(kind, np.random.default_rng(seed))
    same(detection(known, outliers), scikit_learn(known, outliers))


@pytest.mark.parametrize("kind", ["continuous", "ties"])
def test_equal_to_pytorch_ood(kind: str) -> None:
    known, outliers = draw(kind, np.random.default_rng(11))
    # Its scores are those of outliers, whose labels are negative.
    scores = -torch.from_numpy(np.concatenate([known, outliers]))
    labels = torch.tensor([0] * len(known) + [-1] * len(outliers))
    found = detection(known, outliers)
    theirs = OODMetrics().update(scores, labels).compute()
    assert float(found.auroc) == pytest.approx(theirs["AUROC"], abs=1e-6)
    assert float(found.fpr_outliers_positive) == pytest.approx(theirs["FPR95TPR"], abs=1e-6)


few = st.integers(0, 6).map(float)


@given(st.lists(few, min_size=1, max_size=40), st.lists(few, min_size=1, max_size=40))
@settings(max_examples=200, deadline=None)
def test_equal_to_scikit_learn_whatever_the_ties(known: list[float], outliers: list[float]) -> None:
    same(detection(np.array(known), np.array(outliers)), scikit_learn(np.array(known), np.array(outliers)))


@pytest.mark.parametrize("change", [np.exp, lambda x: 3 * x - 7, lambda x: x**3, np.arctan])
def test_rising_functions_change_nothing(change: Callable[[Scores], Scores]) -> None:
    known, outliers = draw("continuous", np.random.default_rng(3))
    same(detection(change(known), change(outliers)), detection(known, outliers))


def test_swapping_the_roles_swaps_the_metrics() -> None:
    known, outliers = draw("ties", np.random.default_rng(4))
    one, other = detection(known, outliers), detection(-outliers, -known)
    np.testing.assert_allclose(one.auroc, other.auroc)
    np.testing.assert_allclose(one.accuracy, other.accuracy)
    np.testing.assert_allclose([one.aupr_in, one.aupr_out], [other.aupr_out, other.aupr_in])
    np.testing.assert_allclose(1 - one.tnr, other.fpr_outliers_positive)


def test_the_order_of_items_does_not_matter() -> None:
    rng = np.random.default_rng(5)
    known, outliers = draw("ties", rng)
    same(detection(rng.permutation(known), rng.permutation(outliers)), detection(known, outliers))


def test_counts_stand_for_repeated_items() -> None:
    rng = np.random.default_rng(6)
    known, outliers = draw("ties", rng)
    times_known = rng.integers(0, 3, (5, len(known)))
    times_outliers = rng.integers(0, 3, (5, len(outliers)))
    ranking = rank(known, outliers)

    def running(times: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.pad(times.cumsum(axis=1), ((0, 0), (1, 0)))

    found = detection_from_counts(
        running(times_known[:, ranking.known_order])[:, ranking.known_above],
        running(times_outliers[:, ranking.outlier_order])[:, ranking.outliers_above],
    )
    for row in range(5):
        again = detection(np.repeat(known, times_known[row]), np.repeat(outliers, times_outliers[row]))
        same(Detection(*(values[row] for values in found)), again)


def test_placements_average_to_the_auroc() -> None:
    known, outliers = draw("ties", np.random.default_rng(7))
    shares = placements(known, outliers)
    by_hand = [((outliers < k).sum() + 0.5 * (outliers == k).sum()) / len(outliers) for k in known]
    np.testing.assert_allclose(shares, by_hand)
    assert shares.mean() == pytest.approx(float(detection(known, outliers).auroc))


@pytest.mark.parametrize(
    ("known", "outliers"), [([], [1.0]), ([1.0], []), ([np.nan], [1.0]), ([1.0, 2.0], [np.nan])]
)
def test_nothing_and_nan_are_refused(known: list[float], outliers: list[float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        detection(np.array(known), np.array(outliers))


# ODIN's reference code.


def walk(known: Scores, outliers: Scores, lowest: float) -> float:
    """The loop of the published code, written out."""
    total, false = 0, 0.0
    for delta in np.arange(lowest, 1.0, (1.0 - lowest) / 100_000):
        tpr = (known >= delta).sum() / len(known)
        if 0.9495 <= tpr <= 0.9505:
            total, false = total + 1, false + (outliers > delta).sum() / len(outliers)
    return 1 - false / total


def test_the_reference_variant_is_its_loop_and_near_the_exact_one() -> None:
    rng = np.random.default_rng(8)
    known, outliers = 0.1 + 0.9 * rng.beta(5, 1, 2000), 0.1 + 0.9 * rng.beta(2, 1, 1500)
    found = odin_reference_tnr(known, outliers, 0.1)
    assert found == pytest.approx(walk(known, outliers, 0.1), abs=1e-12)
    assert found == pytest.approx(float(detection(known, outliers).tnr), abs=0.005)
    assert found != float(detection(known, outliers).tnr)


def test_the_reference_variant_without_such_a_threshold_is_undefined() -> None:
    assert odin_reference_tnr(np.array([0.5, 0.6, 0.7]), np.array([0.2]), 0.1) is None
    # A network that is always sure: every threshold of the grid accepts all.
    assert odin_reference_tnr(np.ones(1000), np.full(10, 0.2), 0.1) is None


def test_the_reference_area_by_hand() -> None:
    # Recall falls a quarter at a time; each fall counts with the precision behind it, and what is left with the last.
    known, outliers = np.array([0.9, 0.8, 0.6, 0.5]), np.array([0.7, 0.5, 0.3, 0.15])
    known_positive = (3 / (3 + 1) + 2 / (2 + 1) + 1 + 1) / 4
    outliers_positive = (3 / (3 + 2) + 1 + 1 + 1) / 4
    found = odin_reference_aupr(known, outliers, 0.1)
    assert found == pytest.approx((known_positive, outliers_positive), abs=1e-12)
    # Twice as many outliers change nothing, while they do change an average precision.
    twice = np.repeat(outliers, 2)
    assert odin_reference_aupr(known, twice, 0.1) == pytest.approx(found, abs=1e-12)
    assert detection(known, twice).aupr_in != pytest.approx(float(detection(known, outliers).aupr_in))


def test_the_reference_area_is_near_the_exact_one_where_both_kinds_are_equally_many() -> None:
    rng = np.random.default_rng(9)
    known, outliers = 0.1 + 0.9 * rng.beta(5, 1, 2000), 0.1 + 0.9 * rng.beta(2, 1, 2000)
    found, exact = odin_reference_aupr(known, outliers, 0.1), detection(known, outliers)
    assert found == pytest.approx((float(exact.aupr_in), float(exact.aupr_out)), abs=0.002)


def test_the_reference_area_of_certain_networks() -> None:
    assert odin_reference_aupr(np.ones(10), np.ones(5), 0.1) == (0.5, None)
    assert odin_reference_aupr(np.ones(10), np.full(5, 0.2), 0.1) == (1.0, 1.0)
