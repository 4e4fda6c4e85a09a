"""Intervals in closed form against scipy, published examples and numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy import stats

from benchmarks.statistics.intervals import (
    DIFFERENCE,
    SHARE,
    effective,
    interplay,
    noise_of,
    paired_difference,
    student,
    variance_of_mean,
    widened,
    wilson,
)


@pytest.mark.parametrize(("right", "n"), [(0, 1), (1, 1), (3, 7), (17, 24), (146, 191), (500, 500)])
def test_wilson_is_scipys(right, n):
    expected = stats.binomtest(right, n).proportion_ci(method="wilson")
    assert wilson(right, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


@settings(deadline=None)
@given(some.integers(0, 400), some.integers(0, 400))
def test_wilson_holds_its_share_and_mirrors(right, wrong):
    low, high = wilson(right, right + wrong)
    assert 0 <= low <= high <= 1
    if right + wrong:
        assert low <= right / (right + wrong) <= high
    assert wilson(wrong, right + wrong) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@pytest.mark.parametrize("n", [20, 100, 500])
def test_wilson_holds_95_percent_on_average(n):
    """By counting all outcomes, for shares of 2 to 98%."""
    outcomes = np.arange(n + 1)
    limits = np.array([wilson(x, n) for x in outcomes])
    held = []
    for share in np.linspace(0.02, 0.98, 97):
        inside = (limits[:, 0] <= share) & (share <= limits[:, 1])
        held.append(stats.binom.pmf(outcomes, n, share)[inside].sum())
    assert 0.945 < np.mean(held) < 0.965
    assert min(held) > 0.89


def test_an_error_is_worth_as_many_questions_as_have_it():
    for share, n in ((0.5, 100), (0.9, 37), (0.03, 800)):
        error = math.sqrt(share * (1 - share) / n)
        assert effective(share, error, 10**9) == pytest.approx(wilson(share * n, n), abs=1e-6)
    narrow, wide = effective(0.5, 0.1, 10**9), effective(0.5, 0.1, 9)
    assert wide[0] < narrow[0] and wide[1] > narrow[1]
    assert all(0 <= limit <= 1 for limit in effective(0.98, 0.3, 9))


def test_students_interval_is_scipys():
    values = [0.61, 0.66, 0.7, 0.58]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert student(values) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert variance_of_mean(values) == pytest.approx(stats.sem(values) ** 2)


def test_students_interval_of_few():
    assert student([0.7]) == SHARE
    assert student([0.7], DIFFERENCE) == DIFFERENCE
    # t of 1 degree of freedom is 12.706: 0.6 +- 12.706 * 0.1 leaves 0..1
    assert student([0.5, 0.7]) == SHARE
    assert student([0.4, 0.4, 0.4]) == pytest.approx((0.4, 0.4))


def test_widening_adds_variances():
    """Nearly exact questions leave Student's interval of the trainings."""
    values = [0.70, 0.74, 0.78]
    sharp = (0.74 - 1e-9, 0.74 + 1e-9)
    assert widened(0.74, sharp, [values], SHARE) == pytest.approx(student(values), abs=1e-6)


def test_widening_by_hand():
    # Half widths: questions 0.05, trainings t(2) = 4.302653 * 0.04 / sqrt(3) = 0.099365;
    # sqrt(0.0025 + 0.009873) = 0.111236
    low, high = widened(0.74, (0.69, 0.79), [[0.70, 0.74, 0.78]], SHARE)
    assert (low, high) == pytest.approx((0.74 - 0.111236, 0.74 + 0.111236), abs=2e-6)
    # 0.00053333 - 0.0001 times 4.302653^2: 0.0080221
    half = math.sqrt(0.0025 + 4.302653**2 * 0.000433333)
    found = widened(0.74, (0.69, 0.79), [[0.70, 0.74, 0.78]], SHARE, [0.0001])
    assert found == pytest.approx((0.74 - half, 0.74 + half), abs=2e-6)


