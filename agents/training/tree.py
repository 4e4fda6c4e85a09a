"""Groups -> micro-batches whose common prefixes are computed once, and their log-probs.

A group's siblings open with the same observation. Three forms stand behind one function,
`token_logprobs`: as `cache` the opening runs once per group and the branches, padded, attend to its
keys and values; as `tree` opening and branches are packed in one row; as `rows` every trajectory is
a row of its own (see `agents/prefix.py`, where the one shift between a token and the position that
predicts it happens, and `agents/tree_row.py`). Same numbers, same gradients.

Shapes: B trajectories, T tokens of the longest one, K sampled tokens of all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..config_sections import Form
from ..head import token_scores
from ..prefix import Row, SharedPrefix, trained_hidden
from ..rollout.trajectory import Trajectory
from ..tree_row import TreeRow
from ..vlm import VLM


@dataclass(frozen=True, eq=False)
class Credited:
    """A trajectory and the advantage of each of its replies."""

    trajectory: Trajectory
    advantages: tuple[float, ...]
    """One per reply, shared by its tokens; a single one is that of all."""
    episode_tokens: int = 0
    """Sampled tokens of its episode, more than its own where a part was hidden; 0: its own."""

    @property
    def token_advantages(self) -> np.ndarray:
        """[sampled tokens] float32."""
        replies = self.trajectory.replies
        values = self.advantages * (len(replies) if len(self.advantages) == 1 else 1)
        return np.repeat(np.asarray(values, dtype=np.float32), replies)

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
    """[B, T]; 0 where mask is False."""
    lengths: Tensor
    """[B] sampled tokens of the episode that a trajectory belongs to."""

    @property
    def n_tokens(self) -> int:
        return int(self.mask.sum())


def micro_batches(
    groups: Iterable[Sequence[Credited]], budget: int, *, form: Form = "cache"
) -> Iterator[MicroBatch]:
    """Cut groups into batches of at most `budget` tokens, as many as the form computes.

    Groups stay whole where they fit; a larger one is halved until its parts do (each part then
    computes the prefix for itself), and a single trajectory above the budget runs alone.
    """
    waiting: list[Sequence[Credited]] = []
    for group in groups:
        for part in _fitting(group, budget, form):
            if waiting and padded_tokens([*waiting, part], form) > budget:
                yield _collate(waiting)
                waiting = []
            waiting.append(part)
    if waiting:
        yield _collate(waiting)


def padded_tokens(groups: Sequence[Sequence[Credited]], form: Form = "cache") -> int:
    """Tokens that the forward pass of these groups computes.

    Every different opening counts once: a group has one, and one more for each conversation that
    begins afresh. Two groups of 8, prefix 101 tokens (100 of them shared), 120 to 150 tokens each,
    135 on average: 2 x 100 + 16 x 50 = 1000 as cache, 2 x 100 + 16 x 35 = 760 as tree, 16 x 150 =
    2400 as rows.
    """
    rows = [(len(c.trajectory), c.trajectory.prefix - 1) for group in groups for c in group]
    if form == "rows":
        return len(rows) * max(length for length, _ in rows)
    openings = {c.trajectory.opening: c.trajectory.prefix - 1 for group in groups for c in group}
    branches = [length - prefix for length, prefix in rows]
    if form == "tree":
        return sum(openings.values()) + sum(branches)
    return len(openings) * max(openings.values()) + len(rows) * max(branches)


def _fitting(group: Sequence[Credited], budget: int, form: Form) -> Iterator[Sequence[Credited]]:
    if len(group) <= 1 or padded_tokens([group], form) <= budget:
        yield from [group] if group else []
        return
    half = (len(group) + 1) // 2
    yield from _fitting(group[:half], budget, form)
    yield from _fitting(group[half:], budget, form)


def _collate(groups: Sequence[Sequence[Credited]]) -> MicroBatch:
    members = tuple(member for group in groups for member in group)
    width = max(len(m.trajectory) for m in members)
    mask = np.zeros((len(members), width), dtype=np.bool_)
    logprobs = np.zeros((len(members), width), dtype=np.float32)
    advantages = np.zeros((len(members), width), dtype=np.float32)
    for n, member in enumerate(members):
        trajectory = member.trajectory
        mask[n, : len(trajectory)] = trajectory.loss_mask
        logprobs[n, : len(trajectory)] = trajectory.logprobs
        advantages[n, mask[n]] = member.token_advantages
    lengths = torch.tensor([m.length for m in members])
    return MicroBatch(
        members,
        torch.from_numpy(mask),
        torch.from_numpy(logprobs),
        torch.from_numpy(advantages),
        lengths,
    )


@dataclass(frozen=True, eq=False)
class TokenScores:
    """What a policy says about the sampled tokens of a micro-batch; 0 elsewhere. On its device."""

    logprobs: Tensor
    """[B, T] nats, of the sampling distribution (same temperature, same banned ids)."""
    entropy: Tensor | None
    """[B, T] nats."""


def token_logprobs(
    vlm: VLM, batch: MicroBatch, *, form: Form = "cache", entropy: bool | None = None
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
    rows = [Row(t.token_ids, t.images, 1 if form == "rows" else t.prefix) for t in trajectories]
    layout = TreeRow if form == "tree" else SharedPrefix
    hidden, targets = trained_hidden(vlm, rows, [t.loss_mask for t in trajectories], layout)
    logprobs, spread = token_scores(
        hidden, vlm.lm_head, targets, temperature, banned, entropy=entropy
    )
    mask = batch.mask.to(hidden.device)
    blank = torch.zeros(mask.shape, device=hidden.device)
    # `trained_hidden` goes row by row, token by token: the order in which a mask is filled.
    return TokenScores(
        blank.masked_scatter(mask, logprobs),
        None if spread is None else blank.masked_scatter(mask, spread),
    )
