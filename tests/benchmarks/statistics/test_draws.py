"""avg@k and pass@k against counting all subsets."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from benchmarks.statistics.draws import pass_at, report
from benchmarks.statistics.intervals import wilson


def drawn(rights: dict[str, str], training: int = 0, **more: Any) -> list[dict[str, Any]]:
    """Sampled rows: a text of digits per question, a digit per draw: 1 is right."""
    return [
        {
            "question_id": question,
            "group_id": "",
            "training": training,
            "draw": number,
            "sampled": True,
            "correct": digit == "1",
            **more,
        }
        for question, digits in rights.items()
        for number, digit in enumerate(digits)
    ]


@settings(deadline=None)
@given(some.data(), some.integers(1, 7))
def test_pass_at_k_counts_the_subsets_that_hold_a_right_one(data, n):
    right = data.draw(some.integers(0, n))
    k = data.draw(some.integers(1, n))
    subsets = list(itertools.combinations([1] * right + [0] * (n - right), k))
    expected = sum(any(subset) for subset in subsets) / len(subsets)
    assert pass_at(k, n, right) == pytest.approx(expected, abs=1e-12)


def test_pass_at_k_of_many_draws_is_stable():
    assert pass_at(1, 1000, 3) == pytest.approx(0.003)
    assert pass_at(1000, 1000, 1) == 1.0
    assert pass_at(999, 1000, 1) == pytest.approx(0.999)
    assert pass_at(1000, 1000, 0) == 0.0


@pytest.mark.parametrize(("k", "n", "right"), [(0, 4, 1), (5, 4, 1), (1, 4, 5), (1, 4, -1)])
def test_impossible_numbers_are_refused(k, n, right):
    with pytest.raises(ValueError, match=f"pass@{k}: got {right} right of {n}"):
        pass_at(k, n, right)


def test_report_by_hand():
    """3 of 6 right, 1 of 6, 6 of 6 and none."""
    found = report(drawn({"a": "110100", "b": "000001", "c": "111111", "d": "000000"}))
    assert found is not None and found["k"] == 6
    assert found["avg"]["value"] == pytest.approx((3 / 6 + 1 / 6 + 1 + 0) / 4)
    # pass@2: 1 - 3/15, 5/15, 1, 0; pass@4: 1, 1 - 5/15, 1, 0; pass@6: 1, 1, 1, 0
    values = {k: part["value"] for k, part in found["pass"].items()}
    assert list(values) == ["1", "2", "4", "6"]
    assert values["1"] == pytest.approx(found["avg"]["value"])
    assert values["2"] == pytest.approx((12 / 15 + 5 / 15 + 1 + 0) / 4)
    assert values["4"] == pytest.approx((1 + 10 / 15 + 1 + 0) / 4)
    assert values["6"] == 0.75
    assert found["pass"]["6"]["interval"] == pytest.approx(wilson(3, 4))
    assert json.loads(json.dumps(found)) == found


def test_guessing_more_often_is_right_more_often():
    """Half of the questions have two options, half four."""
    rows = drawn({"a": "1000", "b": "0000"}, n_options=2)
    rows += drawn({"c": "1000", "d": "0000"}, n_options=4) + drawn({"a": "1111"}, 1, n_options=2)
    rows += drawn({"b": "1111", "c": "1111", "d": "1111"}, 1, n_options=4)
    for row in rows:
        row["n_options"] = 2 if row["question_id"] in "ab" else 4
    found = report(rows)
    assert found is not None
    chances = {k: part["chance"] for k, part in found["pass"].items()}
    assert chances["1"] == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert chances["2"] == pytest.approx((3 / 4 + 7 / 16) / 2)
    assert chances["4"] == pytest.approx((15 / 16 + 1 - (3 / 4) ** 4) / 2)
    free = report([*rows, *drawn({"e": "1000"}, n_options=0)])
    assert free is not None and not any("chance" in part for part in free["pass"].values())


def test_a_power_of_two_stands_once_and_one_draw_is_enough():
    four = report(drawn({"a": "1100"}))
    assert four is not None and list(four["pass"]) == ["1", "2", "4"]
    one = report(drawn({"a": "1", "b": "0"}))
    assert one is not None and list(one["pass"]) == ["1"]
    assert one["avg"] == one["pass"]["1"]
    assert one["avg"]["interval"] == pytest.approx(wilson(1, 2))
    assert report([]) is None


def test_where_draws_are_missing_k_is_what_every_question_has():
    found = report(drawn({"a": "1000", "b": "110"}))
    assert found is not None and found["k"] == 3
    # 1 - C(3, 3) / C(4, 3) = 3/4, and 1 as only one of b's is wrong
    assert found["pass"]["3"]["value"] == pytest.approx((3 / 4 + 1) / 2)


def test_more_draws_of_the_same_questions_do_not_add_questions():
    """All draws of a question alike: 64 draws are worth no more than one."""
    rights = {f"q{i}": "1" if i % 3 else "0" for i in range(60)}
    one = report(drawn(rights))
    many = report(drawn({question: digit * 64 for question, digit in rights.items()}))
    assert one is not None and many is not None
    assert many["avg"]["interval"] == pytest.approx(one["avg"]["interval"], abs=0.01)


def test_rotations_are_drawn_together():
    rights = {f"q{i}": "11" if i % 8 < 4 else "00" for i in range(80)}
    apart = report(drawn(rights))
    rows = [{**row, "group_id": f"g{int(row['question_id'][1:]) // 4}"} for row in drawn(rights)]
    together = report(rows)
    assert apart is not None and together is not None
    assert together["avg"]["value"] == apart["avg"]["value"] == 0.5
    widths = [part["avg"]["interval"][1] - 0.5 for part in (apart, together)]
    assert widths[1] > 1.7 * widths[0]


def test_several_trainings_widen_the_interval():
    rights = {f"q{i}": "10" for i in range(100)}
    better = {f"q{i}": "11" if i < 60 else "10" for i in range(100)}
    same = report(drawn(rights) + drawn(rights, 1))
    apart = report(drawn(rights) + drawn(better, 1))
    assert same is not None and apart is not None
    assert apart["avg"]["value"] == pytest.approx((0.5 + 0.8) / 2)
    assert apart["avg"]["interval"] == [0, 1]  # t of one degree of freedom: 12.7
    assert same["avg"]["interval"][0] > 0.3
