"""Credit: the rewards of one group -> one advantage per sibling. Pure functions, side by side.

Shapes: G siblings of one sample, K replies of the longest episode. A function takes rewards [G]
and returns advantages [G]; `turn_level` credits each reply by itself and returns [G, K].
`compared` [G] bool says whose rewards make up mean and standard deviation; None: everybody's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

ZERO_VARIANCE = 1e-8
"""Reward spread (max - min) up to which a group counts as constant and teaches nothing."""


@dataclass(frozen=True, eq=False)
class GroupScores:
    """What an advantage sees of a group: G siblings that played to the end.

    Three siblings; the second gave no valid box, the third answered at once:

    >>> import torch
    >>> scores = GroupScores(torch.tensor([1.0, 0.0, 1.0]), ((1.0, 0.0), (0.0, 0.0), (0.0,)))
    """

    rewards: Tensor
    """[G] of the final answer."""
    turn_rewards: tuple[tuple[float, ...], ...] = ()
    """For each sibling one per reply, the last one included: 1 with a valid box, 0 without."""
    compared: Tensor | None = None
    """[G] bool: whose rewards make up mean and standard deviation; None: everybody's."""

    @property
    def mean(self) -> Tensor:
        """[] of the rewards of those who are compared; 0 where nobody is."""
        peers = _peers(self.rewards, self.compared)
        return _mean(peers) if len(peers) else torch.zeros_like(self.rewards[0])


def centred(rewards: Tensor, compared: Tensor | None = None) -> Tensor:
    """A_i = r_i - mean(r): the advantage in MGPO's equations, and of Dr. GRPO.

    Rewards [G] of any unit, advantages [G] of the same; zeros where nobody is compared.
    Source: arXiv 2507.05920, section 3; arXiv 2503.20783, section 3.2.

    >>> import torch
    >>> centred(torch.tensor([1.0, 0.0, 0.0, 0.0]))
    tensor([ 0.7500, -0.2500, -0.2500, -0.2500])
    """
    peers = _peers(rewards, compared)
    return rewards - _mean(peers) if len(peers) else torch.zeros_like(rewards)


def standardised(rewards: Tensor, eps: float = 1e-6, compared: Tensor | None = None) -> Tensor:
    """A_i = (r_i - mean(r)) / (std(r) + ε): the advantage of GRPO.

    `std` is the sample's (divided by G - 1), as in the code that published results were made
    with. Rewards [G], advantages [G] without a unit; without any spread nothing is divided: a
    constant group gets zeros. Source: arXiv 2402.03300, section 4.1.2 (outcome supervision).

    >>> import torch
    >>> standardised(torch.tensor([1.0, 0.0, 0.0, 0.0]), eps=0.0)
    tensor([ 1.5000, -0.5000, -0.5000, -0.5000])
    """
    peers = _peers(rewards, compared)
    if len(peers) < 2 or is_constant(peers):
        return centred(rewards, compared)
    return (rewards - peers.mean()) / (peers.std() + eps)


def leave_one_out(rewards: Tensor, compared: Tensor | None = None) -> Tensor:
    """A_i = r_i - mean of the others' r: the advantage of RLOO, G/(G-1) times the centred one.

    Rewards [G] of any unit, advantages [G] of the same; zero for one without others.
    Source: arXiv 2402.14740, the leave-one-out estimator.

    >>> import torch
    >>> leave_one_out(torch.tensor([1.0, 0.0, 0.0, 0.0]))
    tensor([ 1.0000, -0.3333, -0.3333, -0.3333])
    """
    peers = _peers(rewards, compared)
    own = torch.ones_like(rewards) if compared is None else compared.to(rewards.dtype)
    others = len(peers) - own
    mean = (peers.sum() - own * rewards) / others.clamp(min=1)
    if len(peers) and is_constant(peers):
        mean = peers[:1].expand_as(rewards)
    return torch.where(others > 0, rewards - mean, torch.zeros_like(rewards))


