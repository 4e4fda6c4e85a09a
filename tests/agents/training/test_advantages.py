"""Advantages against numbers worked out by hand."""

import math

import pytest
import torch

from agents.training.advantages import centred, is_constant, standardised


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
    assert standardised(torch.tensor([1.0])).tolist() == [0.0]


def test_advantages_sum_to_zero():
    rewards = torch.tensor([0.2, 0.9, 0.4, 0.1, 1.0])
    for advantage in (centred(rewards), standardised(rewards)):
        assert math.isclose(float(advantage.sum()), 0.0, abs_tol=1e-6)


def test_wrong_shape_is_named():
    with pytest.raises(ValueError, match=r"rewards: got shape \(2, 2\), expected \[G\]"):
        centred(torch.zeros(2, 2))
