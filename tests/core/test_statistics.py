"""Intervals, paired differences and top-k, against scipy, scikit-learn and hand computation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import top_k_accuracy_score

from eval_suite.core.statistics import (
    Interval,
    PairedDifference,
    bootstrap_mean,
    bootstrap_normal,
    bootstrap_values,
    mean_differences,
    paired_difference,
    resampled_difference,
    topk_correct,
    wilson_interval,
)

COUNTS = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def test_wilson_by_hand() -> None:
    # z = 1.959964, n = 10, p = 0.5: centre 0.5, half = z / sqrt(10) * sqrt(0.25 + z^2/40) / (1 + z^2/10) = 0.263403
    low, high = wilson_interval(5, 10)
    assert low == pytest.approx(0.236593, abs=1e-6)
    assert high == pytest.approx(0.763407, abs=1e-6)


@settings(deadline=None)
@given(COUNTS, st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_agrees_with_scipy(counts: tuple[int, int], confidence: float) -> None:
    reference = stats.binomtest(*counts).proportion_ci(confidence, method="wilson")
    assert wilson_interval(*counts, confidence) == pytest.approx(tuple(reference), abs=1e-9)


@settings(deadline=None)
@given(COUNTS)
def test_wilson_is_symmetric_and_holds_the_share(counts: tuple[int, int]) -> None:
    successes, n = counts
    low, high = wilson_interval(successes, n)
    assert 0 <= low <= successes / n <= high <= 1
    mirrored = wilson_interval(n - successes, n)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_wilson_takes_items_that_succeed_in_part() -> None:
    between = wilson_interval(2.5, 10)
    assert wilson_interval(2, 10).low < between.low < 0.25 < between.high < wilson_interval(3, 10).high


def test_wilson_at_none_and_all() -> None:
    assert wilson_interval(0, 20).low == 0.0
    assert 0 < wilson_interval(0, 20).high < 0.2
    assert wilson_interval(20, 20).high == 1.0
    assert 0 < wilson_interval(1, 1).low < 1


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 3), (4, 3), (1, -1)])
def test_wilson_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="expected 0 <= successes <= n"):
        wilson_interval(successes, n)


@pytest.mark.parametrize(("n", "share"), [(30, 0.1), (30, 0.5), (200, 0.97)])
def test_wilson_covers_the_true_share_in_95_of_100(n: int, share: float) -> None:
    draws = np.random.default_rng(0).binomial(n, share, 20_000)
    bounds = {k: wilson_interval(int(k), n) for k in np.unique(draws)}
    covered = np.mean([bounds[k].low <= share <= bounds[k].high for k in draws])
    # The exact coverage moves about 0.95 with n; the simulation's own error is 3 * sqrt(.05 * .95 / 20000) = 0.005.
    exact = sum(
        stats.binom.pmf(k, n, share)
        for k in range(n + 1)
        if wilson_interval(k, n).low <= share <= wilson_interval(k, n).high
    )
    assert covered == pytest.approx(exact, abs=0.005)
    assert 0.93 < covered < 0.985


def outcomes(n: int, gain: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Errors of two models that share their difficult items."""
    rng = np.random.default_rng(seed)
    difficulty = rng.random(n)
    b = (difficulty + 0.2 * rng.standard_normal(n) > 0.7).astype(float)
    a = (difficulty + 0.2 * rng.standard_normal(n) > 0.7 + gain).astype(float)
    return a, b


def test_paired_difference_agrees_with_scipy() -> None:
    a, b = outcomes(400, 0.05)
    found = paired_difference(a, b, resamples=10_000)
    reference = stats.bootstrap(
        (a, b),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=10_000,
        rng=np.random.default_rng(1),
    )
    assert found.difference == pytest.approx(np.mean(a) - np.mean(b))
    assert found.n == 400
    # A 2.5 % quantile of 10,000 draws has a standard error of about 0.027 standard errors of the mean; allow five.
    tolerance = 5 * 0.027 * reference.standard_error
    assert found.interval == pytest.approx(tuple(reference.confidence_interval), abs=tolerance)
    # Unpaired, the interval is wider by far: pairing is what makes small differences visible.
    unpaired = 1.96 * math.sqrt((a.var() + b.var()) / 400)
    assert found.interval.high - found.interval.low < 0.85 * 2 * unpaired


def test_paired_difference_changes_its_sign_with_the_order() -> None:
    a, b = outcomes(150, 0.1)
    forth, back = paired_difference(a, b), paired_difference(b, a)
    assert forth.difference == -back.difference
    assert forth.interval == pytest.approx((-back.interval.high, -back.interval.low))
    assert paired_difference(a + 3, b + 3).interval == pytest.approx(forth.interval)


def test_bootstraps_repeat_by_seed() -> None:
    a, b = np.random.default_rng(0).random((2, 100))
    assert paired_difference(a, b, seed=3) == paired_difference(a, b, seed=3)
    assert paired_difference(a, b, seed=3).interval != paired_difference(a, b, seed=4).interval
    assert bootstrap_mean(a, seed=3) == bootstrap_mean(a, seed=3)


