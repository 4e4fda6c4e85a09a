"""Weights of the sampler's tokens, worked out by hand."""

import math
from typing import get_args

import pytest
import torch

from agents.config_sections import Optim
from agents.training.importance import correction

TRAINER = torch.tensor([[0.9, 0.2, 0.6, 1.0], [0.1, 0.5, 0.5, 0.5]]).log()
SAMPLER = torch.tensor([[0.3, 0.4, 0.6, 0.1], [0.4, 0.5, 0.5, 0.9]]).log()
MASK = torch.tensor([[True, True, True, False], [True, True, False, False]])
# ρ = 3, 1/2, 1, - and 1/4, 1, -, -; R = 3/2 and 1/4

BY_HAND = {
    "token_truncate": ([2.0, 0.5, 1.0, 1.0], [0.25, 1.0, 1.0, 1.0], 1),
    "token_mask": ([0.0, 0.5, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0], 2),
    "sequence_truncate": ([1.5, 1.5, 1.5, 1.0], [0.25, 0.25, 1.0, 1.0], 0),
    "sequence_mask": ([1.5, 1.5, 1.5, 1.0], [0.0, 0.0, 1.0, 1.0], 2),
}


@pytest.mark.parametrize("mode", sorted(BY_HAND))
def test_by_hand(mode):
    weights, told = correction(TRAINER, SAMPLER, MASK, mode, 2.01)
    *rows, cut = BY_HAND[mode]
    assert weights.tolist() == [
        pytest.approx([min(w, 2.01) for w in row], rel=5e-3) for row in rows
    ]
    assert told["importance_capped"] == cut
    assert told["importance_mean"] == pytest.approx(float(weights[MASK].sum()))


def test_a_product_is_cut_at_the_cap():
    weights, told = correction(TRAINER, SAMPLER, MASK, "sequence_truncate", 1.25)
    assert weights[0].tolist() == pytest.approx([1.25, 1.25, 1.25, 1.0])
    assert told["importance_capped"] == 3.0
    weights, told = correction(TRAINER, SAMPLER, MASK, "sequence_mask", 1.25)
    assert weights[0].tolist() == [0.0, 0.0, 0.0, 1.0] and told["importance_capped"] == 5.0


@pytest.mark.parametrize("mode", sorted(BY_HAND))
def test_equal_policies_weigh_nothing(mode):
    weights, told = correction(SAMPLER, SAMPLER, MASK, mode, 2.0)
    assert weights.tolist() == torch.ones(2, 4).tolist()
    assert told == {"importance_mean": 5.0, "importance_capped": 0.0}


@pytest.mark.parametrize("mode", sorted(BY_HAND))
def test_one_token_has_the_same_weight_by_either_level(mode):
    mask = torch.tensor([[True, False, False, False]] * 2)
    got, _ = correction(TRAINER, SAMPLER, mask, mode, 2.5)
    other, _ = correction(TRAINER, SAMPLER, mask, mode.replace("sequence", "token"), 2.5)
    assert got.tolist() == other.tolist()


@pytest.mark.parametrize("mode", sorted(BY_HAND))
def test_long_products_neither_overflow_nor_vanish_in_between(mode):
    mask = torch.ones(1, 400, dtype=torch.bool)
    trainer = torch.cat([torch.full((1, 200), 1.0), torch.full((1, 200), -1.0)], 1)
    weights, _ = correction(trainer, torch.zeros(1, 400), mask, mode, 2.0)
    assert torch.isfinite(weights).all() and float(weights.max()) <= 2.0 + 1e-6
    if mode.startswith("sequence"):  # e^200 e^-200 = 1
        assert weights.tolist() == [[1.0] * 400]
    far, told = correction(trainer.abs(), torch.zeros(1, 400), mask, mode, 2.0)
    assert told["importance_capped"] == 400.0
    assert float(far.max()) == pytest.approx(0.0 if mode.endswith("mask") else 2.0)


def test_the_weights_make_the_samplers_mean_the_trainers():
    """Exactly, over all tokens of a small vocabulary: Σ_v π_sampler w f = Σ_v π_trainer f."""
    torch.manual_seed(0)
    trainer, sampler = torch.randn(2, 5).log_softmax(-1)
    mask = torch.ones(5, 1, dtype=torch.bool)
    weights, _ = correction(trainer[:, None], sampler[:, None], mask, "token_truncate", 1e6)
    f = torch.randn(5)
    got, expected = (sampler.exp() * weights[:, 0] * f).sum(), (trainer.exp() * f).sum()
    assert float(got) == pytest.approx(float(expected), rel=1e-5)


def test_every_mode_of_the_config_is_known():
    assert set(get_args(Optim.model_fields["importance"].annotation)) == {"none", *BY_HAND}
    with pytest.raises(ValueError, match="got 'sequence', expected token_truncate, token_mask"):
        correction(TRAINER, SAMPLER, MASK, "sequence", math.e)
