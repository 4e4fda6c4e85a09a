"""Two agents by a benchmark's own number: a mean of categories and not of questions."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from benchmarks.statistics import aggregations
from benchmarks.statistics.aggregations import BLINK
from benchmarks.statistics.families import compare_all
from benchmarks.statistics.headline import headline
from benchmarks.statistics.paired import Comparison, compare

from .simulated import Rows, at_least, at_most, rows_of

SIZES = (500, 160, *(40,) * 6, *(20,) * 6)
"""Questions of the 14 subtasks: a large one, and small ones that count as much."""
NAMES = [name for name, size in zip(BLINK, SIZES, strict=True) for _ in range(size)]


def asked(right: Any, agent: str) -> Rows:
    rows = rows_of(right, agent, source="blink")
    return [{**row, "category": [NAMES[i % len(NAMES)]]} for i, row in enumerate(rows)]


def drawn(
    rng: np.random.Generator, shares: Any, agent: str, trainings: int = 1, between: float = 0.0
) -> Rows:
    """Each question right with the share of its subtask."""
    chance = np.repeat(shares, SIZES)
    apart = rng.normal(0, between, trainings)[:, None]
    return asked(rng.random((trainings, len(chance))) < np.clip(chance + apart, 0, 1), agent)


def big_and_small(trainings: int = 1, seed: int = 1) -> tuple[Rows, Rows]:
    """The one is better in the two large subtasks, the other in the twelve small ones."""
    rng = np.random.default_rng(seed)
    big = drawn(rng, [0.9, 0.9] + [0.4] * 12, "big", trainings)
    return big, drawn(rng, [0.75, 0.75] + [0.6] * 12, "small", trainings)


def test_the_benchmarks_own_number_decides():
    big, small = big_and_small()
    found = compare(big, small)
    assert found.difference > 0.01 and found.headline is not None
    assert found.headline.name == "macro14"
    means = [aggregations.macro14(rows) for rows in (big, small)]
    assert found.headline.difference == pytest.approx(means[0] - means[1])
    assert found.headline.interval[1] < -0.08 and not found.inside_noise
    start = f"small is {-100 * found.headline.difference:.1f} points above big on planted by macro1"
    assert found.text.startswith(start)
    assert f"{100 * found.difference:.1f} points below over all questions: " in found.text
    assert "; p over all questions " in found.text
    assert found.text.endswith(": by macro14 more than noise.")
    entry = found.to_dict()
    keys = ["name", "difference", "interval", "p", "p_adjusted", "inside_noise"]
    assert list(entry["headline"]) == keys and entry["inside_noise"] is False
    assert json.loads(json.dumps(entry)) == entry


def test_what_only_questions_show_is_inside_the_noise():
    """Much better in the largest subtask alone: a fourteenth of the number."""
    rng = np.random.default_rng(3)
    rows = [drawn(rng, [s] + [0.5] * 13, n) for s, n in ((0.75, "a"), (0.5, "b"))]
    found = compare(*rows)
    assert found.p < 0.001 and found.interval[0] > 0
    assert found.inside_noise and found.text.endswith(": by macro14 inside the noise.")


def test_it_is_a_paired_bootstrap():
    """Both drawn together, question by question within a subtask, as a textbook does it."""
    a, b = big_and_small()
    right = [np.array([row["correct"] for row in rows], float) for rows in (a, b)]
    rng, names, total = np.random.default_rng(4), np.array(NAMES), np.zeros(4000)
    for name in BLINK:
        difference = (right[0] - right[1])[names == name]
        total += rng.choice(difference, (4000, len(difference))).mean(axis=1) / 14
    found = headline("blink", a, b)
    assert found is not None
    assert found.interval == pytest.approx(np.quantile(total, [0.025, 0.975]), abs=0.006)


def test_where_it_is_the_mean_over_questions_there_is_none():
    a, b = big_and_small()
    assert headline("vstar", a, b) is None and headline("mine", a, b) is None
    one = [row for name in BLINK for row in [r for r in a if r["category"] == [name]][:20]]
    asked_too = {row["question_id"] for row in one}
    other = [row for row in b if row["question_id"] in asked_too]
    assert headline("blink", one, other) is None  # cells of one size
    lacking = [row for row in a if row["category"] != [BLINK[0]]]
    found = compare(lacking, b)
    assert found.headline is None and found.to_dict()["headline"] is None
    assert " on planted (over all questions): " in found.text


def test_only_common_questions_count():
    a, b = big_and_small()
    assert compare(a[5:], b).headline == headline("blink", a[5:], b[5:])


def test_trainings_widen_it_and_those_of_the_same_weights_less():
    rng = np.random.default_rng(5)
    chance, apart = np.repeat([0.5] * 14, SIZES), np.array([-0.2, 0.0, 0.2])[:, None]
    luck = rng.random((3, len(NAMES)))
    own, changed = asked(luck < chance + apart, "m"), asked(luck < chance + apart - 0.1, "v")
    other, same = compare(changed, own).headline, headline("blink", changed, own, same_weights=True)
    assert other is not None and same is not None
    assert same.difference == pytest.approx(other.difference) and same.difference < -0.06
    assert other.inside_noise and not same.inside_noise
    agents: dict[str, Any] = {"m": {"engine": {}}, "v": {"engine": {}, "variant_of": "m"}}
    (found,) = compare_all([*own, *changed], agents)
    assert found["headline"] == json.loads(json.dumps(same.to_dict()))


def test_headlines_are_corrected_for_their_family():
    rng = np.random.default_rng(7)
    shares = {"a": 0.5, "b": 0.5, "c": 0.55, "d": 0.62}
    rows = [row for name in shares for row in drawn(rng, [shares[name]] * 14, name)]
    found = compare_all(rows, {name: {"engine": {}} for name in shares})
    raw, adjusted = ([one["headline"][key] for one in found] for key in ("p", "p_adjusted"))
    assert 0 < 6 * min(raw) < 1 and adjusted[int(np.argmin(raw))] == pytest.approx(6 * min(raw))


ALIKE = {
    "unequal subtasks": (1, 0.0),
    "three trainings each": (3, 0.03),
}


def simulated(trainings: int, between: float, shift: float, runs: int) -> list[Comparison]:
    rng = np.random.default_rng(0)
    result = []
    for _ in range(runs):
        shares = rng.uniform(0.2, 0.8, 14)
        played = [
            drawn(rng, shares + more, name, trainings, between)
            for name, more in (("a", shift), ("b", 0.0))
        ]
        result.append(compare(*played))
    return result


def check(trainings: int, between: float, shift: float, runs: int) -> float:
    found = [one.headline for one in simulated(trainings, between, shift, runs)]
    assert None not in found
    held = [one.interval[0] <= shift <= one.interval[1] for one in found if one]
    assert np.mean(held) >= at_least(0.94, runs)
    return float(np.mean([not one.inside_noise for one in found if one]))


@pytest.mark.parametrize("name", ALIKE)
def test_nothing_is_found_where_nothing_is(name):
    assert check(*ALIKE[name], 0.0, 10) <= at_most(0.06, 10)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALIKE)
def test_nothing_is_found_where_nothing_is_in_hundreds_of_runs(name):
    assert check(*ALIKE[name], 0.0, 400) <= at_most(0.06, 400)
    assert check(*ALIKE[name], 0.12, 60) > 0.5