def test_the_same_outcomes_are_tied_and_a_clear_gain_is_not() -> None:
    a, _ = outcomes(300, 0.0)
    same = paired_difference(a, a)
    assert same == PairedDifference(0.0, Interval(0.0, 0.0), 300)
    assert same.tied
    worse = paired_difference(a, outcomes(300, 0.3)[0])
    assert not worse.tied
    assert worse.interval.low > 0


def test_of_equally_good_models_95_of_100_are_tied() -> None:
    tied = [paired_difference(*outcomes(200, 0.0, seed), resamples=400).tied for seed in range(400)]
    # Three standard errors of a share of 0.95 over 400 trials are 0.033.
    assert np.mean(tied) == pytest.approx(0.95, abs=0.033)


@pytest.mark.parametrize(
    ("interval", "tied"),
    [((-1, 1), True), ((0, 1), True), ((-1, 0), True), ((0.1, 1), False), ((-1, -0.1), False)],
)
def test_tied_means_that_the_interval_contains_zero(interval: tuple[float, float], tied: bool) -> None:
    assert PairedDifference(0.0, Interval(*interval), 5).tied is tied


@pytest.mark.parametrize(("a", "b"), [([1, 2], [1]), ([], []), ([[1]], [[1]])])
def test_paired_difference_refuses_lists_that_are_no_pairs(a: list[float], b: list[float]) -> None:
    with pytest.raises(ValueError, match="two equally long lists"):
        paired_difference(np.array(a, float), np.array(b, float))


def test_bootstrap_mean_matches_the_normal_interval() -> None:
    values = np.random.default_rng(0).normal(2.0, 3.0, 2000)
    low, high = bootstrap_mean(values, resamples=4000)
    error = values.std() / math.sqrt(2000)
    # Quantiles of 4,000 draws vary by about 0.04 standard errors.
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.2 * error)
    assert bootstrap_mean(np.full(5, 7.0)) == (7.0, 7.0)
    assert bootstrap_mean(np.full(5, 7.0)).degenerate
    assert not bootstrap_mean(np.array([7.0, 7.1])).degenerate


def test_rounding_gives_no_width() -> None:
    constant = bootstrap_normal(
        lambda chosen: float(np.full(len(chosen), 0.1).sum() * 3), 7, bounds=Interval(0, 9)
    )
    assert constant.degenerate


def test_bootstrap_mean_is_the_mean_of_chosen_items_and_the_same_in_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = np.random.default_rng(0).random(50)
    chosen = np.random.default_rng(4).integers(0, 50, size=(101, 50))
    by_hand = np.quantile(values[chosen].mean(axis=1), [0.025, 0.975])
    assert bootstrap_mean(values, resamples=101, seed=4) == pytest.approx(tuple(by_hand), abs=1e-15)
    monkeypatch.setattr("eval_suite.core.statistics._ENTRIES_AT_ONCE", 50 * 7)
    monkeypatch.setattr("eval_suite.core.statistics._ENTRIES_KEPT", 0)
    assert bootstrap_mean(values, resamples=101, seed=4) == pytest.approx(tuple(by_hand), abs=1e-15)


def test_pairs_resampled_together_are_what_each_is_alone() -> None:
    rng = np.random.default_rng(3)
    pairs = [(rng.random(n), rng.random(n)) for n in (40, 300, 40)]
    together, one, none = mean_differences([[a - b for a, b in pairs], [pairs[1][0] - pairs[1][1]], []])
    assert (one, none) == ([paired_difference(*pairs[1])], [])
    for found, (a, b) in zip(together, pairs, strict=True):
        alone = paired_difference(a, b)
        assert found.n == alone.n
        assert found.difference == alone.difference
        assert found.interval == pytest.approx(alone.interval, abs=1e-15)
    assert mean_differences([]) == []


def test_errors_of_very_many_items_are_resampled_by_their_values() -> None:
    a, b = outcomes(20_000, 0.02)
    found = paired_difference(a, b, resamples=10_000)
    # The bootstrap's distribution of a mean of so many items is normal but for a term of order 1/n.
    half = 1.959964 * np.std(a - b) / math.sqrt(20_000)
    expected = (found.difference - half, found.difference + half)
    # As above: five standard errors of a simulated 2.5 % quantile.
    assert found.interval == pytest.approx(expected, abs=5 * 0.027 * half / 1.96)
    # Values that hardly ever repeat take the way over the items; a tiny tremor must not move the interval.
    trembling = a + 1e-9 * np.random.default_rng(0).random(20_000)
    by_item = paired_difference(trembling, b, resamples=400).interval
    assert by_item == pytest.approx(found.interval, abs=0.2 * half)


