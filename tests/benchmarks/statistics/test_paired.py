"""Comparisons of two agents, by hand and against scipy."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy import stats

from benchmarks.statistics.exact import MCNEMAR, SIGN_FLIPS, holm, mcnemar, sign_flips
from benchmarks.statistics.intervals import paired_difference
from benchmarks.statistics.paired import compare
from benchmarks.statistics.wording import asked, points, probability

from .simulated import Rows, rows_of


def table(both: int, only_a: int, only_b: int, neither: int) -> tuple[Rows, Rows]:
    """Two agents' rows with these counts."""
    a = [1] * both + [1] * only_a + [0] * only_b + [0] * neither
    b = [1] * both + [0] * only_a + [1] * only_b + [0] * neither
    return rows_of(a, "mgpo"), rows_of(b, "grpo")


# -- Tests


@pytest.mark.parametrize(("only_a", "only_b"), [(17, 7), (0, 5), (1, 0), (3, 3), (400, 300)])
def test_mcnemar_is_a_fair_coin(only_a, only_b):
    total, less = only_a + only_b, min(only_a, only_b)
    expected = min(1.0, 2 * stats.binom.cdf(less, total, 0.5))
    assert mcnemar(only_a, only_b) == pytest.approx(expected)
    assert sign_flips([1] * only_a + [-1] * only_b) == pytest.approx(expected)


def test_no_difference_has_no_p_to_speak_of():
    assert mcnemar(0, 0) == sign_flips([]) == sign_flips([0, 0]) == 1.0


@settings(deadline=None)
@given(some.lists(some.integers(-6, 6), max_size=9))
def test_sign_flips_counts_all_of_them(numbers):
    sums = [
        sum(sign * abs(number) for sign, number in zip(signs, numbers, strict=True))
        for signs in itertools.product((1, -1), repeat=len(numbers))
    ]
    expected = np.mean([abs(value) >= abs(sum(numbers)) for value in sums])
    assert sign_flips(numbers) == pytest.approx(float(expected), abs=1e-12)


