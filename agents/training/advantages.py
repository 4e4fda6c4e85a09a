"""Credit: the rewards of one group -> one advantage per sibling. Pure functions, side by side.

Shapes: G siblings of one sample. Every function takes rewards [G] and returns advantages [G].
"""

from __future__ import annotations

from torch import Tensor

ZERO_VARIANCE = 1e-8
"""Reward spread (max - min) up to which a group counts as constant and teaches nothing."""


def centred(rewards: Tensor) -> Tensor:
    """A_i = r_i - mean(r): the advantage in MGPO's equations.

    Rewards [G] of any unit, advantages [G] of the same. Source: arXiv 2507.05920, section 3.

    >>> import torch
    >>> centred(torch.tensor([1.0, 0.0, 0.0, 0.0]))
    tensor([ 0.7500, -0.2500, -0.2500, -0.2500])
    """
    _check(rewards)
    return rewards - rewards.mean()


def standardised(rewards: Tensor, eps: float = 1e-6) -> Tensor:
    """A_i = (r_i - mean(r)) / (std(r) + ε): the advantage of GRPO.

    `std` is the sample's (divided by G - 1), as in the code that published results were made
    with. Rewards [G], advantages [G] without a unit; a constant group gets zeros.
    Source: arXiv 2402.03300, section 4.1.2 (outcome supervision).

    >>> import torch
    >>> standardised(torch.tensor([1.0, 0.0, 0.0, 0.0]), eps=0.0)
    tensor([ 1.5000, -0.5000, -0.5000, -0.5000])
    """
    _check(rewards)
    if len(rewards) == 1:
        return rewards - rewards  # a lone sibling has nothing to compare with
    return (rewards - rewards.mean()) / (rewards.std() + eps)


def is_constant(rewards: Tensor) -> bool:
    """True when all siblings got the same reward: there is no advantage to learn from."""
    _check(rewards)
    return bool(rewards.max() - rewards.min() <= ZERO_VARIANCE)


def _check(rewards: Tensor) -> None:
    if rewards.ndim != 1 or not len(rewards):
        raise ValueError(f"rewards: got shape {tuple(rewards.shape)}, expected [G] with G >= 1")
