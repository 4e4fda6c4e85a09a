"""A conversation token by token, for people: text, loss mask, log-prob and advantage.

It is what the trainer computes with. Tokens are decoded one by one, so one that holds only a part
of a character is shown as U+FFFD.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, repeat

import numpy as np

from hrvision_env.trace import Piece

from ..rollout.codec import Codec
from ..rollout.loop import Group
from ..rollout.trajectory import Trajectory
from .credit import Credits

IMAGE = "<image>"
"""The piece that stands for all placeholders of one image."""
DIGITS = 6
"""Of log-probs after the point; of advantages, which may all be small, those that count."""

Worth = Mapping[tuple[str, int], np.ndarray]
"""(group, member) -> advantages [sampled tokens] float32 of the episode, all its trajectories one
after the other. An episode that is not in it was not trained on: it failed, or was left out."""


def worth_of(credited: Credits) -> Worth:
    """What the sampled tokens of every episode of a step are worth."""
    parts: dict[tuple[str, int], list[np.ndarray]] = {}
    for c in chain.from_iterable(credited):
        key = c.trajectory.group, c.trajectory.member
        parts.setdefault(key, []).append(c.token_advantages)
    return {key: np.concatenate(found) for key, found in parts.items()}


def pieces_of(
    group: Group, member: int, codec: Codec, worth: Worth
) -> tuple[tuple[Piece, ...], ...]:
    """What one sibling read and wrote, conversation by conversation; () if it said nothing.

    An image of 6 tokens, then a reply "A" with a log-prob of -0.25 and an advantage of 1.5:

        Piece("<|vision_start|>"), Piece("<image>"), Piece("<|vision_end|>"), ...,
        Piece("A", trained=True, logprob=-0.25, advantage=1.5), ...
    """
    found = worth.get((group.name, member))
    advantages = repeat(None) if found is None else iter(found.tolist())
    own = [t for t in group.trajectories if t.member == member]
    return tuple(tuple(_pieces(t, codec, advantages)) for t in own)


def _pieces(t: Trajectory, codec: Codec, advantages: Iterator[float | None]) -> Iterator[Piece]:
    """Takes one of the advantages for each sampled token."""
    placeholder = t.token_ids == t.image_token_id
    again = np.concatenate(([False], placeholder[1:] & placeholder[:-1]))
    for n in np.flatnonzero(~again).tolist():
        text = IMAGE if placeholder[n] else codec.decode([int(t.token_ids[n])])
        if not t.loss_mask[n]:
            yield Piece(text)
            continue
        advantage = next(advantages)
        rounded = None if advantage is None else float(f"{advantage:.{DIGITS}g}")
        yield Piece(text, True, round(float(t.logprobs[n]), DIGITS), rounded)