def test_sign_flips_is_scipys_permutation_test():
    numbers = np.random.default_rng(3).integers(-4, 6, size=14)
    expected = stats.permutation_test(
        (numbers,), np.sum, permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flips(numbers.tolist()) == pytest.approx(float(expected.pvalue), abs=1e-12)


def test_sign_flips_of_thousands_is_the_normal_distribution():
    numbers = np.random.default_rng(5).integers(-9, 10, size=5000)
    z = abs(numbers.sum()) / np.sqrt((numbers**2).sum())
    assert sign_flips(numbers.tolist()) == pytest.approx(2 * stats.norm.sf(z), abs=0.01)


def test_small_chances_are_not_lost():
    assert sign_flips([4] * 200) == pytest.approx(2.0**-199)


@settings(deadline=None)
@given(some.lists(some.floats(0, 1), max_size=12))
def test_holm_rejects_what_the_step_down_rule_rejects(ps):
    """Go up from the smallest p while it is below 0.05 / (how many are left)."""
    rejected: set[int] = set()
    for rank, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        if ps[index] * (len(ps) - rank) >= 0.05:
            break
        rejected.add(index)
    adjusted = holm(ps)
    assert {i for i, p in enumerate(adjusted) if p < 0.05} == rejected
    assert all(p <= q <= 1 for p, q in zip(ps, adjusted, strict=True))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


# -- Comparisons


def test_ten_questions_of_191_are_inside_the_noise():
    found = compare(*table(129, 17, 7, 38))
    assert (found.n, found.questions, found.left_out) == (191, 191, 0)
    assert (found.both, found.only_a, found.only_b, found.neither) == (129, 17, 7, 38)
    assert found.difference == pytest.approx(10 / 191)
    assert found.p == found.p_adjusted == pytest.approx(0.0639, abs=1e-4)
    assert found.test == MCNEMAR and found.inside_noise
    # 10/193 -+ 1.972 * 0.02615 would be 0.0002 above 0; the test finds nothing, so it reaches it.
    assert found.interval == pytest.approx((0, 0.1034), abs=1e-4)
    assert found.text == (
        "mgpo is 5.2 points above grpo on planted: 24 of 191 questions differ, 17 for mgpo and "
        "7 for grpo; p = 0.064: inside the noise."
    )


def test_the_better_one_stands_first_in_the_sentence():
    a, b = table(129, 17, 7, 38)
    turned = compare(b, a)
    assert turned.text == compare(a, b).text
    assert turned.difference == pytest.approx(-10 / 191)
    assert turned.interval == pytest.approx(tuple(-x for x in compare(a, b).interval)[::-1])


def test_a_clear_difference():
    found = compare(*table(100, 40, 10, 50))
    assert not found.inside_noise and found.interval[0] > 0
    assert found.text.endswith("; p < 0.001: more than noise.")


@pytest.mark.parametrize(("both", "neither"), [(20, 0), (0, 20), (1, 0), (0, 1)])
def test_no_answer_differs(both, neither):
    found = compare(*table(both, 0, 0, neither))
    assert (found.difference, found.p, found.inside_noise) == (0, 1, True)
    low, high = found.interval
    assert -1 <= low < 0 < high <= 1
    assert low == pytest.approx(-high)
    assert "are level on planted: 0 of" in found.text and "p = 1: inside" in found.text


def test_one_question():
    found = compare(*table(0, 1, 0, 0))
    assert (found.difference, found.p, found.inside_noise) == (1, 1, True)
    assert found.text.startswith("mgpo is 100.0 points above grpo on planted: 1 of 1 questions dif")
    assert found.text.count("differs, 1 for mgpo and 0 for grpo") == 1


def test_only_common_questions_are_paired_and_it_is_said():
    a, b = table(10, 4, 2, 4)
    found = compare(a[3:], b[:-2])
    assert (found.n, found.left_out, found.both) == (15, 5, 7)
    assert "6 of 15 questions differ" in found.text
    assert "(5 that not all answered left out)" in found.text


def test_nothing_in_common():
    a, b = table(10, 4, 2, 4)
    found = compare(a[:8], b[8:])
    assert (found.n, found.questions, found.left_out) == (0, 0, 20)
    assert (found.p, found.difference, found.interval) == (1, 0, (-1, 1))
    assert found.text == "mgpo and grpo have no question of planted in common: nothing can be said."
    assert json.loads(json.dumps(found.to_dict()))["inside_noise"] is True


def test_sampled_rows_are_left_out_and_failed_episodes_are_wrong():
    a, b = table(10, 4, 2, 4)
    sampled = [{**row, "sampled": True, "draw": 0, "correct": False} for row in a]
    assert compare([*a, *sampled], b) == compare(a, b)
    failed = [{**row, "correct": False, "episode": {"outcome": "error"}} for row in a[:1]]
    assert compare([*failed, *a[1:]], b).only_b == 3


def test_wrong_rows():
    a, b = table(2, 1, 1, 0)
    with pytest.raises(ValueError, match="mgpo: got question 'q0' twice"):
        compare([*a, a[0]], b)
    with pytest.raises(ValueError, match="got 0 rows, none of them greedy"):
        compare(a, [])


def test_rotations_that_agree_count_as_one_question():
    """5 questions of 4 rotations, all right by the one and wrong by the other: 2 of 2^5 flips."""
    groups = [f"g{i // 4}" for i in range(40)]
    right = [1] * 20 + [0] * 20
    found = compare(rows_of(right, groups=groups), rows_of([0] * 40, "b", groups=groups))
    assert (found.n, found.questions, found.test) == (40, 10, SIGN_FLIPS)
    assert found.p == pytest.approx(2 / 2**5)
    assert "20 of 40 answers to 10 questions differ, 20 for a" in found.text
    single = compare(rows_of(right), rows_of([0] * 40, "b"))
    assert single.p == pytest.approx(2 / 2**20)
    assert single.interval[0] > found.interval[0]


def test_several_trainings_by_hand():
    """Three trainings against one on four questions, sums of 3 a - 3 b in thirds: 0, 2, -1, 3."""
    a = [[1, 1, 0, 1], [1, 1, 1, 1], [1, 0, 1, 1]]
    found = compare(rows_of(a), rows_of([1, 0, 1, 0], "b"))
    assert found.trainings == (3, 1)
    assert found.difference == pytest.approx((0 + 2 / 3 - 1 / 3 + 1) / 4)
    assert (found.better_a, found.better_b) == (2, 1)
    cells = [found.both, found.only_a, found.only_b, found.neither]
    assert cells == pytest.approx([1 + 2 / 3, 2 / 3 + 1, 1 / 3, 1 / 3])
    assert sum(cells) == pytest.approx(found.n)
    # Flips of 2, 1 and 3 that reach 4 or -4: 6, 4 and their opposites
    assert found.p == pytest.approx(4 / 8) and found.test == SIGN_FLIPS
    assert "on planted (means of 3 and 1 trainings): of 4 questions on average 1.7 only by a" in (
        found.text
    )


def test_trainings_that_disagree_are_inside_the_noise():
    """The questions tell them apart, but another training might be no better at all."""
    n = 400
    a = [[i < right for i in range(n)] for right in (200, 300, 340)]
    found = compare(rows_of(a, "mgpo"), rows_of([i < 220 for i in range(n)], "grpo"))
    assert found.p < 0.001 and found.difference == pytest.approx(0.15)
    assert found.interval[0] < 0 < found.interval[1] and found.inside_noise
    # The trainings' part alone: 0.5, 0.75 and 0.85, 4.3027 * 0.18028 / sqrt(3) = 0.448
    end = "p < 0.001, but as trainings differ it could be anything from -29.9 to +59.9 points: "
    assert found.text.endswith(end + "inside the noise.")
    turned = compare(rows_of([i < 220 for i in range(n)], "grpo"), rows_of(a, "mgpo"))
    assert turned.text.endswith(end + "inside the noise.")
    assert "on average 66.7 only by mgpo and 6.7 only by grpo are right" in turned.text
    steady = [[i < right for i in range(n)] for right in (278, 280, 282)]
    sure = compare(rows_of(steady, "mgpo"), rows_of([i < 220 for i in range(n)], "grpo"))
    assert sure.difference == pytest.approx(0.15) and not sure.inside_noise
    assert sure.text.endswith("; p < 0.001: more than noise.")


# -- The same weights, with one thing changed


def test_a_variant_is_compared_training_by_training():
    """Three trainings far apart, each of which loses exactly 8 points: that is no noise."""
    n = 400
    own = [[i < right for i in range(n)] for right in (200, 300, 340)]
    changed = [[i < right - 32 for i in range(n)] for right in (200, 300, 340)]
    a, b = rows_of(changed, "mgpo [crop=blank]"), rows_of(own, "mgpo")
    assert compare(a, b).inside_noise  # were they other weights
    found = compare(a, b, same_weights=True)
    assert found.difference == pytest.approx(-0.08) and not found.inside_noise
    # No training differs from another in what it loses: nothing but the questions is left, three
    # sets of 32 that lose a third each
    sums = [-1 / 3] * 96 + [0.0] * 304
    assert found.interval == pytest.approx(paired_difference(sums, [1] * n))
    assert (found.both, found.only_a, found.only_b) == pytest.approx((248, 0, 32))
    assert found.text == (
        "mgpo [crop=blank] is 8.0 points below mgpo on planted (means of 3 trainings each): of "
        "400 questions on average 0.0 only by mgpo [crop=blank] and 32.0 only by mgpo are right; "
        "p < 0.001: more than noise."
    )


def test_what_trainings_lose_is_their_spread():
    """0, 8 and 16 points: t(2) * 8 / sqrt(3) = 19.9 points to either side, whatever they are."""
    own = [[i < right for i in range(400)] for right in (200, 300, 340)]
    changed = [[i < right for i in range(400)] for right in (200, 268, 276)]
    found = compare(rows_of(changed, "v"), rows_of(own, "b"), same_weights=True)
    sums = [-2 / 3] * 24 + [-1 / 3] * (8 + 40)  # 276 to 299 are lost by two
    low, high = paired_difference(sums + [0.0] * 328, [1] * 400)
    # Half of the mean square of the interaction is taken off, over 400 * 3.
    lost = np.array(changed, float) - np.array(own, float)
    rest = lost - lost.mean(axis=1, keepdims=True) - lost.mean(axis=0) + lost.mean()
    noise = (rest**2).sum() / (399 * 2) / 1200
    between = stats.t.ppf(0.975, 2) ** 2 * (0.08**2 / 3 - noise / 2)
    below, above = (np.sqrt((limit + 0.08) ** 2 + between) for limit in (low, high))
    assert found.interval == pytest.approx((-0.08 - below, -0.08 + above))
    assert found.p < 0.001 and found.inside_noise


def test_trainings_that_only_one_has_are_no_pair():
    own = rows_of([[1, 0, 1, 1], [1, 1, 1, 0], [0, 0, 0, 0]], "b")
    changed = [row for row in rows_of([[1, 0, 0, 1], [0] * 4], "v") if row["training"] == 0]
    found = compare(changed, own, same_weights=True)
    assert (found.trainings, found.n, found.only_b) == ((1, 1), 4, 1)
    apart = [{**row, "training": 7} for row in changed]
    with pytest.raises(ValueError, match=r"trainings \[7\] of v and \[0, 1, 2\] of b"):
        compare(apart, own, same_weights=True)


def test_counts_of_several_trainings_do_not_contradict_the_claim():
    """A question counted for a when any of its trainings got it: 49 to 33, where b is better."""
    a = [[(i * 7 + j * 31) % 100 < 18 for i in range(128)] for j in range(3)]
    found = compare(rows_of(a, "grpo"), rows_of([i % 4 == 0 for i in range(128)], "base"))
    assert found.better_a > found.better_b and found.difference < 0
    assert f"{found.only_b:.1f} only by base and {found.only_a:.1f} only by grpo" in found.text
    assert found.only_a - found.only_b == pytest.approx(128 * found.difference)


def test_numbers_for_people():
    assert points(-0.0004) == "less than 0.1 points"
    assert [probability(p) for p in (0.001, 0.05, 0.9999)] == ["= 0.001", "= 0.05", "= 1"]
    assert asked(128, 128) == asked(0, 128) == "128"
    assert (asked(200, 800), asked(128, 384), asked(100, 150)) == (
        "200 x 4", "128 x 3", "100 (150 answers)",
    )  # fmt: skip
