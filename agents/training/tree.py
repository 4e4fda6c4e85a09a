"""Groups -> micro-batches whose common prefixes are computed once, and their log-probs.

A group's siblings open with the same observation. Two forms stand behind one function,
`token_logprobs`: with `shared` the opening runs once per group and the branches attend to it
(see `agents/prefix.py`, where the one shift between a token and the position that predicts it
happens); without, every trajectory is a row of its own. Same numbers, same gradients.

Shapes: B trajectories, T tokens of the longest one, K sampled tokens of all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..prefix import MAX_LOGITS, Row, distribution, logprobs_of, trained_hidden
from ..rollout.trajectory import Trajectory
from ..vlm import VLM


@dataclass(frozen=True, eq=False)
class Credited:
    """A trajectory and the advantage that all its sampled tokens get."""

    trajectory: Trajectory
    advantage: float
    episode_tokens: int = 0
    """Sampled tokens of its episode, more than its own where a part was hidden; 0: its own."""

    @property
    def length(self) -> int:
        """|o_i|: sampled tokens of the whole episode."""
        return self.episode_tokens or int(self.trajectory.loss_mask.sum())


@dataclass(frozen=True, eq=False)
class MicroBatch:
    """What one forward pass takes."""

    members: tuple[Credited, ...]
    """Siblings stand side by side."""
    mask: Tensor
    """[B, T] bool, True exactly on sampled tokens of every turn."""
    old_logprobs: Tensor
    """[B, T] nats, sampling policy; 0 where mask is False."""
    advantages: Tensor
    """[B]"""
    lengths: Tensor
    """[B] sampled tokens of the episode that a trajectory belongs to."""

    @property
    def n_tokens(self) -> int:
        return int(self.mask.sum())


def micro_batches(
    groups: Iterable[Sequence[Credited]], budget: int, *, shared: bool = True
) -> Iterator[MicroBatch]:
    """Cut groups into batches of at most `budget` tokens, padding counted, prefixes once.

    Groups stay whole where they fit; a larger one is halved until its parts do (each part then
    computes the prefix for itself), and a single trajectory above the budget runs alone.
    """
    waiting: list[Sequence[Credited]] = []
    for group in groups:
        for part in _fitting(group, budget, shared):
            if waiting and padded_tokens([*waiting, part], shared) > budget:
                yield _collate(waiting)
                waiting = []
            waiting.append(part)
    if waiting:
        yield _collate(waiting)


def padded_tokens(groups: Sequence[Sequence[Credited]], shared: bool = True) -> int:
    """Tokens that the forward pass of these groups computes.

    Every different opening counts once: a group has one, and one more for each conversation that
    begins afresh. Two groups of 8, prefix 101 tokens (100 cached), 150 tokens each:
    2 x 100 + 16 x 50 = 1000 shared, 16 x 150 = 2400 in rows.
    """
    rows = [(len(c.trajectory), c.trajectory.prefix - 1) for group in groups for c in group]
    if not shared:
        return len(rows) * max(length for length, _ in rows)
    longest = max(prefix for _, prefix in rows)
    openings = {c.trajectory.opening for group in groups for c in group}
    return len(openings) * longest + len(rows) * max(length - prefix for length, prefix in rows)


def _fitting(group: Sequence[Credited], budget: int, shared: bool) -> Iterator[Sequence[Credited]]:
    if len(group) <= 1 or padded_tokens([group], shared) <= budget:
        yield from [group] if group else []
        return
    half = (len(group) + 1) // 2
    yield from _fitting(group[:half], budget, shared)
    yield from _fitting(group[half:], budget, shared)


def _collate(groups: Sequence[Sequence[Credited]]) -> MicroBatch:
    members = tuple(member for group in groups for member in group)
    width = max(len(m.trajectory) for m in members)
    mask = np.zeros((len(members), width), dtype=np.bool_)
    logprobs = np.zeros((len(members), width), dtype=np.float32)
    for n, member in enumerate(members):
        trajectory = member.trajectory
        mask[n, : len(trajectory)] = trajectory.loss_mask
        logprobs[n, : len(trajectory)] = trajectory.logprobs
    advantages = torch.tensor([m.advantage for m in members], dtype=torch.float32)
    lengths = torch.tensor([m.length for m in members])
    return MicroBatch(
        members, torch.from_numpy(mask), torch.from_numpy(logprobs), advantages, lengths
    )


@dataclass(frozen=True, eq=False)
class TokenScores:
    """What a policy says about the sampled tokens of a micro-batch; 0 elsewhere. On its device."""

    logprobs: Tensor
    """[B, T] nats, of the sampling distribution (same temperature, same banned ids)."""
    entropy: Tensor | None
    """[B, T] nats."""


def token_logprobs(
    vlm: VLM, batch: MicroBatch, *, shared: bool = True, entropy: bool | None = None
) -> TokenScores:
    """Score a micro-batch with a model, with gradient where autograd is on.

    `entropy`: True with gradient, None for the log only, False leaves it out.
    Raises ValueError when trajectories of different temperature or banned ids are mixed.
    """
    trajectories = [member.trajectory for member in batch.members]
    settings = {(t.temperature, t.banned) for t in trajectories}
    if len(settings) != 1:
        raise ValueError(f"micro-batch: got {len(settings)} different samplings, expected one")
    (temperature, banned) = settings.pop()
    rows = [Row(t.token_ids, t.images, t.prefix if shared else 1) for t in trajectories]
    hidden, targets = trained_hidden(vlm, rows, [t.loss_mask for t in trajectories])
    logprobs = logprobs_of(hidden, vlm.lm_head, targets, temperature, banned)
    spread = None
    if entropy is not False:
        source = hidden if entropy else hidden.detach()
        with torch.set_grad_enabled(bool(entropy) and torch.is_grad_enabled()):
            spread = entropy_of(source, vlm, temperature, banned)
    mask = batch.mask.to(hidden.device)
    blank = torch.zeros(mask.shape, device=hidden.device)
    # `trained_hidden` goes row by row, token by token: the order in which a mask is filled.
    return TokenScores(
        blank.masked_scatter(mask, logprobs),
        None if spread is None else blank.masked_scatter(mask, spread),
    )


def entropy_of(hidden: Tensor, vlm: VLM, temperature: float, banned: Sequence[int]) -> Tensor:
    """-Σ_v π(v) log π(v) of the sampling distribution; hidden [K, D] -> [K] nats."""

    def piece(part: Tensor) -> Tensor:
        scores = distribution(part, vlm.lm_head, temperature, banned)
        finite = scores.masked_fill(scores == float("-inf"), 0.0)  # 0 log 0 = 0
        return -(scores.exp() * finite).sum(-1)

    size = max(1, MAX_LOGITS // vlm.model.config.text_config.vocab_size)
    if len(hidden) <= size:
        return piece(hidden)
    parts = hidden.split(size)
    return torch.cat([checkpoint(piece, part, use_reentrant=False) for part in parts])
