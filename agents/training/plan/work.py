"""What one GPU computes in a step: groups, micro-batches, tokens. G siblings, P shared tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...config import Config, eval_env
from ...config_sections import Form
from .course import Course, Segment, Sizes


@dataclass(frozen=True)
class Micro:
    """The largest forward and backward pass."""

    groups: int
    """Groups in it; a part of a group counts as one."""
    rows: int
    """Trajectories in it."""
    prefix: int
    """P, of one group; 0: nothing is shared."""
    rest: int
    """Tokens of one trajectory that are its own."""
    trained: int
    """Tokens whose log-probs are wanted."""
    images: int
    """Image tokens, each image counted once."""

    @property
    def tokens(self) -> int:
        return self.groups * self.prefix + self.rows * self.rest

    def grown(self, tokens: int) -> Micro:
        """With longer replies, so that it has this many tokens, if it has fewer."""
        missing = max(0, tokens - self.tokens)
        return replace(self, rest=self.rest + missing // self.rows)


@dataclass(frozen=True)
class Work:
    """One GPU's share of a step."""

    groups: int
    rows: int
    """Episodes."""
    sampled: int
    """Tokens drawn, which are those that are trained."""
    prefill: int
    """Tokens that the engine reads: prompts, and what a later turn reads again."""
    trained: int
    """Tokens of the training forward, a shared prefix once."""
    plain: int
    """The same in rows of their own, without sharing."""
    attended: float
    """Pairs of a token and one that it attends to, of the training forward."""
    opening: int
    """Tokens of a group's opening, which the engine's cache holds once."""
    own: int
    """Tokens of the longest conversation beyond its opening."""
    patches: int
    """Of the vision tower: views once per group, crops once per episode."""
    squares: float
    """Sum of the squares of the images' patches, for the tower's attention."""
    micro: Micro
    n_micro: int
    """Passes per step."""

    @property
    def saved(self) -> float:
        """Share of the plain rows' tokens that sharing saves."""
        return 1 - self.trained / self.plain


def itemsize_of(config: Config) -> int:
    """Bytes of a weight; a plan is for GPUs, where `auto` is bfloat16."""
    model = config.model
    plain = model.dtype == "float32" or (model.dtype == "auto" and model.device == "cpu")
    return 4 if plain else 2


def evaluated(config: Config) -> Config:
    """The config whose step is one kind of an evaluation: no siblings, `eval.n` questions."""
    rollout = config.rollout.model_copy(update={"groups_per_step": config.eval.n, "group_size": 1})
    return config.model_copy(update={"env": eval_env(config), "rollout": rollout})


def form_of(config: Config) -> Form:
    """How a group's common prefix is computed."""
    return config.optim.form(config.model.gradient_checkpointing)


def work_of(config: Config, course: Course, sizes: Sizes, patches_per_token: int) -> Work:
    """The share of the GPU that has most questions."""
    groups = math.ceil(config.rollout.groups_per_step / config.scale.processes)
    size = config.rollout.group_size
    segments = course.segments(sizes)
    shared = form_of(config) != "rows"
    prefix = sum(s.opening for s in segments if s.shared) if shared else 0
    length = sum(s.length for s in segments)
    rest = length - prefix
    micro, parts = _micro(config, course, sizes, prefix, rest, groups)
    updates = min(config.optim.minibatches, groups)
    each = groups * parts / updates if parts > 1 else groups / updates / micro.groups
    n_micro = updates * math.ceil(each)
    views, crops = course.pictures
    counted = ((groups * views, sizes.view), (groups * size * crops, sizes.crop))
    return Work(
        groups=groups,
        rows=groups * size,
        sampled=groups * size * course.n_turns * sizes.reply,
        prefill=groups * _prefill(course, sizes, size),
        trained=groups * (parts * prefix + size * rest),
        plain=groups * size * length,
        attended=groups * _attended(segments, size, parts, shared),
        opening=segments[0].opening,
        own=max(s.length - s.shared * s.opening for s in segments),
        patches=sum(n * tokens for n, tokens in counted) * patches_per_token,
        squares=sum(n * (tokens * patches_per_token) ** 2 for n, tokens in counted),
        micro=micro,
        n_micro=n_micro,
    )


def _micro(
    config: Config, course: Course, sizes: Sizes, prefix: int, rest: int, groups: int
) -> tuple[Micro, int]:
    """The largest micro-batch by the rule of `tree.micro_batches`, and parts of a group."""
    budget, members, parts = config.optim.micro_batch_tokens, config.rollout.group_size, 1
    while members > 1 and prefix + members * rest > budget:
        members, parts = math.ceil(members / 2), parts * 2
    together = 1
    if parts == 1:
        of_update = math.ceil(groups / config.optim.minibatches)
        together = min(of_update, max(1, budget // (prefix + members * rest)))
    views, crops = course.pictures
    rows = together * members
    return (
        Micro(
            groups=together,
            rows=rows,
            prefix=prefix,
            rest=rest,
            trained=rows * course.n_turns * sizes.reply,
            images=together * views * sizes.view + rows * crops * sizes.crop,
        ),
        min(parts, config.rollout.group_size),
    )


def fullest(config: Config, works: Sequence[Work]) -> Micro:
    """The largest micro-batch of several cases; replies of other lengths fill it to its limit."""
    work = max(works, key=lambda w: w.micro.tokens)
    longest = max(w.micro.rest for w in works)
    limit = min(
        config.optim.micro_batch_tokens, work.groups * work.micro.prefix + work.rows * longest
    )
    grown = work.micro.grown(limit)
    return replace(grown, trained=max(w.micro.trained for w in works))


def _prefill(course: Course, sizes: Sizes, size: int) -> int:
    """Of one group: its opening once, then every sibling all that follows it, in each later turn.

    An engine that keeps a sibling's own turns, too (vLLM's prefix cache), reads a little less.
    """
    total = course.turns[0].tokens(sizes)
    own = 0
    for n, turn in enumerate(course.turns):
        if n:
            own = turn.tokens(sizes) if turn.fresh else own + sizes.reply + turn.tokens(sizes)
            total += size * own
    return total


def _attended(segments: tuple[Segment, ...], size: int, parts: int, shared: bool) -> float:
    """Pairs of one group: causal within a prefix, then a branch on all of its past."""
    pairs = 0.0
    for segment in segments:
        if segment.shared and shared:
            pairs += parts * segment.opening**2 / 2
            pairs += size * segment.rest * (segment.opening + segment.rest / 2)
        else:
            pairs += size * segment.length**2 / 2
    return pairs
