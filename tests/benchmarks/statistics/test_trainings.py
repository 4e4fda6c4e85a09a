"""Several trainings of one agent, in numbers worked out by hand."""

from __future__ import annotations

import math

import pytest

from benchmarks.statistics import aggregations, trainings
from benchmarks.statistics.bootstrap import Incomplete, Unit
from benchmarks.statistics.intervals import wilson

from .simulated import rows_of


def several(*rights: int, n: int = 40) -> list[Unit]:
    """One training per number of right answers, always to the first questions."""
    return aggregations.units("micro", rows_of([[i < right for i in range(n)] for right in rights]))


def test_each_training_has_its_mean_in_the_order_of_their_numbers():
    found = several(20, 30, 25)
    assert trainings.values(found) == [0.5, 0.75, 0.625]
    assert trainings.values(found[::-1]) == [0.5, 0.75, 0.625]


def test_trainings_that_lack_a_cell_have_no_mean_in_common():
    """Training 1 was asked in one of two categories only: its 100% is not comparable."""
    found = [Unit(1, "x", f"q{i}", t) for i in range(20) for t in (0, 1)]
    found += [Unit(0, "y", f"r{i}", 0) for i in range(20)]
    for function in (trainings.values, trainings.interval, trainings.spread):
        with pytest.raises(Incomplete, match=r"training 1: got 1 of 2 categories.*missing: y"):
            function(found)
    rows = [
        {**row, "category": [name]}
        for name, right in (("x", [[1] * 20] * 2), ("y", [[0] * 20]))
        for row in rows_of(right, groups=[f"{name}{i}" for i in range(20)])
    ]
    assert "missing: y" in aggregations.report("vstar", rows)["macro"]["incomplete"]


def test_one_training_is_wilsons_and_has_no_spread():
    found = several(30)
    assert trainings.interval(found) == wilson(30, 40)
    assert trainings.spread(found) is None
    assert trainings.estimate(found) == {"value": 0.75, "interval": list(wilson(30, 40))}


def test_spread_by_hand():
    """0.5, 0.75 and 0.625: sd 0.125, 0.625 +- 4.302653 * 0.125 / sqrt(3)."""
    found = trainings.spread(several(20, 30, 25))
    assert found is not None
    assert found["sd"] == pytest.approx(0.125)
    half = 4.302653 * 0.125 / math.sqrt(3)
    assert found["interval_trainings"] == pytest.approx([0.625 - half, 0.625 + half], abs=1e-6)
    low, high = found["interval_questions"]
    # The variance of the questions' means of 1 (20 of them), 2/3, 1/3 (5 each) and 0 (10)
    mean = 0.625
    parts = 20 * (1 - mean) ** 2 + 5 * (2 / 3 - mean) ** 2 + 5 * (1 / 3 - mean) ** 2 + 10 * mean**2
    error = math.sqrt(parts / 39 / 40)
    assert (high - low) / 2 == pytest.approx(2.0227 * error, rel=0.06)


def test_the_combined_interval_is_wider_than_either_and_holds_the_mean():
    found = several(28, 30, 29, n=40)
    parts = trainings.spread(found)
    assert parts is not None
    low, high = trainings.interval(found)
    for inner in (parts["interval_questions"], parts["interval_trainings"]):
        assert low < inner[0] and inner[1] < high


def test_aggregations_take_several_trainings():
    """Each has all rotations of a question; a question is right in all of them or it isn't."""
    first = [1, 1, 1, 1, 1, 1, 1, 0]
    second = [1, 1, 1, 1, 1, 1, 1, 1]
    groups = ["g0"] * 4 + ["g1"] * 4
    rows = [
        {**row, "cycle_id": f"c{int(row['question_id'][1:]) % 4}"}
        for row in rows_of([first, second], groups=groups)
    ]
    found = aggregations.report("hrbench", rows)
    assert found["cycle_mean"]["value"] == pytest.approx(15 / 16)
    assert found["circular_strict"]["value"] == 0.75
    assert (found["circular_strict"]["n"], found["circular_strict"]["clusters"]) == (4, 2)
    lacking = [row for row in rows if (row["training"], row["question_id"]) != (1, "q2")]
    assert (
        "1 of 4 questions lack"
        in aggregations.report("hrbench", lacking)["cycle_mean"]["incomplete"]
    )
