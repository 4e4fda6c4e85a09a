"""From rewards to advantages: which siblings count, and what each of their replies is worth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hrvision_env.actions.answer import is_explicit
from hrvision_env.records import Episode, Outcome

from ..rollout.loop import Group
from ..rollout.trajectory import Trajectory
from .advantages import ZERO_VARIANCE, GroupScores, is_constant
from .algorithm import Algorithm, Options
from .ranks import ALONE, Ranks
from .tree import Credited

Credits = list[list[Credited]]


def credit(
    groups: Sequence[Group], algorithm: Algorithm, options: Options, ranks: Ranks = ALONE
) -> tuple[Credits, dict[str, float]]:
    """Advantages for every sibling that played to the end, and metrics over all processes.

    Episodes that failed (`Outcome.ERROR`) enter neither the mean nor the loss; of those that used
    up their turns `over_turn_mean` and `over_turn_loss` say each. Constant groups are left out
    where the options say so; else they are there with advantages of 0, so that the loss is divided
    by them, too (whether they are computed is up to `Updater`). An episode counts once, however
    many trajectories it left. Every process has to call it, also one without groups.

    Metrics: `zero_variance_share` of the groups (same reward for all that count),
    `over_turn_share` of the episodes. Raises ValueError for a trajectory whose sampling left out
    likely tokens (top-p, top-k, min-p): its log-probs are of a distribution that no softmax of the
    trainer's has, so every ratio would be wrong; and for an advantage of another shape than [G] or
    [G, replies].
    """
    with ranks.together():
        credited, tally = _credited(groups, algorithm, options)
    if algorithm.step_scale is not None:
        credited = _rescaled(credited, algorithm, options, ranks)
    credited = _trained(credited, options)
    sums = ranks.total({name: float(count) for name, count in tally.items()})
    return credited, {
        "zero_variance_share": sums["constant"] / max(1.0, sums["groups"]),
        "over_turn_share": sums["over_turn"] / max(1.0, sums["episodes"]),
    }


def used_up_turns(episode: Episode) -> bool:
    r"""Whether it ended without an answer because no turn was left.

    A last reply with a `\boxed{}` or `<answer>` that the grader could not read ended the episode
    by itself.
    """
    last = episode.turns[-1].reply if episode.turns else ""
    return episode.outcome is Outcome.NO_ANSWER and not is_explicit(last)


def _credited(
    groups: Sequence[Group], algorithm: Algorithm, options: Options
) -> tuple[Credits, Counter[str]]:
    """Each group by itself, with all that matter for mean or loss, and what was counted."""
    _check_whole(groups)
    credited: Credits = []
    tally = Counter[str](groups=len(groups), constant=0, episodes=0, over_turn=0)
    for group in groups:
        played = list(_played(group))
        tally["episodes"] += len(played)
        tally["over_turn"] += sum(sibling.over_turn for sibling in played)
        answered = not all(sibling.over_turn for sibling in played)
        if not played or not (answered or options.over_turn_loss or options.over_turn_mean):
            continue
        values, flat = _advantages(played, algorithm, options)
        tally["constant"] += flat and (answered or options.over_turn_loss)
        if flat and options.drop_zero_variance and (values.ndim == 1 or _is_zero(values)):
            continue
        credited.append([c for s, row in zip(played, values, strict=True) for c in s.worth(row)])
    return credited, tally


def _trained(credited: Credits, options: Options) -> Credits:
    """Without the episodes that were only compared with, and groups that have no other."""
    if options.over_turn_loss:
        return credited
    kept = ([c for c in g if not used_up_turns(c.trajectory.episode)] for g in credited)
    return [group for group in kept if group]


@dataclass(frozen=True, eq=False)
class _Sibling:
    """One episode of a group that played to the end, with the trajectories that it left."""

    trajectories: tuple[Trajectory, ...]
    over_turn: bool

    @property
    def reward(self) -> float:
        return self.trajectories[0].reward

    @property
    def turn_rewards(self) -> tuple[float, ...]:
        """For each reply 1 with a valid box, else 0."""
        turns = self.trajectories[0].episode.turns
        count = sum(len(t.replies) for t in self.trajectories)
        return tuple(float(n < len(turns) and bool(turns[n].boxes)) for n in range(count))

    def worth(self, advantage: Tensor) -> Iterator[Credited]:
        """`advantage`: one number, or [K]: one for each reply, trajectory after trajectory."""
        tokens = sum(int(t.loss_mask.sum()) for t in self.trajectories)
        done = 0
        for t in self.trajectories:
            part = advantage if advantage.ndim == 0 else advantage[done : done + len(t.replies)]
            done += len(t.replies)
            yield Credited(t, tuple(part.reshape(-1).tolist()), tokens)


def _played(group: Group) -> Iterator[_Sibling]:
    members: dict[int, list[Trajectory]] = {}
    for t in group.trajectories:
        if t.episode.outcome is not Outcome.ERROR:
            members.setdefault(t.member, []).append(t)
    for parts in members.values():
        yield _Sibling(tuple(parts), used_up_turns(parts[0].episode))


def _advantages(
    played: Sequence[_Sibling], algorithm: Algorithm, options: Options
) -> tuple[Tensor, bool]:
    """Advantages [G] or [G, K], and whether all rewards that matter are the same."""
    rewards = torch.tensor([s.reward for s in played])
    over = torch.tensor([s.over_turn for s in played])
    compared = None if options.over_turn_mean or not over.any() else ~over
    scores = GroupScores(rewards, tuple(s.turn_rewards for s in played), compared)
    values = algorithm.advantage(scores, options)
    longest = max(len(turns) for turns in scores.turn_rewards)
    if values.shape != rewards.shape and values.shape != (len(rewards), longest):
        raise ValueError(
            f"algorithm {algorithm.name}: its advantage has shape {tuple(values.shape)}, expected "
            f"({len(rewards)},) siblings, or ({len(rewards)}, {longest}) with one for each reply"
        )
    left_out = over & (not (options.over_turn_loss or options.over_turn_mean))
    return values, is_constant(rewards[~left_out])


def _is_zero(values: Tensor) -> bool:
    return float(values.abs().max()) <= ZERO_VARIANCE


def teaches(group: Sequence[Credited]) -> bool:
    """Whether one of its advantages is not 0."""
    return any(abs(a) > ZERO_VARIANCE for c in group for a in c.advantages)


def _rescaled(credited: Credits, algorithm: Algorithm, options: Options, ranks: Ranks) -> Credits:
    """A <- (A - shift) / scale with the two numbers of the whole step, over all processes."""
    assert algorithm.step_scale is not None
    mine = [
        pair
        for group in credited
        for c in group
        if options.over_turn_mean or not used_up_turns(c.trajectory.episode)
        for pair in _weighed(c)
    ]
    pairs = [pair for part in ranks.gather(mine) for pair in part]
    values = torch.tensor([value for value, _ in pairs], dtype=torch.float64)
    tokens = torch.tensor([count for _, count in pairs], dtype=torch.float64)
    shift, scale = algorithm.step_scale(values, tokens, options)
    return [
        [replace(c, advantages=tuple((a - shift) / scale for a in c.advantages)) for c in group]
        for group in credited
    ]


def _weighed(c: Credited) -> list[tuple[float, int]]:
    """Each advantage and how many tokens it is that of."""
    replies = c.trajectory.replies
    counts = replies if len(c.advantages) > 1 else (sum(replies),)
    return list(zip(c.advantages, counts, strict=True))


def _check_whole(groups: Sequence[Group]) -> None:
    for group in groups:
        for trajectory in group.trajectories:
            if trajectory.truncated:
                raise ValueError(
                    f"trajectory of group {trajectory.group!r}, member {trajectory.member}: was "
                    "sampled with top_p, top_k or min_p; expected top_p 1, top_k 0 and min_p 0: "
                    "trained on it would be another distribution"
                )
