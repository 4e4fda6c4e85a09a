"""Advantages against numbers worked out by hand."""

import math

import pytest
import torch

from agents.training.advantages import (
    GroupScores,
    centred,
    is_constant,
    leave_one_out,
    standardised,
    turn_level,
    whitening,
)


def test_centred_subtracts_the_group_mean():
    # mean 0.5; 1 - 0.5, 0 - 0.5, 0 - 0.5, 1 - 0.5
    got = centred(torch.tensor([1.0, 0.0, 0.0, 1.0]))
    assert got.tolist() == [0.5, -0.5, -0.5, 0.5]


def test_standardised_divides_by_the_sample_std():
    # mean 0.25, squared deviations .5625 + 3 x .0625 = .75, / 3 = .25, std = .5
    got = standardised(torch.tensor([1.0, 0.0, 0.0, 0.0]), eps=0.0)
    torch.testing.assert_close(got, torch.tensor([1.5, -0.5, -0.5, -0.5]))


def test_eps_is_added_to_the_std():
    # std .5 + eps .5 = 1
    got = standardised(torch.tensor([1.0, 0.0, 0.0, 0.0]), eps=0.5)
    torch.testing.assert_close(got, torch.tensor([0.75, -0.25, -0.25, -0.25]))


@pytest.mark.parametrize("reward", [0.0, 1.0])
def test_constant_group_has_no_advantage(reward):
    rewards = torch.full((8,), reward)
    assert is_constant(rewards)
    assert standardised(rewards).tolist() == centred(rewards).tolist() == [0.0] * 8


def test_one_different_sibling_is_not_constant():
    assert not is_constant(torch.tensor([0.0] * 7 + [1.0]))


def test_a_lone_sibling_gets_zero_not_nan():
    for advantage in (standardised, centred, leave_one_out):
        assert advantage(torch.tensor([1.0])).tolist() == [0.0]


def test_advantages_sum_to_zero():
    rewards = torch.tensor([0.2, 0.9, 0.4, 0.1, 1.0])
    for advantage in (centred(rewards), standardised(rewards), leave_one_out(rewards)):
        assert math.isclose(float(advantage.sum()), 0.0, abs_tol=1e-6)


def test_wrong_shape_is_named():
    with pytest.raises(ValueError, match=r"rewards: got shape \(2, 2\), expected \[G\]"):
        centred(torch.zeros(2, 2))


def test_leave_one_out_by_hand():
    # 1 - (0 + 0 + .5) / 3, 0 - 1.5 / 3, 0 - 1.5 / 3, .5 - 1 / 3
    got = leave_one_out(torch.tensor([1.0, 0.0, 0.0, 0.5]))
    torch.testing.assert_close(got, torch.tensor([5 / 6, -0.5, -0.5, 1 / 6]))


def test_leave_one_out_is_the_centred_one_times_g_over_g_minus_1():
    rewards = torch.rand(5)
    torch.testing.assert_close(leave_one_out(rewards), centred(rewards) * 5 / 4)


OUT = torch.tensor([True, True, False, True])
"""The third sibling is not compared with."""


def test_who_is_not_compared_enters_no_mean_by_hand():
    rewards = torch.tensor([1.0, 0.0, 0.0, 0.5])
    # Of the others: mean .5, std .5
    torch.testing.assert_close(centred(rewards, OUT), torch.tensor([0.5, -0.5, -0.5, 0.0]))
    got = standardised(rewards, eps=0.0, compared=OUT)
    torch.testing.assert_close(got, torch.tensor([1.0, -1.0, -1.0, 0.0]))
    # 1 - .25, 0 - .75, 0 - .5 (all three), .5 - .5
    got = leave_one_out(rewards, OUT)
    torch.testing.assert_close(got, torch.tensor([0.75, -0.75, -0.5, 0.0]))


def test_without_spread_nothing_is_divided():
    rewards = torch.tensor([1.0, 1.0, 0.0, 1.0])
    assert standardised(rewards, compared=OUT).tolist() == [0.0, 0.0, -1.0, 0.0]
    alone = torch.tensor([True, False, False, False])
    assert standardised(rewards, compared=alone).tolist() == [0.0, 0.0, -1.0, 0.0]
    assert leave_one_out(rewards, alone).tolist() == [0.0, 0.0, -1.0, 0.0]
    nobody = torch.zeros(4, dtype=torch.bool)
    for advantage in (centred, leave_one_out):
        assert advantage(rewards, nobody).tolist() == [0.0] * 4
    assert standardised(rewards, compared=nobody).tolist() == [0.0] * 4


