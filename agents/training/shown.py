"""Training episodes for people: a few of a step, kept with everything that the policy saw.

They are a trace in the run's folder: `python -m hrvision_env view RUN` makes a page of them. The
agent's name in it is the step of metrics.jsonl, `step 25`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from gymnasium.error import ResetNeeded

from hrvision_env.records import Episode, Sample
from hrvision_env.rendering import draw
from hrvision_env.running import Running
from hrvision_env.trace import EPISODES, Record, TraceWriter
from hrvision_env.vector import HighResVQAVectorEnv

from ..rollout.loop import Group
from .metrics_file import replace_text

AGENT = "step "
"""Before the number of the step."""


@dataclass(frozen=True, eq=False)
class Shown:
    """An episode to look at."""

    record: Record
    picture: np.ndarray | None
    """[720, 1280, 3] uint8: views, boxes, crops and transcript; None where the pixels are not at
    hand, as with rollouts from an archive."""


def choose(groups: Sequence[Group], count: int) -> list[tuple[Group, int]]:
    """At most `count` (group, member): first the best and the worst sibling of groups that differ
    in reward, as many groups as possible, then one of each other group."""
    mixed = [g for g in groups if len({e.reward for e in g.episodes}) > 1]
    pairs = [(g, _best(g.episodes)) for g in mixed], [(g, _worst(g.episodes)) for g in mixed]
    others = [(g, 0) for g in groups if g not in mixed]
    told = mixed[: max(1, count // 2)]
    both = [pair for g in told for pair in ((g, _best(g.episodes)), (g, _worst(g.episodes)))]
    rest = [pair for column in pairs for pair in column if pair not in both]
    return [*both, *others, *rest][:count]


def _best(episodes: Sequence[Episode]) -> int:
    return max(range(len(episodes)), key=lambda n: episodes[n].reward)


def _worst(episodes: Sequence[Episode]) -> int:
    return min(range(len(episodes)), key=lambda n: episodes[n].reward)


def keep(
    folder: Path,
    step: int,
    chosen: Sequence[tuple[Group, int]],
    env: HighResVQAVectorEnv | None,
    *,
    drawn: bool,
) -> list[Shown]:
    """Append episodes of a step to the trace in `folder`; `drawn` also makes pictures of them.

    `env`: where they were played, for what was seen in them; an episode that it does not hold (any
    more) is kept without pictures. Raises OSError.
    """
    writer, found = TraceWriter(folder), []
    for group, member in chosen:
        episode, agent = group.episodes[member], f"{AGENT}{step}"
        place = None if env is None else _place(env, episode)
        if env is None or place is None:
            record = replace(_record(group.sample, episode), agent=agent)
            writer.append(record)
            found.append(Shown(record, None))
            continue
        running, rules = _as_told(env.envs[place].running, episode), env.envs[place].referee.rules
        record = writer.write(running, rules, agent=agent)
        found.append(Shown(record, draw(running, rules) if drawn else None))
    return found


def forget_after(folder: Path, step: int) -> None:
    """Drop the episodes of steps after `step` from the trace, and lines that are broken."""
    path = folder / EPISODES
    if path.is_file():
        lines = path.read_text("utf-8", errors="replace").splitlines()
        replace_text(path, "".join(f"{line}\n" for line in lines if _step_of(line) <= step))


def _step_of(line: str) -> float:
    """The step of a line of the trace; of another agent's -1, of a broken one infinite."""
    try:
        agent = str(json.loads(line).get("agent", ""))
    except (ValueError, AttributeError):
        return math.inf
    number = agent.removeprefix(AGENT)
    return int(number) if agent.startswith(AGENT) and number.isdecimal() else -1


def _place(env: HighResVQAVectorEnv, episode: Episode) -> int | None:
    """The member of the environment that played an episode."""
    return next((i for i in range(env.num_envs) if _holds(env, i, episode)), None)


def _holds(env: HighResVQAVectorEnv, i: int, episode: Episode) -> bool:
    try:
        return _same(env.episode(i), episode)
    except ResetNeeded:  # idle: a small dataset has fewer questions than the step has places
        return False


def _same(played: Episode, told: Episode) -> bool:
    """Whether they are one episode; why replies ended is known to the rollout alone."""
    return played.question_id == told.question_id and [t.reply for t in played.turns] == [
        t.reply for t in told.turns
    ]


def _as_told(running: Running, episode: Episode) -> Running:
    """The environment's state with what the rollout knows beside it."""
    return replace(
        running,
        turns=list(episode.turns),
        outcome=episode.outcome,
        reward=episode.reward,
        error=episode.error,
    )


def _record(sample: Sample, episode: Episode) -> Record:
    return Record(
        episode=episode,
        question=sample.question,
        options=dict(sample.options or {}),
        answers=tuple(sample.answers),
        gold=tuple(sample.boxes),
        category=tuple(sample.category),
    )
