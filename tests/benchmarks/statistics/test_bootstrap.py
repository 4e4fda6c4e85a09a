"""The bootstrap's guards, and the error of a paired difference, in cases worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from benchmarks.statistics.bootstrap import FEW, Unit, difference_of, interval_of, mean_of
from benchmarks.statistics.intervals import DIFFERENCE, Z, effective, paired_difference, wilson


def rotated(values: Sequence[tuple[float, ...]], cell: str = "") -> list[Unit]:
    return [Unit(v, cell, f"g{i}") for i, answers in enumerate(values) for v in answers]


def test_a_bootstrap_of_few_clusters_is_as_wide_as_their_standard_error():
    """12 clusters of two: a resample varies by 11 / 12 less than a sample."""
    values = [(1, 1)] * 5 + [(1, 0)] * 3 + [(0, 0)] * 4
    means = [sum(pair) / 2 for pair in values]
    error = float(stats.sem(means))
    expected = effective(float(np.mean(means)), error, 11)
    uncorrected = effective(float(np.mean(means)), error * math.sqrt(11 / 12), 11)
    found = interval_of(rotated(values), resamples=200_000)
    assert found == pytest.approx(expected, abs=0.002)
    assert uncorrected[0] - found[0] > 0.008


def test_many_strata_leave_too_little_to_vary():
    """12 clusters, each in 10 of 12 cells and no two in the same: none can stand for another."""
    cells = [f"c{i}" for i in range(12)]
    found = [
        Unit(float(i < 6), cell, f"g{i}")
        for i in range(12)
        for j, cell in enumerate(cells)
        if (j - i) % 12 < 10
    ]
    counts = {cell: sum(unit.cell == cell for unit in found) for cell in cells}
    assert min(counts.values()) >= FEW
    # Nothing would vary at all; there are 12 questions.
    assert interval_of(found) == pytest.approx(wilson(12 * mean_of(found), 12))


def test_strata_without_freedom_are_not_taken_for_sure():
    """12 clusters in three strata: 9 degrees of freedom, fewer than the ten that are asked for."""
    places = [("a", "b", "c")] * 8 + [("a", "b")] * 2 + [("a", "c")] * 2
    right = [1, 1, 1, 1, 0, 0, 1, 0, 1, 0, 1, 0]
    pairs = enumerate(zip(right, places, strict=True))
    found = [Unit(r, c, f"g{i}") for i, (r, p) in pairs for c in p]
    assert interval_of(found) == pytest.approx(wilson(12 * mean_of(found), 12))


def test_one_more_right_answer_does_not_make_it_ten_times_as_sure():
    """100 questions of two rotations, each once right: a habit, not a measurement."""
    half = [(1.0, 0.0)] * 100
    habit = interval_of(rotated(half))
    assert habit == pytest.approx(wilson(50, 100))
    low, high = interval_of(rotated([(1.0, 1.0), *half[1:]]))
    # Never surer than 200 independent answers would be
    assert (low, high) == pytest.approx(wilson(101, 200), abs=0.003)
    assert low < 0.436 and high > 0.573


def test_parts_of_answers_may_be_surer_than_right_and_wrong():
    """32 draws of each of 60 questions: their mean hardly varies."""
    shares = np.random.default_rng(1).binomial(32, 0.5, 60) / 32
    low, high = interval_of([Unit(float(v), "", f"q{i}") for i, v in enumerate(shares)])
    assert high - low < 0.06


# -- Paired differences


def test_the_error_of_a_difference_is_that_of_the_differences():
    rng = np.random.default_rng(2)
    cells = {"a": rng.choice([-1, 0, 1], 40), "b": rng.choice([-1, 0, 0, 1], 90)}
    found = [Unit(v, c, f"{c}{i}") for c, part in cells.items() for i, v in enumerate(part)]
    error, freedom = difference_of(found)
    expected = math.sqrt(sum(part.var() / len(part) for part in cells.values())) / 2
    assert error == pytest.approx(expected * math.sqrt(130 / 128), rel=0.03)
    assert freedom == 128


def test_few_questions_of_a_cell_are_adjusted_as_in_closed_form():
    """One cell of 4 and one of 200: each has the half of its own interval."""
    few, many = [1, 0, 0, 0], [1] * 30 + [-1] * 10 + [0] * 160
    found = [Unit(v, "few", f"f{i}") for i, v in enumerate(few)]
    found += [Unit(v, "many", f"m{i}") for i, v in enumerate(many)]
    halves = []
    for part in (few, many):
        low, high = paired_difference(part, [1] * len(part))
        halves.append(max(np.mean(part) - low, high - np.mean(part)))
    error, freedom = difference_of(found)
    assert error == pytest.approx(math.hypot(*halves) / 2 / Z) and freedom == math.inf


def test_nothing_that_differs_is_no_certainty():
    found = [Unit(0, f"c{i % 2}", f"q{i}") for i in range(60)]
    error, _ = difference_of(found)
    assert 0.01 < error < 0.1
    shared = [Unit(0, cell, f"q{i}") for i in range(20) for cell in "ab"]
    low, high = paired_difference([0] * 20, [2] * 20)
    assert difference_of(shared)[0] == pytest.approx((high - low) / 2 / Z)
    assert DIFFERENCE[0] < low
