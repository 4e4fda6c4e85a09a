"""Aggregations by name, against numbers worked out by hand and published tables."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest

from benchmarks.metrics import wilson
from benchmarks.statistics import aggregations, bootstrap
from benchmarks.statistics.aggregations import (
    AGGREGATIONS,
    BLINK,
    MIG_BENCH,
    NAMES,
    circular_strict,
    cycle_mean,
    interval,
    macro,
    macro9,
    macro10,
    macro14,
    macro_subtask,
    macro_tasks,
    micro,
    report,
)
from benchmarks.statistics.bootstrap import Incomplete

Rows = list[dict[str, Any]]
numbers = itertools.count()


def row(correct: bool, *category: str, **more: Any) -> dict[str, Any]:
    base = {
        "question_id": str(next(numbers)),
        "correct": correct,
        "category": list(category),
        "group_id": "",
        "cycle_id": "",
        "n_options": 4,
    }
    return {**base, **more}


def rows(right: int, n: int, *category: str, **more: Any) -> Rows:
    return [row(i < right, *category, **more) for i in range(n)]


REAL_WORLD = [
    ("Perception", "OCR", 86.4, 250),
    ("Perception", "Remote_Sensing", 54.0, 150),
    ("Perception", "Diagram_and_Table", 78.0, 100),
    ("Perception", "Monitoring", 46.7, 319),
    ("Perception", "Autonomous_Driving", 44.0, 350),
    ("Reasoning", "OCR", 74.0, 100),
    ("Reasoning", "Diagram_and_Table", 69.0, 100),
    ("Reasoning", "Monitoring", 52.7, 150),
    ("Reasoning", "Autonomous_Driving", 39.3, 400),
]
"""Task, domain, published accuracy in percent, questions in the Lite set."""


def real_world() -> Rows:
    parts = []
    for task, domain, percent, n in REAL_WORLD:
        parts += rows(round(percent / 100 * n), n, task, domain, "objects")
    return parts


def test_the_published_cells_give_both_published_numbers():
    found = real_world()
    assert len(found) == 1919
    assert round(100 * micro(found), 1) == 55.1
    # The published 60.5 is the mean of the cells as printed; from the counts it is 60.447.
    assert round(sum(percent for *_, percent, _ in REAL_WORLD) / 9, 1) == 60.5
    counts = (
        216 / 250 + 81 / 150 + 0.78 + 149 / 319 + 154 / 350 + 0.74 + 0.69 + 79 / 150 + 157 / 400
    )
    assert macro9(found) == pytest.approx(counts / 9)
    assert 100 * macro9(found) == pytest.approx(60.5, abs=0.06)
    cells = report("mme_realworld", found)["macro9"]["cells"]
    for task, domain, percent, n in REAL_WORLD:
        cell = cells[f"{task}/{domain}".lower()]
        assert cell["n"] == n and 100 * cell["value"] == pytest.approx(percent, abs=0.051)


def test_micro_and_macro_by_hand():
    found = rows(3, 4, "a", "x") + rows(0, 1, "a", "y") + rows(1, 1, "b", "x")
    assert micro(found) == 4 / 6
    assert macro(found) == pytest.approx((0.75 + 0 + 1) / 3)
    assert macro(found, level=1) == pytest.approx((3 / 5 + 1) / 2)
    assert macro(found, level=1, names=["A", "b"]) == macro(found, level=1)
    with pytest.raises(Incomplete, match="2 categories, expected its 3: missing: c"):
        macro(found, level=1, names=["a", "b", "c"])


def test_spellings_of_a_category_are_one_cell():
    found = [
        row(True, "perception", "Autonomous_Driving"),
        row(False, "Perception", "autonomous driving"),
    ]
    assert macro(found) == 0.5
    assert len(report("vstar", found)["macro"]["cells"]) == 1


def test_macro9_of_less_or_more_than_its_cells_is_refused():
    found = real_world()
    few = [r for r in found if r["category"][:2] != ["Reasoning", "OCR"]]
    with pytest.raises(Incomplete, match=r"macro9: got the cells .*expected perception on 5"):
        macro9(few)
    with pytest.raises(Incomplete, match="reasoning/remote_sensing"):
        macro9(found + [row(True, "Reasoning", "Remote_Sensing")])
    strange = [r for r in found if r["category"][:2] != ["Reasoning", "OCR"]]
    with pytest.raises(Incomplete):
        macro9(strange + [row(True, "Reasoning", "Chess")])


def test_subtasks_are_those_of_the_loader():
    found = [r for r in real_world() if r["category"][0] == "Reasoning"]
    for domain in (
        "OCR",
        "Remote_Sensing",
        "Diagram_and_Table",
        "Monitoring",
        "Autonomous_Driving",
    ):
        found += rows(1, 2, "Perception", domain, "counting")
    found += rows(3, 4, "Perception", "Monitoring", "vehicle/attribute")
    found += rows(0, 2, "Perception", "Autonomous_Driving", "attribute_motion_vehicle")
    # 4 cells of reasoning as published, 5 of 1/2, 3/4 and 0
    by_hand = (0.74 + 0.69 + 79 / 150 + 157 / 400 + 5 * 0.5 + 0.75 + 0) / 11
    assert macro_subtask(found) == pytest.approx(by_hand)
    with pytest.raises(Incomplete, match="expected task, domain and subtask"):
        macro_subtask(found + [row(True, "Perception", "OCR")])


@pytest.mark.parametrize(
    ("function", "names"), [(macro14, BLINK), (macro10, MIG_BENCH)], ids=["blink", "mig_bench"]
)
def test_named_categories(function, names):
    # cell i: i + 1 rows, one of them right
    found = [r for i, name in enumerate(names) for r in rows(1, i + 1, name.title())]
    assert function(found) == pytest.approx(
        sum(1 / (i + 1) for i in range(len(names))) / len(names)
    )
    last = names[-1].title()
    with pytest.raises(Incomplete, match=f"missing: {names[-1]}"):
        function([r for r in found if r["category"] != [last]])
    with pytest.raises(Incomplete, match="unknown: chess"):
        function([*found, row(True, "chess")])


def test_the_sizes_of_the_published_categories():
    assert len(set(BLINK)) == 14 and len(set(MIG_BENCH)) == 10


def test_mmiu_needs_its_52_tasks():
    found = [r for i in range(52) for r in rows(i % 2, 1 + i % 3, "spatial", f"task {i}")]
    # odd tasks have one right of 1 + i % 3
    assert macro_tasks(found) == pytest.approx(sum(1 / (1 + i % 3) for i in range(1, 52, 2)) / 52)
    with pytest.raises(Incomplete, match="got 51 tasks, expected 52"):
        macro_tasks([r for r in found if r["category"][1] != "task 0"])


def rotated(right: list[str]) -> Rows:
    """Questions as texts of four digits, a digit per rotation: 1 is right."""
    return [
        row(digit == "1", "single", group_id=f"g{g}", cycle_id=f"c{c}")
        for g, digits in enumerate(right)
        for c, digit in enumerate(digits)
    ]


def test_rotations():
    found = rotated(["1111", "1110", "0000", "1011"])
    assert cycle_mean(found) == pytest.approx((3 + 2 + 3 + 2) / 16)
    assert circular_strict(found) == 0.25
    assert micro(found) == cycle_mean(found)
    short = [r for r in found if (r["group_id"], r["cycle_id"]) != ("g2", "c0")]
    assert micro(short) == pytest.approx(10 / 15)
    with pytest.raises(Incomplete, match="1 of 4 questions lack rotations or have them twice: gr"):
        cycle_mean(short)
    with pytest.raises(Incomplete, match="1 of 4 questions lack rotations: group g2 has 3 of 4"):
        circular_strict(short)


def test_rotations_that_are_missing_or_double():
    found = rotated(["1111", "1110"])
    three = [r for r in found if r["cycle_id"] != "c3"]
    with pytest.raises(Incomplete, match="'c0', 'c1', 'c2', expected 4"):
        cycle_mean(three)
    assert circular_strict(three, rotations=3) == 1.0
    with pytest.raises(ValueError, match="group g0: got rotation 'c0' twice"):
        circular_strict([*found, found[0]])
    with pytest.raises(Incomplete, match="expected 4"):
        cycle_mean(rows(1, 2, "x"))


def test_two_options_have_two_rotations():
    found = [
        row(True, group_id=group, cycle_id=str(c), n_options=n)
        for group, n in (("two", 2), ("four", 4))
        for c in range(n)
    ]
    assert circular_strict(found) == 1.0


def test_an_interval_of_independent_questions_is_wilsons():
    found = rows(146, 191, "x")
    assert interval(found) == tuple(wilson(146, 191))
    assert interval(list(reversed(found))) == interval(found)


def test_a_bootstrap_depends_on_the_seed_and_not_on_the_order():
    found = rotated(["1111", "1110", "0000", "1011"] * 5)
    assert interval(found) == interval(list(reversed(found)))
    assert interval(found) != interval(found, seed=1)
    assert interval(found) == pytest.approx(interval(found, seed=1), abs=0.01)
    assert len({interval(found, resamples=30, seed=seed) for seed in range(5)}) > 1


def test_many_profiles_are_drawn_in_parts(monkeypatch):
    found = rotated(["1111", "1110", "0000", "1011"] * 5)
    whole = interval(found)
    monkeypatch.setattr(bootstrap, "AT_ONCE", 900)
    assert interval(found) == pytest.approx(whole, abs=0.01)


def test_rotations_of_a_question_do_not_make_the_interval_narrower():
    rng = np.random.default_rng(0)
    alike = rotated(["1111" if x < 0.7 else "0000" for x in rng.random(200)])
    share = micro(alike)
    low, high = interval(alike, "cycle_mean")
    # 200 independent questions, by the normal approximation
    half = 1.96 * (share * (1 - share) / 200) ** 0.5
    assert (high - low) / 2 == pytest.approx(half, rel=0.05)
    single = [{**r, "group_id": ""} for r in alike]
    one, other = interval(single)
    assert (other - one) / 2 == pytest.approx(half / 2, rel=0.05)


def test_few_rotated_questions_are_as_uncertain_as_few_questions():
    found = rotated(["1111", "1111", "0000", "1111"])
    assert interval(found, "cycle_mean") == pytest.approx(tuple(wilson(3, 4)), abs=1e-9)
    assert interval(found, "cycle_mean") == pytest.approx(interval(found, "micro"), abs=1e-9)


def test_repeated_answers_to_a_question_are_one_cluster():
    once = rows(14, 20, "x")
    low, high = interval(once * 32)
    # A little wider: the error is an estimate now, so Student's quantile stands for the normal one.
    assert low < interval(once)[0] and high > interval(once)[1]
    assert (low, high) == pytest.approx(interval(once), abs=0.03)


def test_the_interval_of_a_macro_mean_against_the_plain_bootstrap():
    """Rows drawn one by one within each cell, as a textbook does it."""
    found = rows(30, 40, "a") + rows(3, 10, "b") + rows(5, 25, "c")
    rng = np.random.default_rng(5)
    cells = [np.array([r["correct"] for r in found if r["category"] == [c]]) for c in "abc"]
    drawn = sum(rng.choice(cell, (20_000, len(cell))).mean(axis=1) for cell in cells) / 3
    expected = np.quantile(drawn, [0.025, 0.975])
    assert interval(found, "macro") == pytest.approx(tuple(expected), abs=0.01)


@pytest.mark.parametrize("sizes", [(1, 1000), (2, 400), (3, 3, 500), (2,) * 9])
def test_an_interval_with_small_cells_holds_what_it_promises(sizes):
    """A bootstrap of a cell with one question would not vary at all."""
    rng, share, held = np.random.default_rng(1), 0.7, 0
    for _ in range(100):
        drawn = [rng.binomial(size, share) for size in sizes]
        found = [
            r
            for name, size, right in zip("abcdefghi", sizes, drawn, strict=False)
            for r in rows(right, size, name)
        ]
        low, high = interval(found, "macro")
        held += low <= share <= high
    assert held >= 90  # of 100, where 95 are promised


@pytest.mark.parametrize(("right", "n"), [(0, 7), (7, 7)])
def test_nothing_to_vary(right, n):
    assert interval(rows(right, n, "x")) == pytest.approx(tuple(wilson(right, n)), abs=1e-9)


def test_reports():
    found = rotated(["1111", "1110", "0000", "1011"])
    result = report("hrbench", found)
    assert (
        list(result) == list(AGGREGATIONS["hrbench"]) == ["cycle_mean", "micro", "circular_strict"]
    )
    assert result["cycle_mean"]["n"] == 16 and result["circular_strict"]["n"] == 4
    assert {part["clusters"] for part in result.values()} == {4}
    low, high = result["circular_strict"]["interval"]
    assert low <= 0.25 <= high
    assert json.loads(json.dumps(result)) == result
    partial = report("mme_realworld", rows(1, 2, "Perception", "OCR"))
    assert partial["micro"]["value"] == 0.5
    assert list(partial["macro9"]) == ["incomplete"]
    assert list(report("somebody's own", found)) == ["micro"]


def test_wrong_use():
    with pytest.raises(ValueError, match="got 'macro99', expected one of micro, macro, macro9"):
        interval(rows(1, 2), "macro99")
    for name in NAMES:
        with pytest.raises(Incomplete, match="got no rows"):
            interval([], name)
    assert {name for names in AGGREGATIONS.values() for name in names} == set(NAMES)
    assert all(callable(getattr(aggregations, name)) for name in NAMES)