def turn_level(
    scores: GroupScores, eps: float = 1e-6, outcome_weight: float = 1.0, normalise: bool = True
) -> Tensor:
    """A_ik = A^T_ik + λ A^O_i for a reply that another one follows, A^O_i for the last one; [G, K].

    A^O is `standardised` over the group's rewards, A^T over the turn rewards of those siblings
    that go on after the same turn k; without `normalise` both are `centred`. λ is
    `outcome_weight`. 0 where a sibling had no such turn.
    Source: arXiv 2505.11821 (v1), the advantage of MT-GRPO for two turns, for any number of them.

    Both answer right, only the first had a valid box: A^O = 0, A^T = ±0.5 centred.

    >>> import torch
    >>> scores = GroupScores(torch.tensor([1.0, 1.0]), ((1.0, 0.0), (0.0, 0.0)))
    >>> turn_level(scores, normalise=False)
    tensor([[ 0.5000,  0.0000],
            [-0.5000,  0.0000]])
    """
    rewards, compared = scores.rewards, scores.compared
    if len(scores.turn_rewards) != len(rewards) or not all(scores.turn_rewards):
        raise ValueError(
            f"turn_rewards: got {[len(t) for t in scores.turn_rewards]} replies, expected at least "
            f"one for each of {len(rewards)} siblings"
        )

    def relative(values: Tensor, peers: Tensor | None) -> Tensor:
        return standardised(values, eps, peers) if normalise else centred(values, peers)

    outcome = relative(rewards, compared)
    replies = torch.tensor([len(turns) for turns in scores.turn_rewards])
    found = torch.zeros(len(rewards), int(replies.max()))
    for k in range(found.shape[1]):
        found[replies == k + 1, k] = outcome[replies == k + 1]
        on = replies > k + 1
        if on.any():
            values = torch.tensor([turns[k] for turns in scores.turn_rewards if len(turns) > k + 1])
            turn = relative(values, None if compared is None else compared[on])
            found[on, k] = turn + outcome_weight * outcome[on]
    return found


def whitening(advantages: Tensor, tokens: Tensor, eps: float = 1e-8) -> tuple[float, float]:
    """Mean and standard deviation + ε of the advantage of a token, over a whole step.

    Advantages [N] of replies and how many tokens each has [N]. Sums are exact, so that neither the
    order nor the number of processes matters; (0, 1) for no tokens, (mean, 1) without any spread.
    Source: arXiv 2501.03262 (v9), global advantage normalisation.

    >>> import torch
    >>> whitening(torch.tensor([1.0, 0.0]), torch.tensor([1, 3]), eps=0.0)  # .25, (.1875)^.5
    (0.25, 0.4330127018922193)
    """
    total = float(tokens.sum())
    if not total:
        return 0.0, 1.0
    values, counts = advantages.double(), tokens.double()
    mean = math.fsum((values * counts).tolist()) / total
    variance = math.fsum((counts * (values - mean) ** 2).tolist()) / total
    return (mean, math.sqrt(variance) + eps) if variance > ZERO_VARIANCE**2 else (mean, 1.0)


def is_constant(rewards: Tensor) -> bool:
    """True when all siblings got the same reward: there is no advantage to learn from."""
    _check(rewards)
    return bool(rewards.max() - rewards.min() <= ZERO_VARIANCE)


def _mean(peers: Tensor) -> Tensor:
    """[]; of equal rewards it is their value, which their sum / number is not always."""
    return peers[0] if is_constant(peers) else peers.mean()


def _peers(rewards: Tensor, compared: Tensor | None) -> Tensor:
    _check(rewards)
    return rewards if compared is None else rewards[compared]


def _check(rewards: Tensor) -> None:
    if rewards.ndim != 1 or not len(rewards):
        raise ValueError(f"rewards: got shape {tuple(rewards.shape)}, expected [G] with G >= 1")