def test_bootstrap_normal_has_the_standard_error_of_scipy_around_the_value() -> None:
    values = np.random.default_rng(0).exponential(1.0, 300)
    everywhere = Interval(-np.inf, np.inf)

    def median(chosen: np.ndarray) -> float:
        return float(np.median(values[chosen]))

    found = bootstrap_normal(median, 300, bounds=everywhere, resamples=3000)
    reference = stats.bootstrap(
        (values,), np.median, method="percentile", n_resamples=3000, rng=np.random.default_rng(1)
    )
    assert (found.low + found.high) / 2 == pytest.approx(np.median(values))
    assert (found.high - found.low) / (2 * 1.959964) == pytest.approx(reference.standard_error, rel=0.1)
    assert bootstrap_normal(median, 300, bounds=Interval(0.6, 0.65), resamples=300).high == 0.65


def test_bootstrap_normal_covers_a_biased_statistic_that_percentiles_miss() -> None:
    noise = np.random.default_rng(0).normal(size=400)

    def magnitude_of_mean(chosen: np.ndarray) -> float:
        return abs(float(noise[chosen].mean() - noise.mean()))

    low, high = bootstrap_normal(magnitude_of_mean, 400, bounds=Interval(0.0, np.inf))
    assert low == 0.0 < high


def test_a_difference_of_statistics_is_bootstrapped_with_the_same_items_in_both() -> None:
    rng = np.random.default_rng(0)
    a = rng.exponential(1.0, 200)
    b = a + rng.normal(0.0, 0.1, 200)

    def medians(chosen: np.ndarray) -> np.ndarray:
        return np.array([np.median(a[chosen]), np.median(b[chosen])])

    everywhere = Interval(-np.inf, np.inf)
    difference = float(np.median(a) - np.median(b))
    found = resampled_difference(difference, *bootstrap_values(medians, 200).T, 200)
    at_once = bootstrap_normal(lambda chosen: float(-np.diff(medians(chosen))[0]), 200, bounds=everywhere)
    assert found == (difference, pytest.approx(at_once), 200)
    alone = bootstrap_normal(lambda chosen: float(np.median(a[chosen])), 200, bounds=everywhere)
    assert found.interval.high - found.interval.low < 0.5 * (alone.high - alone.low)


def test_equal_statistics_are_tied_and_two_that_no_resample_changes_are_not() -> None:
    same = np.array([0.2, 0.4, 0.3])
    assert resampled_difference(0.0, same, same, 9) == (0.0, (0.0, 0.0), 9)
    assert resampled_difference(0.0, same, same, 9).tied
    assert not resampled_difference(0.5, np.ones(3), np.full(3, 0.5), 9).tied


def test_topk_by_hand() -> None:
    logits = np.array([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [2.0, 3.0, 1.0]])
    labels = np.array([0, 0, 0])
    assert topk_correct(logits, labels, 1).tolist() == [True, False, False]
    assert topk_correct(logits, labels, 2).tolist() == [True, False, True]
    assert topk_correct(logits, labels, 3).tolist() == [True, True, True]


@pytest.mark.parametrize("k", [1, 2, 5])
def test_topk_agrees_with_scikit_learn_on_distinct_logits(k: int) -> None:
    rng = np.random.default_rng(k)
    logits = rng.permuted(np.tile(np.arange(12.0), (500, 1)), axis=1)
    labels = rng.integers(0, 12, 500)
    reference = top_k_accuracy_score(labels, logits, k=k, labels=np.arange(12))
    assert topk_correct(logits, labels, k).mean() == reference


def test_topk_does_not_depend_on_class_order_or_a_constant() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.integers(0, 4, (200, 7)).astype(float), rng.integers(0, 7, 200)
    order = rng.permutation(7)
    found = topk_correct(logits, labels, 2)
    assert 0 < found.sum() < 200
    np.testing.assert_array_equal(topk_correct(logits[:, order], np.argsort(order)[labels], 2), found)
    np.testing.assert_array_equal(topk_correct(logits + rng.integers(-9, 9, (200, 1)), labels, 2), found)


def test_ties_count_against_the_model() -> None:
    constant = np.zeros((4, 4))
    labels = np.arange(4)
    for k in (1, 2, 3):
        assert not topk_correct(constant, labels, k).any()
    assert topk_correct(np.array([[1.0, 1.0, 0.0]]), np.array([0]), 2).all()


@pytest.mark.parametrize("k", [4, 5, 100])
def test_with_as_many_guesses_as_classes_all_are_correct(k: int) -> None:
    assert topk_correct(np.zeros((3, 4)), np.array([0, 1, 3]), k).all()


def test_a_nan_logit_is_never_correct() -> None:
    logits = np.array([[np.nan, 0.0], [0.0, np.nan], [np.nan, np.nan]])
    assert topk_correct(logits, np.array([0, 1, 0]), 1).tolist() == [False, False, False]
    assert topk_correct(logits, np.array([0, 1, 0]), 2).tolist() == [False, False, False]