def test_widening_of_two_by_hand():
    # Variances 0.04^2 / 3 = 0.00053333 and 0.01^2 / 2 = 0.00005; Satterthwaite: 0.00058333^2 /
    # (0.00053333^2 / 2 + 0.00005^2) = 2.3513, t = 3.7434; without the interplay 0.00043333 and 0:
    # 3.7434 * sqrt(0.00043333) = 0.077925, with 0.05 in squares 0.092587
    sets = [[0.70, 0.74, 0.78], [0.60, 0.614142136]]
    freedom = 0.000583333**2 / (0.000533333**2 / 2 + 0.00005**2)
    half = math.hypot(0.05, stats.t.ppf(0.975, freedom) * math.sqrt(0.000433333))
    found = widened(0.13, (0.08, 0.18), sets, DIFFERENCE, [0.0001, 0.0002])
    assert freedom == pytest.approx(2.3513, abs=1e-4)
    assert found == pytest.approx((0.13 - half, 0.13 + half), abs=1e-5)
    assert widened(0.13, (0.08, 0.18), sets, DIFFERENCE, [1, 1]) == pytest.approx((0.08, 0.18))


def test_what_is_taken_off():
    rng = np.random.default_rng(3)
    a, b = (rng.integers(0, 2, (3, 20)) / 20 for _ in range(2))
    a, b = (x - x.mean(axis=1, keepdims=True) for x in (a, b))
    assert noise_of(a, b, same_weights=False) == [interplay(a), interplay(b)]
    assert noise_of(a, b, same_weights=True) == [interplay(a - b) / 2]
    assert noise_of(a, b[:1], same_weights=False) == [0, 0]


def test_interplay_is_the_analysis_of_variance():
    """Mean square of the interaction of a table of trainings x questions, over its size; clusters
    of two that agree are worth one."""
    right = np.random.default_rng(1).integers(0, 2, (3, 12)).astype(float)
    rest = right - right.mean(axis=1, keepdims=True) - right.mean(axis=0) + right.mean()
    expected = (rest**2).sum() / (2 * 11) / (3 * 12)
    parts = (right - right.mean(axis=1, keepdims=True)) / 12
    assert interplay(parts) == pytest.approx(expected)
    assert interplay(np.repeat(parts / 2, 2, axis=1)) < 0.6 * expected
    assert interplay(parts[:1]) == interplay(parts[:, :1]) == 0.0


def test_widening_keeps_a_lean_and_the_bounds():
    low, high = widened(0.9, (0.8, 0.93), [[0.88, 0.9, 0.92]], SHARE)
    assert 0.9 - low > high - 0.9
    assert widened(0.5, (0.4, 0.6), [[0.2, 0.8]], SHARE) == SHARE


@pytest.mark.parametrize("trainings", [[], [[0.7]], [[0.7], [0.6]], [[0.7, 0.7, 0.7]]])
def test_nothing_is_added_where_no_training_differs(trainings):
    assert widened(0.7, (0.6, 0.8), trainings, SHARE) == (0.6, 0.8)


def test_a_paired_difference_is_bonetts_and_prices():
    """(b - c) / (n + 2) +- z sqrt((p12 + p21 - (p12 - p21)^2) / (n + 2)) with p12 = (b + 1) /
    (n + 2) and p21 = (c + 1) / (n + 2), here with t of n + 1 degrees of freedom for z."""
    for only_a, only_b, n in ((17, 7, 191), (0, 0, 20), (5, 0, 5), (1, 1, 2)):
        p12, p21 = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
        error = math.sqrt((p12 + p21 - (p12 - p21) ** 2) / (n + 2))
        half = stats.t.ppf(0.975, n + 1) * error
        expected = max(p12 - p21 - half, -1), min(p12 - p21 + half, 1)
        sums = [1] * only_a + [-1] * only_b + [0] * (n - only_a - only_b)
        assert paired_difference(sums, [1] * n) == pytest.approx(expected, abs=1e-12)


def test_rotations_that_agree_are_as_uncertain_as_one_question():
    """The same differences four times over: as wide as once, not half."""
    sums = [1] * 9 + [-1] * 4 + [0] * 40
    once = paired_difference(sums, [1] * 53)
    fourfold = paired_difference([4 * value for value in sums], [4] * 53)
    assert fourfold == pytest.approx(once, abs=1e-12)


@settings(deadline=None)
@given(some.lists(some.sampled_from([-1, 0, 1]), min_size=1, max_size=60))
def test_a_paired_interval_holds_its_difference_and_mirrors(sums):
    low, high = paired_difference(sums, [1] * len(sums))
    assert -1 <= low <= sum(sums) / len(sums) <= high <= 1
    assert low < high
    mirrored = paired_difference([-value for value in sums], [1] * len(sums))
    assert mirrored == pytest.approx((-high, -low), abs=1e-12)


def test_no_question_says_nothing():
    assert paired_difference([], []) == DIFFERENCE
    assert wilson(0, 0) == SHARE
