"""Which part of an update's groups a rank computes, and the counts that all ranks divide by.

The groups of a step are cut into `optim.minibatches` parts by their places among the step's
questions, so a part holds the same groups however many ranks there are. What a rank has of a part
it cuts into micro-batches; every rank makes as many passes as the one with most of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image
from torch import Tensor

from hrvision_env.dialogues import IMAGE_MARKER
from hrvision_env.records import Episode, Outcome

from ..rollout.chat import Chat
from ..rollout.codec import Codec
from ..rollout.engines import Completion, StopReason
from .ranks import Ranks
from .tree import Credited, MicroBatch, micro_batches

Groups = Sequence[Sequence[Credited]]
Cut = Callable[[Groups], Iterable[MicroBatch]]


@dataclass(frozen=True, eq=False)
class Part:
    """One update's work on this rank, and what all ranks have of it together."""

    batches: tuple[MicroBatch, ...]
    passes: int
    """Micro-batches of the rank that has most; those that this one lacks are idle passes."""
    n_tokens: int
    """Sampled tokens, all ranks, also of groups that are not computed."""
    n_trajectories: int
    """Episodes, all ranks, also of groups that are not computed."""
    old: list[Tensor | None] = field(default_factory=list)
    """[B, T] per micro-batch: the trainer's log-probs before the first update, where needed."""
    losses: list[float] = field(default_factory=list)
    """Of each micro-batch, once it is computed."""


def parts_of(
    groups: Groups,
    count: int,
    cut: Cut,
    ranks: Ranks,
    places: Sequence[int] | None = None,
    computed: Callable[[Sequence[Credited]], bool] = bool,
) -> list[Part]:
    """At most `count` parts of nearly equal numbers of groups; none without work on all ranks.

    `places` [groups], ascending: where each group stands among the step's questions, of all ranks;
    None: one after the other, which is right for one process. `cut` makes the micro-batches. Seven
    groups in two parts: the first four (7 / 2 rounded to the even number), and three. `computed`
    says which groups make micro-batches; the others only count, and a part of nothing else is left
    out.
    """
    places = range(len(groups)) if places is None else places
    everywhere = sorted(place for own in ranks.gather(list(places)) for place in own)
    edges = [round(n * len(everywhere) / count) for n in range(count + 1)]
    bounds = [*everywhere, everywhere[-1] + 1] if everywhere else [0]
    starts = [bisect_left(places, bounds[edge]) for edge in edges]
    chosen = [groups[starts[n] : starts[n + 1]] for n in range(count) if edges[n] < edges[n + 1]]
    batches = [tuple(cut([group for group in part if computed(group)])) for part in chosen]
    sizes = ranks.gather([_sizes(p, b) for p, b in zip(chosen, batches, strict=True)])
    return [
        Part(own, max(s[0] for s in rows), sum(s[1] for s in rows), sum(s[2] for s in rows))
        for own, rows in zip(batches, zip(*sizes, strict=True), strict=True)
        if any(s[0] for s in rows)
    ]


def _sizes(part: Groups, batches: Sequence[MicroBatch]) -> tuple[int, int, int]:
    """Micro-batches, sampled tokens and episodes."""
    episodes = {(c.trajectory.group, c.trajectory.member) for group in part for c in group}
    tokens = sum(int(c.trajectory.loss_mask.sum()) for group in part for c in group)
    return len(batches), tokens, len(episodes)


def idle_batch(codec: Codec) -> MicroBatch:
    """A smallest conversation with an image, whose pass asks for every module that others' do."""
    chats = [Chat(codec, "idle")]
    gray = Image.new("RGB", (2 * codec.factor, 2 * codec.factor), "gray")
    chats[0].observe(f"{IMAGE_MARKER}\n", [gray])
    chats += [chats[0].fork(1)]
    legal = np.setdiff1d(np.arange(len(codec.tokenizer)), [*codec.banned, *codec.eos])
    episode = Episode("idle", "", "", "", "", "", (), (), (), Outcome.NO_ANSWER)
    members = []
    for chat in chats:
        chat.reply(Completion([int(legal[0]), int(legal[0])], [0.0, 0.0], StopReason.LENGTH))
        members += [Credited(t, (0.0,)) for t in chat.trajectories(episode, 1.0)]
    return next(micro_batches([members], budget=2**31))
