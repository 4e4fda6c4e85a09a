"""Means and sums over tokens, worked out by hand."""

import pytest
import torch

from agents.training.aggregations import AGGREGATIONS, budget_mean, token_mean, token_sum
from agents.training.aggregations import trajectory_mean as by_trajectory

from .rows import part, random_rows, two_rows

X = torch.tensor([[1.0, 2.0, 99.0, 6.0], [5.0, 99.0, 99.0, 99.0]])


def test_trajectory_mean_by_hand():
    # ((1 + 2 + 6) / 3 + 5 / 1) / 2
    assert float(by_trajectory(X, two_rows())) == 4.0


def test_two_parts_of_one_episode_are_one_mean_by_hand():
    # Both rows belong to one episode of 4 tokens: (1 + 2 + 6 + 5) / 4, over one episode.
    inputs = two_rows(n_trajectories=1, lengths=torch.tensor([4, 4]))
    assert float(by_trajectory(X, inputs)) == 3.5
    with pytest.raises(ValueError, match=r"lengths: got shape \(3,\), expected \[2\]"):
        two_rows(lengths=torch.tensor([4, 4, 4]))


def test_token_mean_and_sum_by_hand():
    # (1 + 2 + 6 + 5) / 4 tokens, / 2 episodes
    assert float(token_mean(X, two_rows())) == 3.5
    assert float(token_sum(X, two_rows())) == 7.0


def test_budget_mean_by_hand():
    # (1 + 2 + 6 + 5) / (2 episodes x 10 tokens)
    assert float(budget_mean(X, two_rows(budget=10.0))) == pytest.approx(0.7)
    with pytest.raises(ValueError, match=r"budget: got 0\.0, expected the tokens that an episode"):
        budget_mean(X, two_rows())


@pytest.mark.parametrize("name", sorted(AGGREGATIONS))
def test_the_sum_over_parts_is_the_whole(name):
    inputs = random_rows(1)
    whole = AGGREGATIONS[name](inputs.logprobs, inputs)
    cut = [part(inputs, rows) for rows in ([0], [1, 2, 3], [4])]
    parts = sum(float(AGGREGATIONS[name](piece.logprobs, piece)) for piece in cut)
    assert parts == pytest.approx(float(whole), rel=1e-5)


@pytest.mark.parametrize("name", sorted(AGGREGATIONS))
def test_a_part_with_nothing_sampled_adds_nothing(name):
    inputs = two_rows(mask=torch.zeros(2, 4, dtype=torch.bool), budget=10.0)
    assert float(AGGREGATIONS[name](X, inputs)) == 0.0