def test_turn_level_by_hand():
    """Rewards 1, 0, 0, 0: A^O = 1.5, -.5, -.5, -.5. Boxes 1, 1, 0, 0: A^T = ±.5 / sqrt(1/3)."""
    turns = ((1.0, 0.0), (1.0, 0.0), (0.0, 0.0), (0.0, 0.0))
    scores = GroupScores(torch.tensor([1.0, 0.0, 0.0, 0.0]), turns)
    t = 0.5 / math.sqrt(1 / 3)
    first, last = [1.5 + t, -0.5 + t, -0.5 - t, -0.5 - t], [1.5, -0.5, -0.5, -0.5]
    torch.testing.assert_close(turn_level(scores, eps=0.0), torch.tensor([first, last]).T)
    half = turn_level(scores, eps=0.0, outcome_weight=0.5)
    expected = torch.tensor([0.75 + t, -0.25 + t, -0.25 - t, -0.25 - t])
    torch.testing.assert_close(half[:, 0], expected)
    plain = turn_level(scores, normalise=False)
    torch.testing.assert_close(plain[:, 0], torch.tensor([1.25, 0.25, -0.75, -0.75]))


def test_turn_level_of_unequal_numbers_of_turns():
    """One answers at once; the box of the second turn is compared among those that go on."""
    turns = ((0.0,), (1.0, 1.0, 0.0), (0.0, 0.0, 0.0), (1.0, 0.0))
    scores = GroupScores(torch.tensor([1.0, 0.0, 0.0, 1.0]), turns)
    got = turn_level(scores, normalise=False)
    outcome = [0.5, -0.5, -0.5, 0.5]
    expected = [
        [outcome[0], 0.0, 0.0],
        [outcome[1] + 1 / 3, outcome[1] + 0.5, outcome[1]],  # boxes 1, 0, 1, then 1, 0
        [outcome[2] - 2 / 3, outcome[2] - 0.5, outcome[2]],
        [outcome[3] + 1 / 3, outcome[3], 0.0],
    ]
    torch.testing.assert_close(got, torch.tensor(expected))


def test_turn_level_of_one_turn_is_the_standardised_one():
    rewards = torch.tensor([1.0, 0.0, 0.0])
    got = turn_level(GroupScores(rewards, ((0.0,), (1.0,), (0.0,))))
    assert got[:, 0].tolist() == standardised(rewards).tolist()


def test_turn_level_leaves_out_of_both_means_who_is_not_compared():
    scores = GroupScores(torch.tensor([1.0, 0.0, 0.0]), ((1.0, 0.0), (0.0, 0.0), (1.0, 0.0)))
    scores = GroupScores(scores.rewards, scores.turn_rewards, torch.tensor([True, True, False]))
    got = turn_level(scores, normalise=False)
    # A^O = .5, -.5, -.5; A^T = .5, -.5, .5
    torch.testing.assert_close(got, torch.tensor([[1.0, 0.5], [-1.0, -0.5], [0.0, -0.5]]))


def test_turn_level_needs_every_siblings_turns():
    with pytest.raises(ValueError, match=r"turn_rewards: got \[1\] replies, .* each of 2 siblings"):
        turn_level(GroupScores(torch.tensor([1.0, 0.0]), ((1.0,),)))


def test_whitening_by_hand():
    # One token of 1, three of 0: mean .25, variance (.5625 + 3 x .0625) / 4 = .1875
    got = whitening(torch.tensor([1.0, 0.0]), torch.tensor([1, 3]), eps=0.5)
    assert got == (0.25, math.sqrt(0.1875) + 0.5)


def test_whitening_makes_mean_0_and_spread_1_in_any_order():
    torch.manual_seed(0)
    values, tokens = torch.randn(50).double(), torch.randint(1, 30, (50,))
    shift, scale = whitening(values, tokens, eps=0.0)
    every = ((values - shift) / scale).repeat_interleave(tokens)
    assert float(every.mean()) == pytest.approx(0.0, abs=1e-12)
    assert float(every.std(unbiased=False)) == pytest.approx(1.0)
    order = torch.randperm(50)
    assert whitening(values[order], tokens[order], eps=0.0) == (shift, scale)


def test_whitening_without_tokens_or_spread_divides_by_nothing():
    assert whitening(torch.tensor([]), torch.tensor([])) == (0.0, 1.0)
    assert whitening(torch.tensor([0.5, 0.5]), torch.tensor([2, 3])) == (0.5, 1.0)
